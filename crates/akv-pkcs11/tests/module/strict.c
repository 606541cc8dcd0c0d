/* A forked child that has to start the module before anything else works: afterFork is strict. */
#include "calls.h"

static void sign(ulong_t session) {
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature, key = find_key(session);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
}

static void child(ulong_t session) {
    unsigned char info[128];
    EXPECT(0x190, C_GetInfo, info);
    EXPECT(0x190, C_GetSessionInfo, session, info);
    EXPECT(0x190, C_CloseSession, session);
    EXPECT(0x190, C_Finalize, NULL);
    EXPECT(0, C_Initialize, NULL);
    EXPECT(0x191, C_Initialize, NULL);
    EXPECT(0xb3, C_GetSessionInfo, session, info);
    sign(open_session());
    EXPECT(0, C_Finalize, NULL);
    EXPECT(0x190, C_GetInfo, info);
    exit(0);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session();
    sign(session);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        child(session);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    sign(session);
    EXPECT(0, C_Finalize, NULL);
    return status != 0;
}
