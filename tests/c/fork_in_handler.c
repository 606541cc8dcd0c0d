/* fork_in_handler URI TIMES: signs while a handler of a signal forks now and then, mostly in the middle of a request. The children go
 * on where they are: what they have of their parent's connections they must leave alone. Each signature of the parent's counts; a
 * child's may fail, if the next one goes well. */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t signals, children, is_child;

static void now_and_then(int number)
{
    int before = errno;
    pid_t pid;

    (void)number;
    if (!is_child && ++signals % 5 == 0) {
        pid = fork();
        if (pid == 0)
            is_child = 1;
        else if (pid > 0)
            children++;
    }
    errno = before;
}

static int signs(EVP_PKEY *key)
{
    unsigned char signature[1024];
    size_t length = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int result = EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1
                 && EVP_DigestSign(context, signature, &length, (const unsigned char *)"x", 1) == 1;

    EVP_MD_CTX_free(context);
    return result;
}

int main(int argc, char **argv)
{
    struct itimerval timer = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = now_and_then};
    int failed = 0, status, times;
    EVP_PKEY *key;

    CHECK(argc == 3);
    load_providers("akv_provider,default");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0);
    for (times = atoi(argv[2]); times > 0; times--) {
        int is_signed = signs(key);

        if (is_child)
            _exit(!is_signed && !signs(key) && !signs(key));
        if (!is_signed) {
            ERR_print_errors_fp(stderr);
            failed++;
        }
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(failed == 0 && children > 0);
    for (failed = 0; children > 0; children--) {
        CHECK(wait(&status) > 0);
        failed += status != 0;
    }
    CHECK(failed == 0);
    return 0;
}
