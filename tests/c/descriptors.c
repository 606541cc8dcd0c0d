/* descriptors URI: a program that closes all descriptors but its own, as daemons do, and gets their numbers for what it opens itself. The
 * provider signs all the same, from an ordinary thread and from one with a small stack, and leaves alone what isn't its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "check.h"

enum { COUNT = 24, LAST = 200 };

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

int main(int argc, char **argv)
{
    static void (*const CASES[])(void) = { nothing, files, sockets, epolls };

    CHECK(argc == 2);
    load_providers("akv_provider,default");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    sign_both_ways();
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
