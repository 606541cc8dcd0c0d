/* A process that ends while its threads sign: by exit, by return from main, after C_Finalize, after dlclose. */
#include "calls.h"

static void *sign_on(void *unused) {
    (void)unused;
    ulong_t session = 0, key = *(ulong_t *)unused;
    ulong_t (*init)() = function("C_SignInit"), (*sign)() = function("C_Sign");
    unsigned char digest[32] = {7}, signature[64];
    CALL(C_OpenSession, 0ul, 4ul, NULL, NULL, &session);
    for (;;) {
        ulong_t len = sizeof signature;
        init(session, &ecdsa, key);
        sign(session, digest, 32ul, signature, &len);
    }
    return NULL;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 2 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(20);
    EXPECT(0, C_Initialize, NULL);
    ulong_t key = find_key(open_session());
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, sign_on, &key);
    }
    usleep(20000);
    if (strcmp(argv[2], "exit") == 0)
        exit(0);
    if (strcmp(argv[2], "finalize") == 0)
        EXPECT(0, C_Finalize, NULL);
    if (strcmp(argv[2], "dlclose") == 0) {
        EXPECT(0, C_Finalize, NULL);
        dlclose(library);
    }
    return 0;
}
