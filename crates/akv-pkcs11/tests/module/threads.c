/* Threads that use one session all at once, which is theirs to sort out: calls may fail, and nothing else may happen.
   And threads whose stacks are too small for a request. */
#include "calls.h"

enum { THREADS = 8, ROUNDS = 50 };

static ulong_t session, key;

static void *use(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned char digest[32] = {7}, signature[64];
        ulong_t len = sizeof signature;
        ulong_t code = CALL(C_SignInit, session, &ecdsa, key);
        if (code != 0 && code != 0x90)
            return &session;
        code = CALL(C_Sign, session, digest, 32ul, signature, &len);
        if (code != 0 && code != 0x91)
            return &session;
    }
    return NULL;
}

static void *sign_once(void *unused) {
    (void)unused;
    ulong_t own = open_session();
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature;
    EXPECT(0, C_SignInit, own, &ecdsa, key);
    EXPECT(0, C_Sign, own, digest, 32ul, signature, &len);
    return NULL;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    session = open_session();
    key = find_key(session);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, use, NULL);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        if (failed != NULL)
            return 1;
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], &small, sign_once, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CALL(C_SignInit, session, NULL, 0ul);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
