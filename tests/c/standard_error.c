/* standard_error URI FILE data|log: when it has signed once, the program closes standard error and opens a file under its
 * number: one that it reads as well, for its data, or a log. Then it signs in itself and in a child. */
#include <fcntl.h>
#include <sys/wait.h>
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    load_providers("default,akv_provider");
    EVP_PKEY *key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    sign_and_verify(NULL, key, key, "before");
    close(STDERR_FILENO);
    int flags = strcmp(argv[3], "data") == 0 ? O_RDWR : O_WRONLY | O_APPEND;
    CHECK(open(argv[2], flags | O_CREAT, 0600) == STDERR_FILENO);
    sign_and_verify(NULL, key, key, "after");
    pid_t child = fork();
    if (child == 0) {
        sign_and_verify(NULL, key, key, "in a child");
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return 0;
}
