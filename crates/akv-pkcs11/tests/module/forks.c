/* Children of a process whose threads sign: half of them start the module again, as libp11 and pkcs11-tool do, the
   others go on with what they have inherited, as Apache's do. */
#include "calls.h"

enum { CHILDREN = 40, THREADS = 4 };

static volatile int is_over;

static void sign(ulong_t session, ulong_t key) {
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature;
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
}

static void *sign_on(void *unused) {
    (void)unused;
    ulong_t session = open_session(), key = find_key(session);
    while (!is_over)
        sign(session, key);
    return NULL;
}

static void child(int number, ulong_t session, ulong_t key) {
    if (number % 2 == 0) {
        EXPECT(0, C_Initialize, NULL);
        EXPECT(0xb3, C_CloseSession, session);
        session = open_session();
        key = find_key(session);
    }
    sign(session, key);
    if (number % 4 < 2)
        EXPECT(0, C_Finalize, NULL);
    exit(0);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0x190, C_GetInfo, NULL);
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), key = find_key(session);
    sign(session, key);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, sign_on, NULL);
    int failed = 0;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(30);
            child(i, session, key);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        if (status != 0) {
            fprintf(stderr, "child %d: status 0x%x\n", i, status);
            failed++;
        }
    }
    is_over = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sign(session, key);
    EXPECT(0, C_Finalize, NULL);
    return failed != 0;
}
