/* Threads that do nothing but sign are cancelled, each in another moment. They end, and the process goes on. */
#include "calls.h"

enum { THREADS = 30 };

static ulong_t key;
static volatile int signatures;

static void *sign_on(void *unused) {
    ulong_t session = open_session();
    ulong_t (*init)() = function("C_SignInit"), (*sign)() = function("C_Sign");
    for (;;) {
        unsigned char digest[32] = {7}, signature[64];
        ulong_t len = sizeof signature;
        if (init(session, &ecdsa, key) != 0 || sign(session, digest, 32ul, signature, &len) != 0)
            return unused;
        signatures++;
    }
}

static void *sign_where_it_is_off(void *unused) {
    int state = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cancel(pthread_self());
    ulong_t session = open_session();
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature;
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    return state == PTHREAD_CANCEL_DISABLE ? unused : &key;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(60);
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session();
    key = find_key(session);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        void *result = NULL;
        int before = signatures;
        pthread_create(&thread, NULL, sign_on, NULL);
        while (signatures == before)
            usleep(100);
        usleep(137 * i);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        if (result != PTHREAD_CANCELED) {
            fprintf(stderr, "thread %d was not cancelled\n", i);
            return 1;
        }
    }
    pthread_t thread;
    void *result = NULL;
    pthread_create(&thread, NULL, sign_where_it_is_off, NULL);
    pthread_join(thread, &result);
    if (result != NULL)
        return 1;
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature;
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
