/* async URI JOBS MODE: signs in JOBS jobs of one thread at a time, three times each.
 * fds: waits for the jobs' descriptors. callback: is told by a callback. spurious: resumes all jobs all the time.
 * restart: waits for a line on its input after the first time.
 * abandon: ends while jobs are paused. blocked: jobs may not pause. quick: the HSM is quick, and some jobs end without a pause;
 * those may not leave a descriptor, which the application was never told. taken: while jobs are paused it closes all descriptors but
 * its own, and opens counters under their numbers. child: a child goes on with the contexts of its parent's jobs. With any of them it sees to it that the jobs' stacks,
 * which have no guard page, were never nearly used up. */
#include <openssl/async.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "check.h"

enum { LAST = 200, COUNTERS = 48, MAX_JOBS = 64, ROUNDS = 3, STACK = 32768, RESERVE = 8192, UNTOUCHED = 0xa5 };

static EVP_PKEY *key, *public_key;
static int blocked;

struct work {
    ASYNC_JOB *job;
    ASYNC_WAIT_CTX *context;
    int rounds;
    int result;
    atomic_int woken;
};

/* libcrypto's memory. What is as large as a job's stack is filled before, and looked at after. */
struct block {
    size_t size;
    max_align_t memory[];
};

static atomic_int stacks;

static void *get_memory(size_t size, const char *file, int line)
{
    struct block *block = malloc(sizeof(*block) + size);

    (void)file, (void)line;
    if (block == NULL)
        return NULL;
    block->size = size;
    if (size == STACK)
        memset(block->memory, UNTOUCHED, size);
    return block->memory;
}

static void give_back(void *memory, const char *file, int line)
{
    struct block *block;
    const unsigned char *byte = memory;
    size_t unused = 0;

    (void)file, (void)line;
    if (memory == NULL)
        return;
    block = (struct block *)((char *)memory - offsetof(struct block, memory));
    if (block->size == STACK) {
        while (unused < STACK && byte[unused] == UNTOUCHED)
            unused++;
        fprintf(stderr, "a stack had %zu of %d bytes left\n", unused, STACK);
        if (unused < RESERVE)
            abort();
        atomic_fetch_add(&stacks, 1);
    }
    free(block);
}

static void *resize(void *memory, size_t size, const char *file, int line)
{
    void *larger;
    size_t old;

    if (memory == NULL)
        return get_memory(size, file, line);
    old = ((struct block *)((char *)memory - offsetof(struct block, memory)))->size;
    if ((larger = get_memory(size, file, line)) == NULL)
        return NULL;
    memcpy(larger, memory, old < size ? old : size);
    give_back(memory, file, line);
    return larger;
}

static int sign(void *unused)
{
    (void)unused;
    if (blocked)
        ASYNC_block_pause();
    sign_and_verify(NULL, key, public_key, "signed in a job");
    if (blocked)
        ASYNC_unblock_pause();
    return 1;
}

static int wake(void *argument)
{
    struct work *work = argument;

    atomic_store(&work->woken, 1);
    return 1;
}

/* Signs in jobs with a context each, as connections of a server have. Returns how many never paused. */
static int be_quick(int jobs)
{
    int quick = 0;

    for (int i = 0; i < jobs; i++) {
        struct work work = { .context = ASYNC_WAIT_CTX_new() };
        size_t count = 0;
        int pauses = 0;

        CHECK(work.context != NULL);
        while (ASYNC_start_job(&work.job, work.context, &work.result, sign, NULL, 0) == ASYNC_PAUSE)
            pauses++;
        CHECK(work.result == 1);
        CHECK(ASYNC_WAIT_CTX_get_all_fds(work.context, NULL, &count));
        CHECK(count == (pauses > 0));
        quick += pauses == 0;
        ASYNC_WAIT_CTX_free(work.context);
    }
    return quick;
}

/* Goes on with a job, or begins the next. Returns 1 if it is paused. */
static int step(struct work *work)
{
    atomic_store(&work->woken, 0);
    switch (ASYNC_start_job(&work->job, work->context, &work->result, sign, NULL, 0)) {
    case ASYNC_PAUSE:
        return 1;
    case ASYNC_FINISH:
        CHECK(work->result == 1);
        work->job = NULL;
        work->rounds++;
        return 0;
    default:
        CHECK(!"the job could not be started");
        return 0;
    }
}

static int descriptor(struct work *work)
{
    size_t count = 0;
    OSSL_ASYNC_FD fd;

    CHECK(ASYNC_WAIT_CTX_get_all_fds(work->context, NULL, &count) && count == 1);
    CHECK(ASYNC_WAIT_CTX_get_all_fds(work->context, &fd, &count));
    return fd;
}

static int is_ready(struct work *work, const char *mode)
{
    struct pollfd ready = { .events = POLLIN };

    if (strcmp(mode, "spurious") == 0)
        return 1;
    if (strcmp(mode, "callback") == 0)
        return atomic_load(&work->woken);
    ready.fd = descriptor(work);
    CHECK(poll(&ready, 1, 0) >= 0);
    return ready.revents != 0;
}

/* Resumes jobs until each has signed so many times. */
static void finish(struct work *works, int jobs, int rounds, const char *mode)
{
    for (int unfinished = jobs; unfinished > 0;) {
        unfinished = 0;
        for (int i = 0; i < jobs; i++) {
            if (works[i].rounds == rounds)
                continue;
            unfinished++;
            if (works[i].job == NULL || is_ready(&works[i], mode))
                step(&works[i]);
        }
    }
}

static void take_descriptors(int *counters)
{
    for (int fd = 3; fd <= LAST; fd++)
        close(fd);
    /* All counters have the same inode. */
    for (int i = 0; i < COUNTERS; i++)
        CHECK((counters[i] = eventfd(1, EFD_NONBLOCK)) >= 3);
}

static void have_been_left_alone(const int *counters)
{
    for (int i = 0; i < COUNTERS; i++) {
        eventfd_t count = 0;

        CHECK(eventfd_read(counters[i], &count) == 0 && count == 1);
    }
}

/* What tells of a job, whatever its number. */
static ino_t file(struct work *work)
{
    struct stat status;

    CHECK(fstat(descriptor(work), &status) == 0);
    return status.st_ino;
}

/* Jobs of a child, whose contexts have had jobs of the parent, are told by descriptors that the parent doesn't have. */
static void go_on_in_child(struct work *works, int jobs)
{
    int status;
    ino_t parents = file(works);
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        CHECK(step(works) == 1);
        CHECK(file(works) != parents);
        finish(works, jobs, ROUNDS, "fds");
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
    int counters[COUNTERS];
    static struct work works[MAX_JOBS];
    int jobs, paused_at_once = 0;

    CHECK(CRYPTO_set_mem_functions(get_memory, resize, give_back));
    CHECK(argc == 4);
    alarm(60);
    jobs = atoi(argv[2]);
    CHECK(jobs > 0 && jobs <= MAX_JOBS);
    blocked = strcmp(argv[3], "blocked") == 0;
    CHECK(OSSL_PROVIDER_load(NULL, "default") != NULL);
    CHECK(OSSL_PROVIDER_load(NULL, "akv_provider") != NULL);
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    CHECK(ASYNC_is_capable());
    CHECK(ASYNC_init_thread((size_t)jobs, (size_t)jobs));
    if (strcmp(argv[3], "quick") == 0) {
        printf("%d of %d jobs never paused\n", be_quick(jobs * ROUNDS), jobs * ROUNDS);
        return 0;
    }
    for (int i = 0; i < jobs; i++) {
        CHECK((works[i].context = ASYNC_WAIT_CTX_new()) != NULL);
        if (strcmp(argv[3], "callback") == 0)
            CHECK(ASYNC_WAIT_CTX_set_callback(works[i].context, wake, &works[i]));
    }
    for (int i = 0; i < jobs; i++)
        paused_at_once += step(&works[i]);
    if (blocked)
        CHECK(paused_at_once == 0);
    if (strcmp(argv[3], "abandon") == 0) {
        CHECK(paused_at_once > 0);
        for (int i = 0; i < jobs; i++)
            ASYNC_WAIT_CTX_free(works[i].context);
        /* Their answers arrive, and nobody is there. */
        usleep(300000);
        sign_and_verify(NULL, key, public_key, "signed after that");
        return 0;
    }
    if (strcmp(argv[3], "restart") == 0) {
        finish(works, jobs, 1, argv[3]);
        puts("signed");
        fflush(stdout);
        CHECK(getchar() == '\n');
    }
    if (strcmp(argv[3], "taken") == 0) {
        take_descriptors(counters);
        finish(works, jobs, 1, "spurious");
    }
    if (strcmp(argv[3], "child") == 0) {
        finish(works, jobs, 1, argv[3]);
        go_on_in_child(works, jobs);
    }
    finish(works, jobs, ROUNDS, argv[3]);
    for (int i = 0; i < jobs; i++) {
        CHECK(works[i].rounds == ROUNDS);
        ASYNC_WAIT_CTX_free(works[i].context);
    }
    if (strcmp(argv[3], "taken") == 0)
        have_been_left_alone(counters);
    ASYNC_cleanup_thread();
    CHECK(atomic_load(&stacks) == jobs);
    printf("%d of %d jobs were paused at once\n", paused_at_once, jobs);
    return 0;
}
