/* What the programs of the campaign of faults share: what becomes of operations in threads and in children, told to whoever sets
 * the faults. A program that includes it defines CHECK before, and take_errors. */
#ifndef AKV_TEST_CAMPAIGN_H
#define AKV_TEST_CAMPAIGN_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 0, DONE = 1, WRONG = -1, TEXT = 4096, PATIENCE_SECONDS = 40, MOST = 16 };

struct operation {
    const char *name;
    int (*run)(void);
};

/* The key that is made. */
static char new_key[256];

/* Puts what has failed in this thread into a text of one line of at most TEXT bytes. Returns how many errors that are. */
static int take_errors(char *text);

static long milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Does an operation and prints, in one piece, what became of it. */
static void perform(const struct operation *operation)
{
    long began = milliseconds();
    int result = operation->run(), length;
    long took = milliseconds() - began;
    /* The stack of a job has no room for them. */
    char *text = malloc(TEXT), *line = malloc(TEXT + 128);

    CHECK(text != NULL && line != NULL);

    if (result == DONE) {
        length = snprintf(line, TEXT, "%s ok %ld\n", operation->name, took);
    } else {
        int errors = take_errors(text);

        length = snprintf(line, TEXT + 128, "%s %s %ld %d %s\n", operation->name, result == WRONG ? "wrong" : "failed", took, errors,
                          text);
    }
    CHECK(write(STDOUT_FILENO, line, length) == length);
    free(text);
    free(line);
}

static void *in_thread(void *operation)
{
    perform(operation);
    return NULL;
}

static void in_threads(const struct operation *operations, int count)
{
    pthread_t threads[MOST];

    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, in_thread, (void *)&operations[i]) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void in_children(const struct operation *operations, int count)
{
    pid_t children[MOST];
    int status = 0;

    for (int i = 0; i < count; i++) {
        CHECK((children[i] = fork()) >= 0);
        if (children[i] == 0) {
            alarm(90);
            perform(&operations[i]);
            /* Half of them end as programs do, half of them as nginx's workers may. */
            if (i % 2 == 0)
                exit(0);
            _exit(0);
        }
    }
    for (int i = 0; i < count; i++) {
        CHECK(waitpid(children[i], &status, 0) == children[i]);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            dprintf(STDOUT_FILENO, "%s crashed %d\n", operations[i].name, status);
    }
}

static void wait_for_line(void)
{
    char byte = 0;

    while (byte != '\n')
        CHECK(read(STDIN_FILENO, &byte, 1) == 1);
}

/* Does something until it no longer fails, or the deadline has come. */
static int insist(int (*run)(void), long deadline)
{
    char text[TEXT];
    int result;

    while ((result = run()) == FAILED && milliseconds() < deadline) {
        take_errors(text);
        usleep(50000);
    }
    return result;
}

static void recover(const struct operation *operations, int count)
{
    long deadline = milliseconds() + PATIENCE_SECONDS * 1000L;

    strncat(new_key, "-again", sizeof(new_key) - strlen(new_key) - 1);
    for (int i = 0; i < count; i++) {
        int result = insist(operations[i].run, deadline);

        if (result != DONE) {
            fprintf(stderr, "%s does not recover: %d\n", operations[i].name, result);
            exit(1);
        }
    }
}

#endif
