/* lifecycle MODE URI TIMES [SLOW]: ends, replaces and multiplies a process in all ways, TIMES times, while threads sign and requests are
 * under way.
 *
 * exit: children sign and end by exit(), without freeing anything.
 * exit-in-flight: the same while requests of threads are under way that take longer than that. libcrypto is cleaned up meanwhile.
 * exit-busy: the same while threads sign all the time. libcrypto must not be cleaned up then (OPENSSL_INIT_NO_ATEXIT): with
 * software keys, too, a thread that is in libcrypto after its clean-up crashes.
 * term: children get SIGTERM at any moment of a signature. Half of them catch it, and sign to the end.
 * fork: requests of the parent's threads, with the key SLOW, are under way while it forks children that sign and end, without exec.
 * (While threads are in libcrypto itself, a fork may take along a lock of theirs: with software keys, too, children then hang.)
 * exec: a process whose threads sign becomes another by exec, which finds none of its descriptors.
 * unload: unloads the provider in a library context, frees that, and loads it anew, while threads sign in another one; by turns
 * while a request of its own is under way.
 * tls-open: children end by exit() with a TLS connection open.
 * tls-busy: children end by exit() or SIGTERM at any moment of a handshake. For libcrypto's clean-up see exit-busy. */
#include "check.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { THREADS = 3, AT_A_TIME = 4 };

static EVP_PKEY *key, *public_key;
/* What threads in the background sign with. */
static EVP_PKEY *busy_key;
static const char *program, *uri;
static atomic_int stop, signatures;
static volatile sig_atomic_t told_to_end;

/* Signs without a word about failures: the process may be on its way out. Returns 1 if it went well. */
static int try_to_sign(void)
{
    unsigned char signature[512];
    size_t length = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int result;

    if (context == NULL)
        return 0;
    result = EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, busy_key, NULL) == 1
             && EVP_DigestSign(context, signature, &length, (const unsigned char *)"message", 7) == 1;
    EVP_MD_CTX_free(context);
    atomic_fetch_add(&signatures, result);
    return result;
}

static void *go_on_trying(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop))
        try_to_sign();
    return NULL;
}

static void *go_on_signing(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        sign_and_verify(NULL, key, public_key, "signed in a thread");
        atomic_fetch_add(&signatures, 1);
    }
    return NULL;
}

static pthread_t threads[THREADS];

static void start_threads(void *(*work)(void *))
{
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
}

static void join_threads(void)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    atomic_store(&stop, 0);
}

/* A moment, another one each time: up to 30 ms. */
static void sleep_a_moment(int number)
{
    usleep((number * 7919 + 13) % 30000);
}

/* Whether a thread of this process, other than its first one, runs or could run. */
static int is_any_running(void)
{
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    int running = 0;

    CHECK(folder != NULL);
    while ((entry = readdir(folder)) != NULL) {
        char path[300], stat[512] = {0}, *state;
        FILE *file;

        if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/stat", entry->d_name);
        if ((file = fopen(path, "r")) == NULL)
            continue;
        state = fgets(stat, sizeof(stat), file) == NULL ? NULL : strrchr(stat, ')');
        running |= state != NULL && state[2] != 'S';
        fclose(file);
    }
    closedir(folder);
    return running;
}

/* Waits until all threads wait for the network: no one has run for a while. */
static void wait_until_requests_are_under_way(void)
{
    for (int quiet = 0; quiet < 10; quiet = is_any_running() ? 0 : quiet + 1)
        usleep(5000);
}

/* Tells the parent that it may go on. */
static void tell(int pipe)
{
    CHECK(write(pipe, "", 1) == 1);
}

static void exit_after_signing(int number, int pipe)
{
    (void)number;
    tell(pipe);
    sign_and_verify(NULL, key, public_key, "signed before the end");
    exit(0);
}

static void exit_while_others_sign(int number, int pipe)
{
    tell(pipe);
    start_threads(go_on_trying);
    sleep_a_moment(number);
    exit(0);
}

static void exit_while_others_wait(int number, int pipe)
{
    (void)number;
    tell(pipe);
    start_threads(go_on_trying);
    wait_until_requests_are_under_way();
    CHECK(atomic_load(&signatures) == 0);
    exit(0);
}

static void note_the_signal(int unused)
{
    (void)unused;
    told_to_end = 1;
}

static void be_terminated(int number, int pipe)
{
    if (number % 2 == 0) {
        start_threads(go_on_trying);
        tell(pipe);
        for (;;)
            pause();
    }
    struct sigaction action = {.sa_handler = note_the_signal};

    CHECK(sigaction(SIGTERM, &action, NULL) == 0);
    tell(pipe);
    /* The signal arrives while this thread waits for the HSM: it may not be noticed there. */
    while (!told_to_end)
        sign_and_verify(NULL, key, public_key, "signed till the end");
    exit(0);
}

static void sign_once(int number, int pipe)
{
    tell(pipe);
    sign_and_verify(NULL, key, public_key, "signed in a child");
    if (number % 2 == 0)
        exit(0);
    _exit(0);
}

static SSL_CTX *server_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    X509 *certificate = X509_new();
    X509_NAME *name = X509_NAME_new();

    CHECK(context != NULL);
    CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0) == 1);
    CHECK(X509_set_subject_name(certificate, name) == 1);
    CHECK(X509_set_issuer_name(certificate, name) == 1);
    X509_NAME_free(name);
    CHECK(X509_set_version(certificate, 2) == 1);
    CHECK(X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL);
    CHECK(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400) != NULL);
    CHECK(X509_set_pubkey(certificate, public_key) == 1);
    CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
    CHECK(SSL_CTX_use_certificate(context, certificate) == 1);
    CHECK(SSL_CTX_use_PrivateKey(context, key) == 1);
    X509_free(certificate);
    return context;
}

static SSL_CTX *served;
static int ends[2];

static void *connect_to_it(void *unused)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *tls = SSL_new(context);

    (void)unused;
    CHECK(SSL_set_fd(tls, ends[1]) == 1);
    SSL_connect(tls);
    return NULL;
}

static void *accept_it(void *unused)
{
    SSL *tls = SSL_new(served);

    (void)unused;
    CHECK(SSL_set_fd(tls, ends[0]) == 1);
    SSL_accept(tls);
    return NULL;
}

static void start_handshake(pthread_t *client, pthread_t *server)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(pthread_create(client, NULL, connect_to_it, NULL) == 0);
    CHECK(pthread_create(server, NULL, accept_it, NULL) == 0);
}

static void leave_tls_open(int number, int pipe)
{
    pthread_t client, server;

    (void)number;
    tell(pipe);
    start_handshake(&client, &server);
    CHECK(pthread_join(client, NULL) == 0 && pthread_join(server, NULL) == 0);
    exit(0);
}

static void leave_handshake(int number, int pipe)
{
    pthread_t client, server;

    start_handshake(&client, &server);
    tell(pipe);
    if (number % 2 == 0)
        for (;;)
            pause();
    sleep_a_moment(number);
    exit(0);
}

/* Has children do something, a few at a time. `is_killed`: which of them get SIGTERM, and which of those die of it. */
static void have_children(int times, void (*work)(int, int), int (*is_killed)(int), int (*dies)(int))
{
    pid_t children[AT_A_TIME];
    int exited = 0, signalled = 0;

    for (int number = 0; number < times; number += AT_A_TIME) {
        int count = times - number < AT_A_TIME ? times - number : AT_A_TIME;
        int pipes[AT_A_TIME][2];
        char byte;

        for (int i = 0; i < count; i++) {
            CHECK(pipe(pipes[i]) == 0);
            CHECK((children[i] = fork()) >= 0);
            if (children[i] == 0) {
                alarm(60); /* a hang ends as a failure */
                atomic_store(&signatures, 0);
                work(number + i, pipes[i][1]);
                _exit(9);
            }
            close(pipes[i][1]);
        }
        for (int i = 0; i < count; i++) {
            /* One that crashed before it could tell is noticed below. */
            (void)!read(pipes[i][0], &byte, 1);
            close(pipes[i][0]);
            if (is_killed(number + i)) {
                sleep_a_moment(number + i);
                kill(children[i], SIGTERM);
            }
        }
        for (int i = 0; i < count; i++) {
            int status = 0;

            CHECK(waitpid(children[i], &status, 0) == children[i]);
            if (dies(number + i)) {
                if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM)
                    fprintf(stderr, "child %d ended with status %x\n", number + i, status);
                CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
                signalled++;
            } else {
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                    fprintf(stderr, "child %d ended with status %x\n", number + i, status);
                CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                exited++;
            }
        }
    }
    printf("%d exited, %d were terminated, none crashed\n", exited, signalled);
}

static int never(int number) { (void)number; return 0; }
static int always(int number) { (void)number; return 1; }
static int is_even(int number) { return number % 2 == 0; }

/* The process itself, so many times, each with the number of descriptors that the first one began with. */
static void become_another(int left, int descriptors)
{
    char times[16], expected[16];

    if (left == 0) {
        printf("the last one has as many descriptors as the first\n");
        exit(0);
    }
    start_threads(go_on_trying);
    /* By turns a request is under way that is the first, and any. */
    while (left % 2 == 0 && atomic_load(&signatures) < 2)
        usleep(1000);
    sleep_a_moment(left);
    snprintf(times, sizeof(times), "%d", left - 1);
    snprintf(expected, sizeof(expected), "%d", descriptors);
    execl(program, program, "exec", uri, times, expected, NULL);
    CHECK(!"exec returns");
}

struct own {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key, *public_key;
};

static void *sign_in_own(void *argument)
{
    struct own *own = argument;

    sign_and_verify(own->libctx, own->key, own->public_key, "signed while the provider is unloaded");
    return NULL;
}

static void unload(int times)
{
    start_threads(go_on_signing);
    for (int i = 0; i < times; i++) {
        struct own own;
        OSSL_PROVIDER *standard, *akv;
        pthread_t thread;

        CHECK((own.libctx = OSSL_LIB_CTX_new()) != NULL);
        CHECK((standard = OSSL_PROVIDER_load(own.libctx, "default")) != NULL);
        CHECK((akv = OSSL_PROVIDER_load(own.libctx, "akv_provider")) != NULL);
        own.key = load_key(own.libctx, uri, 0);
        own.public_key = public_copy(own.libctx, own.key);
        if (i % 2 == 0) {
            sign_in_own(&own);
        } else {
            CHECK(pthread_create(&thread, NULL, sign_in_own, &own) == 0);
            sleep_a_moment(i);
        }
        /* The key still holds on to the provider. */
        CHECK(OSSL_PROVIDER_unload(akv) == 1);
        if (i % 2 == 1)
            CHECK(pthread_join(thread, NULL) == 0);
        EVP_PKEY_free(own.public_key);
        EVP_PKEY_free(own.key);
        CHECK(OSSL_PROVIDER_unload(standard) == 1);
        OSSL_LIB_CTX_free(own.libctx);
    }
    join_threads();
    CHECK(atomic_load(&signatures) > 0);
    printf("unloaded %d times, with %d signatures meanwhile\n", times, atomic_load(&signatures));
}

int main(int argc, char **argv)
{
    int times;

    CHECK(argc == 4 || argc == 5);
    alarm(600);
    program = argv[0];
    uri = argv[2];
    times = atoi(argv[3]);
    /* What exec left open is here already. */
    if (strcmp(argv[1], "exec") == 0 && argc == 5 && entries("/proc/self/fd") != atoi(argv[4])) {
        fprintf(stderr, "%d descriptors, the first one had %s\n", entries("/proc/self/fd"), argv[4]);
        CHECK(!"no descriptor is left open by exec");
    }
    int descriptors = entries("/proc/self/fd");

    /* Whoever ends while threads sign has to leave libcrypto alone. */
    if (strstr(argv[1], "-busy") != NULL)
        CHECK(OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) == 1);
    load_providers("default,akv_provider");
    key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    busy_key = key;
    if (strcmp(argv[1], "exit") == 0) {
        have_children(times, exit_after_signing, never, never);
    } else if (strcmp(argv[1], "exit-in-flight") == 0) {
        have_children(times, exit_while_others_wait, never, never);
    } else if (strcmp(argv[1], "exit-busy") == 0) {
        have_children(times, exit_while_others_sign, never, never);
    } else if (strcmp(argv[1], "term") == 0) {
        have_children(times, be_terminated, always, is_even);
    } else if (strcmp(argv[1], "fork") == 0) {
        CHECK(argc == 5);
        busy_key = load_key(NULL, argv[4], OSSL_STORE_INFO_PKEY);
        start_threads(go_on_trying);
        wait_until_requests_are_under_way();
        have_children(times, sign_once, never, never);
        CHECK(atomic_load(&signatures) == 0);
        return 0;
    } else if (strcmp(argv[1], "exec") == 0) {
        become_another(times, descriptors);
    } else if (strcmp(argv[1], "unload") == 0) {
        unload(times);
    } else if (strncmp(argv[1], "tls-", 4) == 0) {
        served = server_context();
        if (strcmp(argv[1], "tls-open") == 0)
            have_children(times, leave_tls_open, never, never);
        else
            have_children(times, leave_handshake, is_even, is_even);
        SSL_CTX_free(served);
    } else {
        CHECK(!"a mode");
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
