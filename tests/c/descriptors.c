/* descriptors URI [during|tool]: a program that closes all descriptors but its own, as daemons do, and gets their numbers for what it opens itself.
 * The provider signs all the same, from an ordinary thread and from one with a small stack, and leaves alone what isn't its own.
 * during: another thread does so while a signature waits for the HSM, which takes longer than START_MS.
 * tool: another thread does so while a tool that gives tokens runs, which prints longer than START_MS. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "check.h"

enum { COUNT = 24, LAST = 200, START_MS = 100, SOON_MS = 5000 };

static const char MESSAGE[] = "a message of the application";
static EVP_PKEY *key, *public_key;

static void *sign(void *unused)
{
    (void)unused;
    sign_and_verify(NULL, key, public_key, "message");
    return NULL;
}

/* Signs on this thread, and on one with a small stack, for which the I/O thread does it. */
static void sign_both_ways(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    sign(NULL);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 64 * 1024) == 0);
    CHECK(pthread_create(&thread, &attributes, sign, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void close_all(void)
{
    for (int fd = 3; fd <= LAST; fd++)
        close(fd);
}

static void nothing(void)
{
    sign_both_ways();
    sign_both_ways();
}

static void files(void)
{
    int fds[COUNT];
    struct stat status[COUNT], now;

    for (int i = 0; i < COUNT; i++) {
        fds[i] = open(".", O_TMPFILE | O_RDWR, 0600);
        CHECK(fds[i] >= 3 && fstat(fds[i], &status[i]) == 0);
    }
    sign_both_ways();
    sign_both_ways();
    for (int i = 0; i < COUNT; i++) {
        CHECK(fstat(fds[i], &now) == 0);
        CHECK(now.st_ino == status[i].st_ino && now.st_size == 0);
        CHECK(lseek(fds[i], 0, SEEK_CUR) == 0);
        close(fds[i]);
    }
}

static void sockets(void)
{
    int fds[COUNT][2];
    char buffer[4096];

    for (int i = 0; i < COUNT; i++) {
        int flags = i % 2 == 0 ? SOCK_NONBLOCK : 0;

        CHECK(socketpair(AF_UNIX, SOCK_STREAM | flags, 0, fds[i]) == 0);
        for (int j = 0; j < 2; j++)
            CHECK(write(fds[i][j], MESSAGE, sizeof MESSAGE) == sizeof MESSAGE);
    }
    sign_both_ways();
    sign_both_ways();
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < 2; j++) {
            CHECK(recv(fds[i][j], buffer, sizeof buffer, MSG_DONTWAIT) == sizeof MESSAGE);
            CHECK(memcmp(buffer, MESSAGE, sizeof MESSAGE) == 0);
        }
    for (int i = 0; i < COUNT; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

/* Event loops of the application's, where those of the provider were. */
static void epolls(void)
{
    int epolls[COUNT], counters[COUNT];
    struct epoll_event event;
    unsigned long long count;

    for (int i = 0; i < COUNT; i++) {
        epolls[i] = epoll_create1(EPOLL_CLOEXEC);
        counters[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        event = (struct epoll_event){ .events = EPOLLIN | EPOLLET, .data.u64 = 7 };
        CHECK(epoll_ctl(epolls[i], EPOLL_CTL_ADD, counters[i], &event) == 0);
    }
    sign_both_ways();
    sign_both_ways();
    for (int i = 0; i < COUNT; i++) {
        CHECK(epoll_wait(epolls[i], &event, 1, 0) == 1 && event.data.u64 == 7);
        CHECK(read(counters[i], &count, sizeof count) == sizeof count && count == 1);
        close(epolls[i]);
        close(counters[i]);
    }
}

/* Nothing gets the numbers of standard input, output and error. */
static void standard(void)
{
    int err = fcntl(2, F_DUPFD_CLOEXEC, 100);

    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    sign_both_ways();
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) {
            dup2(err, 2);
            CHECK(!"a standard descriptor was taken");
        }
    }
}

static void in_child(void (*work)(void))
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child == 0) {
        close_all();
        work();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    sign_both_ways();
}

/* What is put in the place of the provider's descriptors while it waits: `fds`, the second of which may be missing. */
struct intruder {
    const char *name;
    int fds[2];
};

/* The numbers at which an intruder is now. */
static char taken[LAST + 1];

/* What a number stands for; empty: nothing. */
static void what(int fd, char *text, size_t size)
{
    char path[64];
    ssize_t length;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    length = readlink(path, text, size - 1);
    text[length < 0 ? 0 : length] = '\0';
}

static void *intrude(void *argument)
{
    const struct intruder *intruder = argument;
    const struct timespec start = { .tv_nsec = START_MS * 1000000L };

    nanosleep(&start, NULL);
    for (int fd = 3; fd <= LAST; fd++) {
        if (fd == intruder->fds[0] || fd == intruder->fds[1] || fcntl(fd, F_GETFD) == -1)
            continue;
        if (intruder->fds[0] == -1) {
            close(fd);
        } else {
            CHECK(dup2(intruder->fds[0], fd) == fd);
            taken[fd] = 1;
        }
    }
    return NULL;
}

/* Makes sure that the intruder still has the numbers that it took, and takes it away from them. How many they were. */
static int left_alone(const struct intruder *intruder)
{
    char expected[256], found[256];
    int count = 0;

    for (int fd = 3; fd <= LAST; fd++)
        if (taken[fd]) {
            what(intruder->fds[0], expected, sizeof expected);
            what(fd, found, sizeof found);
            CHECK(strcmp(expected, found) == 0);
            close(fd);
            count++;
        }
    return count;
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* Signs on a thread with a stack of so many bytes while something takes the place of all descriptors. */
static void sign_despite(const struct intruder *intruder, size_t stack)
{
    pthread_t signer, thread;
    pthread_attr_t attributes;
    double began;

    sign_both_ways();
    memset(taken, 0, sizeof taken);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, stack) == 0);
    began = now_ms();
    CHECK(pthread_create(&thread, NULL, intrude, (void *)intruder) == 0);
    CHECK(pthread_create(&signer, &attributes, sign, NULL) == 0);
    CHECK(pthread_join(signer, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    printf("%s, a stack of %zu: %.0f ms, then ", intruder->name, stack, now_ms() - began);
    CHECK(now_ms() - began > START_MS && now_ms() - began < SOON_MS);
    began = now_ms();
    sign_both_ways();
    printf("%.0f ms\n", now_ms() - began);
    CHECK(now_ms() - began < SOON_MS);
    CHECK(intruder->fds[0] == -1 || left_alone(intruder) >= 4);
}

static void despite(const char *name, int fd, int other)
{
    const struct intruder intruder = { name, { fd, other } };

    sign_despite(&intruder, 1024 * 1024);
    sign_despite(&intruder, 64 * 1024);
}

/* A socket or pipe holds what the application wrote, and no more. */
static void holds_message(int fd)
{
    char buffer[4096];

    CHECK(read(fd, buffer, sizeof buffer) == sizeof MESSAGE);
    CHECK(memcmp(buffer, MESSAGE, sizeof MESSAGE) == 0);
    CHECK(read(fd, buffer, sizeof buffer) == -1 && errno == EAGAIN);
}

static void during(void)
{
    int pair[2], counter, epoll, file;
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = 7 };
    unsigned long long number;
    struct stat status;

    despite("closed", -1, -1);

    counter = eventfd(1, EFD_NONBLOCK);
    epoll = epoll_create1(0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, counter, &event) == 0);
    despite("epoll", epoll, counter);
    CHECK(epoll_wait(epoll, &event, 1, 0) == 1 && event.data.u64 == 7);
    close(epoll);

    despite("eventfd", counter, -1);
    CHECK(read(counter, &number, sizeof number) == sizeof number && number == 1);
    close(counter);

    file = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(file >= 3 && write(file, MESSAGE, sizeof MESSAGE) == sizeof MESSAGE);
    CHECK(lseek(file, 1, SEEK_SET) == 1);
    despite("file", file, -1);
    CHECK(fstat(file, &status) == 0 && status.st_size == sizeof MESSAGE);
    CHECK(lseek(file, 0, SEEK_CUR) == 1);
    close(file);

    for (int end = 0; end < 2; end++) {
        CHECK(pipe2(pair, O_NONBLOCK) == 0);
        CHECK(write(pair[1], MESSAGE, sizeof MESSAGE) == sizeof MESSAGE);
        despite(end == 0 ? "pipe" : "pipe's other end", pair[end], pair[1 - end]);
        holds_message(pair[0]);
        close(pair[0]);
        close(pair[1]);
    }

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    for (int end = 0; end < 2; end++)
        CHECK(write(pair[end], MESSAGE, sizeof MESSAGE) == sizeof MESSAGE);
    despite("socket", pair[0], pair[1]);
    for (int end = 0; end < 2; end++)
        holds_message(pair[end]);
}

static void *load(void *uri)
{
    key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY);
    return NULL;
}

/* Loads the key, for which a tool gives the token, while a file takes the place of all descriptors. */
static void by_tool(char *uri)
{
    const struct intruder intruder = { "file", { open(".", O_TMPFILE | O_RDWR, 0600), -1 } };
    int file = intruder.fds[0];
    pthread_t loader, thread;

    CHECK(file >= 3 && write(file, MESSAGE, sizeof MESSAGE) == sizeof MESSAGE);
    CHECK(lseek(file, 1, SEEK_SET) == 1);
    CHECK(pthread_create(&thread, NULL, intrude, (void *)&intruder) == 0);
    CHECK(pthread_create(&loader, NULL, load, uri) == 0);
    CHECK(pthread_join(loader, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    public_key = public_copy(NULL, key);
    sign_both_ways();
    /* The tool's two pipes, and what wakes the event loop. */
    CHECK(left_alone(&intruder) >= 3);
    CHECK(lseek(file, 0, SEEK_CUR) == 1);
    close(file);
}

int main(int argc, char **argv)
{
    static void (*const CASES[])(void) = { nothing, files, sockets, epolls };

    CHECK(argc == 2 || argc == 3);
    load_providers("akv_provider,default");
    if (argc == 3 && strcmp(argv[2], "tool") == 0) {
        by_tool(argv[1]);
        return 0;
    }
    CHECK(argc == 2 || strcmp(argv[2], "during") == 0);
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    sign_both_ways();
    if (argc == 3) {
        during();
        return 0;
    }
    in_child(standard);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        in_child(CASES[i]);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        close_all();
        CASES[i]();
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
