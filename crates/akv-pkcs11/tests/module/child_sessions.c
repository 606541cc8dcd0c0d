/* A child that goes on without C_Initialize: the session's keys that it makes and brings end with the session. Those of its parent end
   for the child, and stay for the parent. */
#include "calls.h"

static const struct mechanism ec_pair = {0x1040, NULL, 0};

static ulong_t make_pair(ulong_t session) {
    static unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct attribute template[] = {{0x180, p256, sizeof p256}};
    ulong_t public = 0, private = 0;
    EXPECT(0, C_GenerateKeyPair, session, &ec_pair, template, 1ul, NULL, 0ul, &public, &private);
    return private;
}

static void bring_secret(ulong_t session) {
    ulong_t class = 4, type = 0x1f, key = 0;
    unsigned char value[16] = {7};
    struct attribute template[] = {{0, &class, sizeof class}, {0x100, &type, sizeof type}, {0x11, value, sizeof value}};
    EXPECT(0, C_CreateObject, session, template, 3ul, &key);
}

/* How many objects there are that don't stay in the token. */
static ulong_t objects_of_sessions(ulong_t session) {
    unsigned char no = 0;
    ulong_t found[16], count = 0;
    struct attribute template[] = {{1, &no, 1}};
    EXPECT(0, C_FindObjectsInit, session, template, 1ul);
    EXPECT(0, C_FindObjects, session, found, 16ul, &count);
    EXPECT(0, C_FindObjectsFinal, session);
    return count;
}

static void sign(ulong_t session, ulong_t key) {
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature;
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
}

static int child(ulong_t inherited, ulong_t of_parent) {
    ulong_t own = open_session(), before = objects_of_sessions(own);
    sign(inherited, make_pair(inherited));
    sign(own, make_pair(own));
    bring_secret(inherited);
    bring_secret(own);
    if (objects_of_sessions(own) != before + 6)
        return 3;
    EXPECT(0, C_CloseSession, inherited);
    /* Those of the parent's key pair are no more here, either. */
    if (objects_of_sessions(own) != before + 3 - 2)
        return 4;
    EXPECT(0x60, C_SignInit, own, &ecdsa, of_parent);
    EXPECT(0, C_CloseSession, own);
    return 0;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), key = make_pair(session);
    sign(session, key);
    pid_t pid = fork();
    if (pid == 0)
        exit(child(session, key));
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) {
        fprintf(stderr, "the child: status 0x%x\n", status);
        return 1;
    }
    sign(session, key);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
