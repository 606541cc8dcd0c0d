/* log_signals URI pipe|size: asks for a signature that is refused, while the log can't be written: its reader is gone
 * (pipe: the log is standard error), or it is as long as files of this process may be (size). That is no signal that ends
 * the process: SIGPIPE and SIGXFSZ are what they are by default. */
#include <signal.h>
#include <sys/resource.h>
#include "check.h"

static void expect_default(int signal)
{
    struct sigaction action;

    CHECK(sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
}

int main(int argc, char **argv)
{
    const struct rlimit none = {0, 0};
    const unsigned char message[] = "message";
    unsigned char signature[1024];
    size_t length = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY *key;
    sigset_t blocked;
    int ends[2];

    CHECK(argc == 3);
    expect_default(SIGPIPE);
    expect_default(SIGXFSZ);
    load_providers("default,akv_provider");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1);
    if (strcmp(argv[2], "size") == 0) {
        CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
    } else {
        CHECK(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    }
    CHECK(EVP_DigestSign(context, signature, &length, message, sizeof(message)) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0);
    CHECK(sigismember(&blocked, SIGPIPE) == 0 && sigismember(&blocked, SIGXFSZ) == 0);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return 0;
}
