/* fork_sign URI sign-first|fork-first|threads|namespace|clone [ROUNDS]: loads a key, forks, signs in children and in
 * the parent, as often as asked. sign-first: the parent has signed before. fork-first: it has only loaded the key.
 * threads: it forks while four of its threads sign. namespace: the parent is process 1 and has signed before; a child
 * is process 1 as well, of a PID namespace of its own, in which there are no others. clone: the same with a child of
 * which the C library knows nothing. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { CHILDREN = 4, THREADS = 4 };

static EVP_PKEY *key, *public_key;
static pthread_barrier_t started;
static volatile int stop;

static void *sign_until_stopped(void *unused)
{
    (void)unused;
    sign_and_verify(NULL, key, public_key, "the first one, for which libcrypto takes locks of its own");
    pthread_barrier_wait(&started);
    while (!stop)
        sign_and_verify(NULL, key, public_key, "signed in a thread of the parent");
    return NULL;
}

static pid_t start_child(int number, int is_first, int by_clone)
{
    pid_t child = by_clone ? syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();

    CHECK(child >= 0);
    if (child == 0) {
        CHECK(!is_first || getpid() == 1);
        alarm(30); /* a hang ends as a failure */
        for (int i = 0; i < 3; i++)
            sign_and_verify(NULL, key, public_key, "signed in a child");
        /* Half of them end as programs do, half of them as nginx's workers may. */
        if (number % 2 == 0)
            exit(0);
        _exit(0);
    }
    return child;
}

static void expect_success(pid_t child)
{
    int status = 0;

    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFSIGNALED(status));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    pid_t children[CHILDREN];
    int with_threads, with_namespace, by_clone, rounds, count;

    CHECK(argc == 3 || argc == 4);
    rounds = argc == 4 ? atoi(argv[3]) : 1;
    alarm(60);
    CHECK(OSSL_PROVIDER_load(NULL, "default") != NULL);
    CHECK(OSSL_PROVIDER_load(NULL, "akv_provider") != NULL);
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    with_threads = strcmp(argv[2], "threads") == 0;
    by_clone = strcmp(argv[2], "clone") == 0;
    with_namespace = by_clone || strcmp(argv[2], "namespace") == 0;
    count = with_namespace ? 1 : CHILDREN;
    if (strcmp(argv[2], "fork-first") != 0)
        sign_and_verify(NULL, key, public_key, "signed in the parent, before");
    CHECK(pthread_barrier_init(&started, NULL, THREADS + 1) == 0);
    for (int i = 0; with_threads && i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, sign_until_stopped, NULL) == 0);
    if (with_threads)
        pthread_barrier_wait(&started);
    for (int round = 0; round < rounds; round++) {
        if (with_namespace) {
            CHECK(getpid() == 1);
            CHECK(unshare(CLONE_NEWPID) == 0);
        }
        for (int i = 0; i < count; i++)
            children[i] = start_child(i, with_namespace, by_clone);
        sign_and_verify(NULL, key, public_key, "signed in the parent, meanwhile");
        for (int i = 0; i < count; i++)
            expect_success(children[i]);
    }
    stop = 1;
    for (int i = 0; with_threads && i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    sign_and_verify(NULL, key, public_key, "signed in the parent, after");
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
