/* A session is closed, or its user logged out, while another thread's call in it waits for the HSM. Arguments: the module, the call,
   what comes meanwhile, and the PIN. */
#include "calls.h"

static const struct mechanism ec_pair = {0x1040, NULL, 0}, aes_key = {0x1080, NULL, 0};

static const char *call, *pin;
static ulong_t session;
static volatile int is_done;

static ulong_t log_in(void) {
    return CALL(C_Login, session, 1ul, pin, strlen(pin));
}

static ulong_t make_pair(void) {
    static unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct attribute template[] = {{0x180, p256, sizeof p256}};
    ulong_t public = 0, private = 0;
    return CALL(C_GenerateKeyPair, session, &ec_pair, template, 1ul, NULL, 0ul, &public, &private);
}

static ulong_t make_secret(void) {
    ulong_t len = 32, key = 0;
    struct attribute template[] = {{0x161, &len, sizeof len}};
    return CALL(C_GenerateKey, session, &aes_key, template, 1ul, &key);
}

static void *run(void *code) {
    if (strcmp(call, "login") == 0)
        *(ulong_t *)code = log_in();
    else if (strcmp(call, "pair") == 0)
        *(ulong_t *)code = make_pair();
    else
        *(ulong_t *)code = make_secret();
    is_done = 1;
    return NULL;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 4 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    call = argv[2];
    pin = argv[4];
    EXPECT(0, C_Initialize, NULL);
    session = open_session();
    if (*pin != 0 && strcmp(call, "login") != 0 && log_in() != 0)
        return 3;
    pthread_t thread;
    ulong_t code = 0;
    pthread_create(&thread, NULL, run, &code);
    /* The HSM has been asked, and doesn't answer yet. */
    getchar();
    int was_late = is_done;
    if (strcmp(argv[3], "close") == 0)
        EXPECT(0, C_CloseSession, session);
    else if (strcmp(argv[3], "close all") == 0)
        EXPECT(0, C_CloseAllSessions, 0ul);
    else
        EXPECT(0, C_Logout, session);
    pthread_join(thread, NULL);
    if (code != 0xb0 && !was_late) {
        fprintf(stderr, "the call returned 0x%lx\n", code);
        return 1;
    }
    if (strcmp(argv[3], "log out") == 0)
        EXPECT(0, C_CloseSession, session);
    /* Nobody is logged in. */
    struct {
        ulong_t slot, state, flags, error;
    } info;
    session = open_session();
    EXPECT(0, C_GetSessionInfo, session, &info);
    if (info.state != 0) {
        fprintf(stderr, "the state is %lu\n", info.state);
        return 1;
    }
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
