/* races MODULE KIND: threads that do different things at the same time. A call may fail by what another thread has done,
   with a code that says so; nothing else may happen, and afterwards all goes on.

   own        each has a session of its own, and does all that there is
   shared     all do the same in one session
   finalize   the module ends, and starts again, while the others sign
   close      all sessions are closed meanwhile
   generate   one makes keys and lets them go, while the others search and read attributes
   login      one logs in and out, while the others search and sign */
#include "calls.h"

enum { THREADS = 6, ROUNDS = 12, TURNS = 6 };

enum {
    KEY_HANDLE_INVALID = 0x60,
    OBJECT_HANDLE_INVALID = 0x82,
    OPERATION_ACTIVE = 0x90,
    OPERATION_NOT_INITIALIZED = 0x91,
    SESSION_CLOSED = 0xb0,
    SESSION_HANDLE_INVALID = 0xb3,
    USER_NOT_LOGGED_IN = 0x101,
    NOT_INITIALIZED = 0x190,
    SIGNATURE_INVALID = 0xc0,
};

static ulong_t shared, key, public;
static volatile int is_over;
/* What else a call may answer here. */
static const ulong_t *allowed;

static int is_good(ulong_t code) {
    if (code == 0)
        return 1;
    for (const ulong_t *one = allowed; *one != 0; one++)
        if (*one == code)
            return 1;
    return 0;
}

#define TRY(name, ...)                                                                               \
    do {                                                                                             \
        ulong_t code = CALL(name, __VA_ARGS__);                                                      \
        if (!is_good(code)) {                                                                        \
            fprintf(stderr, "line %d: " #name ": 0x%lx\n", __LINE__, code);                          \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

static void sign(ulong_t session) {
    unsigned char digest[32] = {7}, signature[64] = {0};
    ulong_t len = sizeof signature;
    TRY(C_SignInit, session, &ecdsa, key);
    TRY(C_Sign, session, digest, 32ul, signature, &len);
    TRY(C_VerifyInit, session, &ecdsa, public);
    TRY(C_Verify, session, digest, 32ul, signature, 64ul);
}

static void search(ulong_t session) {
    ulong_t found[8], count = 0;
    TRY(C_FindObjectsInit, session, NULL, 0ul);
    TRY(C_FindObjects, session, found, 8ul, &count);
    TRY(C_FindObjectsFinal, session);
    for (ulong_t i = 0; i < count && count <= 8; i++) {
        ulong_t class = 0;
        char label[40];
        struct attribute wanted[] = {{0, &class, sizeof class}, {3, label, sizeof label}};
        TRY(C_GetAttributeValue, session, found[i], wanted, 2ul);
    }
}

static void compute(ulong_t session) {
    static const struct mechanism sha256 = {0x250, NULL, 0};
    unsigned char bytes[32] = {3};
    ulong_t len = sizeof bytes, info[4];
    TRY(C_DigestInit, session, &sha256);
    TRY(C_DigestUpdate, session, bytes, 32ul);
    TRY(C_DigestFinal, session, bytes, &len);
    TRY(C_GenerateRandom, session, bytes, 32ul);
    TRY(C_GetSessionInfo, session, info);
}

static void all(ulong_t session) {
    sign(session);
    search(session);
    compute(session);
}

static void *in_shared_session(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++)
        all(shared);
    return NULL;
}

/* Opens a session for each round: others may close it. */
static void *in_own_sessions(void *work) {
    void (*do_work)(ulong_t) = work;
    for (int i = 0; is_over == 0 && i < 100 * ROUNDS; i++) {
        ulong_t session = 0;
        TRY(C_OpenSession, 0ul, 6ul, NULL, NULL, &session);
        do_work(session);
        TRY(C_CloseSession, session);
    }
    return NULL;
}

static void run_threads(pthread_t *threads, void *(*run)(void *), void *work) {
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run, work);
}

static void join(pthread_t *threads) {
    is_over = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_over = 0;
}

/* A pair that lives as long as its session. */
static void generate(void) {
    static unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct attribute curve = {0x180, p256, sizeof p256};
    struct mechanism generation = {0x1040, NULL, 0};
    ulong_t session = 0, made[2];
    EXPECT(0, C_OpenSession, 0ul, 6ul, NULL, NULL, &session);
    EXPECT(0, C_GenerateKeyPair, session, &generation, &curve, 1ul, NULL, 0ul, &made[0], &made[1]);
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = sizeof signature;
    EXPECT(0, C_SignInit, session, &ecdsa, made[1]);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    EXPECT(0, C_CloseSession, session);
}

static void find_keys(void) {
    shared = open_session();
    key = find_key(shared);
    public = find_object(shared, 2);
}

static void start(void) {
    EXPECT(0, C_Initialize, NULL);
    find_keys();
}

static int run(const char *kind) {
    /* What calls in one session do to each other: the signature of one is verified by another's. */
    static const ulong_t none[] = {0}, in_one[] = {OPERATION_ACTIVE, OPERATION_NOT_INITIALIZED, SIGNATURE_INVALID, 0},
                         gone[] = {OBJECT_HANDLE_INVALID, 0},
                         ended[] = {NOT_INITIALIZED, SESSION_HANDLE_INVALID, SESSION_CLOSED, OPERATION_NOT_INITIALIZED,
                                    KEY_HANDLE_INVALID, OBJECT_HANDLE_INVALID, SIGNATURE_INVALID, 0};
    pthread_t threads[THREADS];
    allowed = none;
    if (strcmp(kind, "own") == 0) {
        run_threads(threads, in_own_sessions, all);
        for (int i = 0; i < ROUNDS; i++)
            all(shared);
        join(threads);
    } else if (strcmp(kind, "shared") == 0) {
        allowed = in_one;
        run_threads(threads, in_shared_session, NULL);
        join(threads);
        EXPECT(0, C_SessionCancel, shared, ~0ul);
    } else if (strcmp(kind, "generate") == 0) {
        allowed = gone;
        run_threads(threads, in_own_sessions, search);
        for (int i = 0; i < TURNS; i++)
            generate();
        join(threads);
    } else if (strcmp(kind, "login") == 0) {
        run_threads(threads, in_own_sessions, all);
        for (int i = 0; i < 20 * TURNS; i++) {
            EXPECT(0, C_Login, shared, 1ul, NULL, 0ul);
            EXPECT(0, C_Logout, shared);
        }
        join(threads);
    } else if (strcmp(kind, "close") == 0 || strcmp(kind, "finalize") == 0) {
        allowed = ended;
        run_threads(threads, in_own_sessions, all);
        for (int i = 0; i < TURNS; i++) {
            usleep(20000);
            if (kind[0] == 'c') {
                EXPECT(0, C_CloseAllSessions, 0ul);
            } else {
                EXPECT(0, C_Finalize, NULL);
                EXPECT(0, C_Initialize, NULL);
            }
        }
        join(threads);
        find_keys();
    } else {
        return 2;
    }
    allowed = none;
    all(shared);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 2 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(240);
    start();
    return run(argv[2]);
}
