/* no_random URI: a filter of system calls refuses the process random bytes before it loads a key. That fails, and the
 * error says so. */
#include <errno.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    load_providers("default,akv_provider");
    refuse(SYS_getrandom);
    CHECK(try_key(NULL, argv[1], OSSL_STORE_INFO_PKEY) == NULL);
    ERR_print_errors_fp(stdout);
    return 0;
}
