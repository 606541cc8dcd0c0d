/* many_signers threads|jobs URI SIGNERS SIGNATURES: so many signers sign at a time, SIGNATURES each: threads, or
 * asynchronous jobs of one thread. Each signature is checked.
 * Prints "served N", "median MS", "p99 MS", "longest MS" of single signatures, "fastest MS" and "slowest MS" of signers from their start to
 * their end, and "descriptors N" and "threads N", the most that the process had. */
#include "check.h"

#include <openssl/async.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { MAX_SIGNERS = 2000, STACK = 512 * 1024 };

static EVP_PKEY *key, *public_key;
static int signers, signatures;
static double *times; /* of each signature */
static double finished[MAX_SIGNERS];
static atomic_int served, stop;
static int most_descriptors, most_threads;
static pthread_barrier_t start;
static double began;

static double milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void look(void)
{
    int descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");

    if (descriptors > most_descriptors)
        most_descriptors = descriptors;
    if (threads > most_threads)
        most_threads = threads;
}

static void *keep_looking(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        look();
        usleep(20000);
    }
    return NULL;
}

static void sign(long number, int round)
{
    char message[64];
    double since = milliseconds();

    snprintf(message, sizeof(message), "signer %ld, message %d", number, round);
    sign_and_verify(NULL, key, public_key, message);
    times[number * signatures + round] = milliseconds() - since;
    atomic_fetch_add(&served, 1);
}

static void *be_signer(void *number)
{
    pthread_barrier_wait(&start);
    for (int i = 0; i < signatures; i++)
        sign((long)number, i);
    finished[(long)number] = milliseconds() - began;
    return NULL;
}

static void in_threads(void)
{
    pthread_t threads[MAX_SIGNERS];
    pthread_attr_t attributes;

    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, STACK) == 0);
    CHECK(pthread_barrier_init(&start, NULL, signers + 1) == 0);
    for (long i = 0; i < signers; i++)
        CHECK(pthread_create(&threads[i], &attributes, be_signer, (void *)i) == 0);
    began = milliseconds();
    pthread_barrier_wait(&start);
    for (int i = 0; i < signers; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static int in_job(void *number)
{
    for (int i = 0; i < signatures; i++)
        sign(*(long *)number, i);
    finished[*(long *)number] = milliseconds() - began;
    return 1;
}

static void in_jobs(void)
{
    static struct {
        ASYNC_JOB *job;
        ASYNC_WAIT_CTX *context;
        int is_done;
    } works[MAX_SIGNERS];
    static struct pollfd waiting[MAX_SIGNERS];
    int unfinished = signers;

    CHECK(ASYNC_init_thread(signers, 0) == 1);
    for (int i = 0; i < signers; i++)
        CHECK((works[i].context = ASYNC_WAIT_CTX_new()) != NULL);
    began = milliseconds();
    for (int first = 1; unfinished > 0; first = 0) {
        if (!first)
            CHECK(poll(waiting, signers, 60000) > 0);
        for (long i = 0; i < signers; i++) {
            OSSL_ASYNC_FD fds[4];
            size_t count = 0;
            int result = 0;

            if (works[i].is_done || (!first && waiting[i].revents == 0))
                continue;
            switch (ASYNC_start_job(&works[i].job, works[i].context, &result, in_job, &i, sizeof(i))) {
            case ASYNC_PAUSE:
                CHECK(ASYNC_WAIT_CTX_get_all_fds(works[i].context, NULL, &count) && count == 1);
                CHECK(ASYNC_WAIT_CTX_get_all_fds(works[i].context, fds, &count));
                waiting[i] = (struct pollfd){.fd = fds[0], .events = POLLIN};
                break;
            case ASYNC_FINISH:
                works[i].is_done = 1;
                waiting[i] = (struct pollfd){.fd = -1};
                unfinished--;
                break;
            default:
                CHECK(!"the job could not be started");
            }
        }
    }
    for (int i = 0; i < signers; i++)
        ASYNC_WAIT_CTX_free(works[i].context);
    ASYNC_cleanup_thread();
}

static int is_longer(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;

    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv)
{
    pthread_t looking;
    int count;

    CHECK(argc == 5);
    alarm(110);
    signers = atoi(argv[3]);
    signatures = atoi(argv[4]);
    count = signers * signatures;
    CHECK(signers >= 1 && signers <= MAX_SIGNERS);
    CHECK((times = calloc(count, sizeof(*times))) != NULL);
    load_providers("default,akv_provider");
    key = load_key(NULL, argv[2], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    CHECK(pthread_create(&looking, NULL, keep_looking, NULL) == 0);
    if (strcmp(argv[1], "threads") == 0)
        in_threads();
    else if (strcmp(argv[1], "jobs") == 0)
        in_jobs();
    else
        CHECK(!"threads or jobs");
    atomic_store(&stop, 1);
    CHECK(pthread_join(looking, NULL) == 0);
    qsort(times, count, sizeof(*times), is_longer);
    qsort(finished, signers, sizeof(*finished), is_longer);
    printf("served %d\nmedian %.1f\np99 %.1f\nlongest %.1f\n", atomic_load(&served), times[count / 2], times[count * 99 / 100],
           times[count - 1]);
    printf("fastest %.1f\nslowest %.1f\ndescriptors %d\nthreads %d\n", finished[0], finished[signers - 1], most_descriptors,
           most_threads);
    free(times);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
