/* job_stack MOST URI DIGEST…: loads each key, signs and verifies with it, each in an asynchronous job of its own. None may take more than
 * MOST bytes of the job's stack. DIGEST: - for none. */
#include <openssl/async.h>
#include "check.h"

/* Eight times what libcrypto gives a job, so that one that takes too much says how much. */
#define SIZE (256 * 1024)
#define UNTOUCHED 0xaa

static unsigned char *stack, *signature;
static const char *uri, *digest;
static EVP_PKEY *key;
static size_t length;

static void *give_stack(size_t *size)
{
    *size = SIZE;
    CHECK((stack = malloc(SIZE)) != NULL);
    return memset(stack, UNTOUCHED, SIZE);
}

/* They are looked at once the job is over. */
static void take_stack(void *given) { (void)given; }

static int load(void *unused)
{
    (void)unused;
    EVP_PKEY_free(key);
    key = load_key(NULL, uri, 0);
    return 1;
}

static int sign(void *unused)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    (void)unused;
    length = EVP_PKEY_get_size(key);
    CHECK(EVP_DigestSignInit_ex(context, NULL, digest, NULL, NULL, key, NULL) == 1);
    CHECK(EVP_DigestSign(context, signature, &length, (const unsigned char *)"m", 1) == 1);
    EVP_MD_CTX_free(context);
    return 1;
}

static int verify(void *unused)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    (void)unused;
    CHECK(EVP_DigestVerifyInit_ex(context, NULL, digest, NULL, "provider=akv_provider", key, NULL) == 1);
    CHECK(EVP_DigestVerify(context, signature, length, (const unsigned char *)"m", 1) == 1);
    EVP_MD_CTX_free(context);
    return 1;
}

/* Returns how much of its stack a job took. */
static size_t in_job(int (*run)(void *))
{
    ASYNC_WAIT_CTX *waiting = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *job = NULL;
    size_t untouched = 0;
    int result = 0, status;

    CHECK(ASYNC_init_thread(1, 0) == 1);
    while ((status = ASYNC_start_job(&job, waiting, &result, run, NULL, 0)) == ASYNC_PAUSE)
        usleep(1000);
    CHECK(status == ASYNC_FINISH && result == 1);
    while (untouched < SIZE && stack[untouched] == UNTOUCHED)
        untouched++;
    ASYNC_WAIT_CTX_free(waiting);
    ASYNC_cleanup_thread();
    free(stack);
    return SIZE - untouched;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void *);
    } operations[] = {{"load", load}, {"sign", sign}, {"verify", verify}};
    size_t most;
    int is_bad = 0;

    CHECK(argc >= 4);
    most = strtoul(argv[1], NULL, 10);
    load_providers("akv_provider,default");
    CHECK(ASYNC_set_mem_functions(give_stack, take_stack) == 1);
    for (int i = 2; i + 1 < argc; i += 2) {
        uri = argv[i];
        digest = strcmp(argv[i + 1], "-") == 0 ? NULL : argv[i + 1];
        /* Once outside: what a process does first isn't meant. */
        key = load_key(NULL, uri, 0);
        signature = OPENSSL_malloc(EVP_PKEY_get_size(key));
        sign(NULL);
        for (size_t k = 0; k < 3; k++) {
            size_t taken = in_job(operations[k].run);

            printf("%s %s: %zu bytes of stack\n", operations[k].name, uri, taken);
            is_bad |= taken > most;
        }
        EVP_PKEY_free(key);
        key = NULL;
        OPENSSL_free(signature);
    }
    return is_bad;
}
