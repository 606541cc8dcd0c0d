/* A child that goes on without C_Initialize has a key of its parent's session stay in the token: the parent, which doesn't know
   that, leaves it there, and finds it afterwards. */
#include "calls.h"

static const struct mechanism ec_pair = {0x1040, NULL, 0};

static ulong_t open_to_write(void) {
    ulong_t session = 0;
    EXPECT(0, C_OpenSession, 0ul, 6ul, NULL, NULL, &session);
    return session;
}

static void adopt(ulong_t session, ulong_t key) {
    unsigned char yes = 1;
    ulong_t copy = 0;
    struct attribute template[] = {{1, &yes, 1}};
    EXPECT(0, C_CopyObject, session, key, template, 1ul, &copy);
}

/* How many private keys stay in the token. */
static ulong_t keys_to_stay(ulong_t session) {
    unsigned char yes = 1;
    ulong_t class = 3, found[16], count = 0;
    struct attribute template[] = {{1, &yes, 1}, {0, &class, sizeof class}};
    EXPECT(0, C_FindObjectsInit, session, template, 2ul);
    EXPECT(0, C_FindObjects, session, found, 16ul, &count);
    EXPECT(0, C_FindObjectsFinal, session);
    return count;
}

int main(int argc, char **argv) {
    static unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct attribute template[] = {{0x180, p256, sizeof p256}};
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_to_write(), public = 0, private = 0;
    EXPECT(0, C_GenerateKeyPair, session, &ec_pair, template, 1ul, NULL, 0ul, &public, &private);
    pid_t pid = fork();
    if (pid == 0) {
        adopt(session, private);
        exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) {
        fprintf(stderr, "the child: status 0x%x\n", status);
        return 1;
    }
    EXPECT(0, C_CloseSession, session);
    session = open_to_write();
    if (keys_to_stay(session) != 1)
        return 3;
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
