/* signals URI [OWN]: its main thread blocks a signal but while it waits for it, as nginx does with SIGCHLD and SIGQUIT. The thread that the
 * provider has meanwhile started, since a small stack asked for a key, or OWN of them, must not take the signal: nothing would wake the main thread. */
#include <pthread.h>
#include <signal.h>
#include "check.h"

static volatile sig_atomic_t handled, was_main;
static pthread_t main_thread;

static void handler(int unused)
{
    (void)unused;
    handled++;
    was_main = pthread_equal(pthread_self(), main_thread);
}

static void *load(void *uri)
{
    return load_key(NULL, uri, OSSL_STORE_INFO_PKEY);
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = handler };
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t set, nothing;
    void *key;

    CHECK(argc == 2 || argc == 3);
    main_thread = pthread_self();
    load_providers("akv_provider,default");
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 65536) == 0);
    CHECK(pthread_create(&thread, &attributes, load, argv[1]) == 0);
    CHECK(pthread_join(thread, &key) == 0);
    CHECK(entries("/proc/self/task") == 1 + (argc == 3 ? atoi(argv[2]) : 1));

    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    sigemptyset(&nothing);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    for (int i = 1; i <= 100; i++) {
        CHECK(kill(getpid(), SIGCHLD) == 0);
        usleep(1000);
        CHECK(handled == i - 1);
        sigsuspend(&nothing);
        CHECK(handled == i && was_main);
    }
    EVP_PKEY_free(key);
    return 0;
}
