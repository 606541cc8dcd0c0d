/* metered URI: loads a key, and does what the lines of its standard input say, with a line of output for each:
 * sign COUNT: signs so often; "signed N" of them. child COUNT: forks a child that does so and waits to be killed;
 * "child PID signed N". close: closes all descriptors but the standard ones, and opens files at their numbers.
 * check: whether these files are as they were opened. At the end of its input it ends as programs do. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "check.h"

enum { FILES = 16, LAST = 200 };

static EVP_PKEY *key;
static int files[FILES];
static ino_t inodes[FILES];

static int try_to_sign(int count)
{
    int signed_ = 0;

    for (int i = 0; i < count; i++) {
        unsigned char signature[1024];
        size_t len = sizeof(signature);
        EVP_MD_CTX *context = EVP_MD_CTX_new();

        CHECK(context != NULL);
        CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1);
        signed_ += EVP_DigestSign(context, signature, &len, (const unsigned char *)"hello", 5) == 1;
        ERR_clear_error();
        EVP_MD_CTX_free(context);
    }
    return signed_;
}

static void start_child(int count)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child != 0)
        return;
    alarm(120); /* nobody kills it */
    printf("child %d signed %d\n", (int)getpid(), try_to_sign(count));
    fflush(stdout);
    for (;;)
        pause();
}

static void replace_descriptors(void)
{
    struct stat status;

    for (int fd = 3; fd <= LAST; fd++)
        close(fd);
    for (int i = 0; i < FILES; i++) {
        files[i] = open(".", O_TMPFILE | O_RDWR, 0600);
        CHECK(files[i] >= 3 && fstat(files[i], &status) == 0);
        inodes[i] = status.st_ino;
    }
}

static void check_files(void)
{
    struct stat status;

    for (int i = 0; i < FILES; i++) {
        CHECK(fstat(files[i], &status) == 0);
        CHECK(status.st_ino == inodes[i] && status.st_size == 0);
    }
}

int main(int argc, char **argv)
{
    char line[100];
    int count;

    CHECK(argc == 2);
    signal(SIGCHLD, SIG_IGN);
    CHECK(OSSL_PROVIDER_load(NULL, "default") != NULL);
    CHECK(OSSL_PROVIDER_load(NULL, "akv_provider") != NULL);
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "sign %d", &count) == 1) {
            printf("signed %d\n", try_to_sign(count));
        } else if (sscanf(line, "child %d", &count) == 1) {
            start_child(count);
        } else if (strcmp(line, "close\n") == 0) {
            replace_descriptors();
            puts("closed");
        } else {
            CHECK(strcmp(line, "check\n") == 0);
            check_files();
            puts("checked");
        }
        fflush(stdout);
    }
    EVP_PKEY_free(key);
    return 0;
}
