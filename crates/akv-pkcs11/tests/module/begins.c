/* A session is not locked while an operation begins in it, for which the HSM is asked, nor while a long part is hashed: other threads' calls
   in it return meanwhile, and so do those of a child that is forked then. */
#include "calls.h"
#include <sys/mman.h>

static ulong_t session, key;
static volatile int has_ended;

static void *begin(void *unused) {
    (void)unused;
    EXPECT(0x68, C_SignInit, session, &ecdsa, key);
    has_ended = 1;
    return NULL;
}

static void use_session(void) {
    static const struct mechanism sha256 = {0x250, NULL, 0};
    unsigned char digest[32];
    ulong_t len = sizeof digest;
    EXPECT(0, C_SessionCancel, session, 0x800ul);
    EXPECT(0, C_DigestInit, session, NULL);
    EXPECT(0, C_DigestInit, session, &sha256);
    EXPECT(0, C_Digest, session, "text", 4ul, digest, &len);
}

static void use_session_in_child(void) {
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        use_session();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) {
        fprintf(stderr, "a child: status 0x%x\n", status);
        exit(4);
    }
}

/* Nothing but zeros, which take no memory. */
enum { LONG = 1 << 30 };
static unsigned char *zeros;

static void *hash(void *unused) {
    (void)unused;
    static const struct mechanism sha512 = {0x270, NULL, 0};
    EXPECT(0, C_DigestInit, session, &sha512);
    EXPECT(0, C_DigestUpdate, session, zeros, (ulong_t)LONG);
    return NULL;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    EXPECT(0, C_Initialize, NULL);
    session = open_session();
    key = find_key(session);
    /* What was known just before isn't asked for again. */
    sleep(3);
    pthread_t thread;
    pthread_create(&thread, NULL, begin, NULL);
    usleep(500000);
    int had_ended = has_ended;
    use_session();
    if (!had_ended && has_ended) {
        fprintf(stderr, "the calls have waited for the other thread's\n");
        return 3;
    }
    use_session_in_child();
    pthread_join(thread, NULL);
    zeros = mmap(NULL, LONG, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (zeros == MAP_FAILED)
        return 5;
    pthread_create(&thread, NULL, hash, NULL);
    usleep(300000);
    use_session_in_child();
    pthread_join(thread, NULL);
    return 0;
}
