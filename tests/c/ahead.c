/* ahead URI: loads a key, and forks when the connection is open that was opened ahead. Parent and child sign by the one that each
 * has by then, and open no other. */
#include <arpa/inet.h>
#include <sys/wait.h>
#include "check.h"

/* How many descriptors are connections by TCP. */
static int connections(void)
{
    int count = 0;

    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof(peer);

        count += getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET;
    }
    return count;
}

/* Whether a thread is still at it. */
static int is_opening(void)
{
    DIR *threads = opendir("/proc/self/task");
    int found = 0;

    CHECK(threads != NULL);
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        char path[300], name[32] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", thread->d_name);
        file = fopen(path, "r");
        if (file != NULL) {
            found |= fgets(name, sizeof(name), file) != NULL && strcmp(name, "akv-ahead\n") == 0;
            fclose(file);
        }
    }
    closedir(threads);
    return found;
}

/* Signs when there is a connection more than `before`, by that one. The test's own limit ends a wait in vain. */
static void sign_by_another(EVP_PKEY *key, EVP_PKEY *public_key, int before)
{
    while (connections() == before || is_opening())
        usleep(1000);
    CHECK(connections() == before + 1);
    sign_and_verify(NULL, key, public_key, "by a connection that was there");
    CHECK(connections() == before + 1);
}

int main(int argc, char **argv)
{
    EVP_PKEY *key, *public_key;
    pid_t child;
    int status;

    CHECK(argc == 2);
    load_providers("default,akv_provider");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    sign_by_another(key, public_key, 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        sign_by_another(key, public_key, 1);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    sign_and_verify(NULL, key, public_key, "by the connection of before");
    CHECK(connections() == 1);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
