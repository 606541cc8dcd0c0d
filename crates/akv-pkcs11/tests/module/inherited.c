/* Children that have lost the environment, and the file that it led to: they start the module with what their parent has read, as
   pkcs11-provider does, after C_Finalize; and so do theirs. The parent, which has ended the module itself, reads anew. */
#include "calls.h"

static void sign(void) {
    ulong_t session = open_session(), key = find_key(session), len = 64;
    unsigned char digest[32] = {7}, signature[64];
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
}

static void wait_for(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) {
        fprintf(stderr, "a child: status 0x%x\n", status);
        exit(1);
    }
}

/* Twice: what was read is not lost with the first end. */
static void start_again(void *arguments) {
    for (int i = 0; i < 2; i++) {
        EXPECT(0, C_Finalize, NULL);
        EXPECT(0, C_Initialize, arguments);
        sign();
    }
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL || argc < 3)
        return 2;
    alarm(120);
    /* The program names the file itself, or a variable does. */
    struct initialize_args named = {.flags = 2, .reserved = argv[2]};
    void *arguments = strcmp(argv[2], "-") == 0 ? NULL : &named;
    EXPECT(0, C_Initialize, arguments);
    const char *file = arguments == NULL ? getenv("MHSM_PKCS11_CONF") : argv[2];
    if (file == NULL || unlink(file) != 0)
        return 3;
    pid_t child = fork();
    if (child == 0) {
        clearenv();
        start_again(arguments);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            start_again(arguments);
            exit(0);
        }
        wait_for(grandchild);
        EXPECT(0, C_Finalize, NULL);
        exit(0);
    }
    wait_for(child);
    sign();
    EXPECT(0, C_Finalize, NULL);
    EXPECT(0x6, C_Initialize, arguments);
    return 0;
}
