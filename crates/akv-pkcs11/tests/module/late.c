/* Signs, and is refused something, where the variables of a thread have gone that the module's language keeps: in a destructor of
   pthread_key_create() in a thread that has used them, and in a function of atexit(). */
#include "calls.h"

static ulong_t session, key;

static void work(void) {
    unsigned char digest[32] = {1}, signature[64];
    ulong_t len = sizeof signature;
    struct mechanism with_parameter = {0x1041, "x", 1};
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    /* CKR_MECHANISM_PARAM_INVALID, with a cause that is told. */
    EXPECT(0x71, C_SignInit, session, &with_parameter, key);
}

static void destroy(void *unused) {
    (void)unused;
    work();
}

static void *run(void *destroyed) {
    pthread_setspecific(*(pthread_key_t *)destroyed, "x");
    work();
    return NULL;
}

int main(int argc, char **argv) {
    pthread_key_t destroyed;
    pthread_t thread;
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    EXPECT(0, C_Initialize, NULL);
    session = open_session();
    key = find_key(session);
    if (pthread_key_create(&destroyed, destroy) != 0 || pthread_create(&thread, NULL, run, &destroyed) != 0 ||
        pthread_join(thread, NULL) != 0)
        return 2;
    return atexit(work);
}
