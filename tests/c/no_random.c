/* no_random URI load|child|encrypt: a filter of system calls refuses the process random bytes: before it loads a key, before
 * it forks a child that signs with it, or before a thread that has had none encrypts with its public key. That fails, and
 * the error says so. */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "check.h"

/* Has one system call fail with EPERM from now on. */
static void refuse(unsigned int number)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof(steps) / sizeof(steps[0]), steps };

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static EVP_PKEY *key;

static int signs(void)
{
    unsigned char signature[512];
    size_t length = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1);
    int done = EVP_DigestSign(context, signature, &length, (const unsigned char *)"text", 4);
    EVP_MD_CTX_free(context);
    return done;
}

static int encrypts(void)
{
    unsigned char room[512];
    size_t length = sizeof room;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    CHECK(EVP_PKEY_encrypt_init(context) == 1);
    int done = EVP_PKEY_encrypt(context, room, &length, (const unsigned char *)"text", 4);
    EVP_PKEY_CTX_free(context);
    return done;
}

static void *in_thread(void *unused)
{
    (void)unused;
    CHECK(encrypts() != 1);
    ERR_print_errors_fp(stdout);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    load_providers("default,akv_provider");
    if (strcmp(argv[2], "load") == 0) {
        refuse(SYS_getrandom);
        CHECK(try_key(NULL, argv[1], OSSL_STORE_INFO_PKEY) == NULL);
        ERR_print_errors_fp(stdout);
        return 0;
    }
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    CHECK(signs() == 1);
    if (strcmp(argv[2], "encrypt") == 0) {
        pthread_t thread;
        CHECK(encrypts() == 1);
        refuse(SYS_getrandom);
        CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        return 0;
    }
    refuse(SYS_getrandom);
    pid_t child = fork();
    if (child == 0) {
        CHECK(signs() != 1);
        ERR_print_errors_fp(stdout);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    /* This process has what it needs. */
    CHECK(signs() == 1);
    return 0;
}
