/* A filter of system calls refuses the process random bytes: before the module starts (start), or before a thread or a child that has
   had none yet calls (the others). Arguments: the module, and what is called. */
#include "calls.h"
#include "refused.h"

enum { FUNCTION_FAILED = 6, DEVICE_ERROR = 0x30 };

static const char *call;
static ulong_t session, key;

static void *in_thread(void *unused) {
    unsigned char bytes[16], room[512];
    (void)unused;
    if (strcmp(call, "random") == 0) {
        EXPECT(FUNCTION_FAILED, C_GenerateRandom, session, bytes, sizeof bytes);
    } else if (strcmp(call, "pair") == 0) {
        static unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
        static const struct mechanism ec_pair = {0x1040, NULL, 0};
        struct attribute template[] = {{0x180, p256, sizeof p256}};
        ulong_t public = 0, private = 0;
        EXPECT(FUNCTION_FAILED, C_GenerateKeyPair, session, &ec_pair, template, 1ul, NULL, 0ul, &public, &private);
    } else if (strcmp(call, "sign") == 0) {
        ulong_t len = sizeof room;
        EXPECT(0, C_SignInit, session, &ecdsa, key);
        EXPECT(DEVICE_ERROR, C_Sign, session, bytes, sizeof bytes, room, &len);
    } else {
        /* With the public key, so that nobody is asked. */
        static const struct mechanism pkcs1 = {1, NULL, 0};
        ulong_t len = sizeof room;
        EXPECT(0, C_EncryptInit, session, &pkcs1, key);
        EXPECT(DEVICE_ERROR, C_Encrypt, session, bytes, sizeof bytes, room, &len);
    }
    return NULL;
}

/* The child begins with what its parent has, and needs bytes of its own. */
static int in_child(void) {
    unsigned char bytes[16], room[512];
    ulong_t len = sizeof room;
    EXPECT(FUNCTION_FAILED, C_GenerateRandom, session, bytes, sizeof bytes);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(DEVICE_ERROR, C_Sign, session, bytes, sizeof bytes, room, &len);
    return 0;
}

static void sign(void) {
    unsigned char bytes[32] = {0}, room[512];
    ulong_t len = sizeof room;
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, bytes, sizeof bytes, room, &len);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 2 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    call = argv[2];
    if (strcmp(call, "start") == 0) {
        refuse(SYS_getrandom);
        EXPECT(FUNCTION_FAILED, C_Initialize, NULL);
        return 0;
    }
    EXPECT(0, C_Initialize, NULL);
    EXPECT(0, C_OpenSession, 0ul, 6ul, NULL, NULL, &session);
    key = find_object(session, strcmp(call, "encrypt") == 0 ? 2 : 3);
    if (strncmp(call, "child", 5) == 0) {
        sign();
        refuse(SYS_getrandom);
        pid_t child = strcmp(call, "child") == 0 ? fork() : syscall(SYS_clone, 17, 0, 0, 0, 0);
        if (child == 0)
            _exit(in_child());
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "the child ended with %x\n", status);
            return 1;
        }
        /* This process has what it needs. */
        sign();
    } else {
        refuse(SYS_getrandom);
        pthread_t thread;
        if (pthread_create(&thread, NULL, in_thread, NULL) != 0)
            return 2;
        pthread_join(thread, NULL);
    }
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
