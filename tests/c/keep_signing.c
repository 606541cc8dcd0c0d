/* keep_signing THREADS URI…: signs with each key in THREADS threads until it gets SIGTERM, and checks each signature. Prints
 * "SIGNATURES FAILURES" of all so far every second, and the errors of failures on stderr. A wrong signature ends it at once. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { MAX_KEYS = 8, MAX_THREADS = 32 };

struct keys {
    EVP_PKEY *key, *public_key;
};

static atomic_long signatures, failures;
static atomic_int stop;

static void *sign(void *argument)
{
    const struct keys *keys = argument;
    const unsigned char *data = (const unsigned char *)"signed for a long time";

    while (!atomic_load(&stop)) {
        unsigned char signature[512];
        size_t length = sizeof(signature);
        EVP_MD_CTX *context = EVP_MD_CTX_new();

        if (EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, keys->key, NULL) == 1
            && EVP_DigestSign(context, signature, &length, data, 22) == 1) {
            EVP_MD_CTX_free(context);
            context = EVP_MD_CTX_new();
            CHECK(EVP_DigestVerifyInit_ex(context, NULL, "SHA256", NULL, NULL, keys->public_key, NULL) == 1);
            CHECK(EVP_DigestVerify(context, signature, length, data, 22) == 1);
            atomic_fetch_add(&signatures, 1);
        } else {
            atomic_fetch_add(&failures, 1);
            ERR_print_errors_fp(stderr);
        }
        EVP_MD_CTX_free(context);
        usleep(20000);
    }
    return NULL;
}

static void *report(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        printf("%ld %ld\n", atomic_load(&signatures), atomic_load(&failures));
        fflush(stdout);
        sleep(1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct keys keys[MAX_KEYS];
    pthread_t threads[MAX_KEYS][MAX_THREADS], reporter;
    int count, number;
    sigset_t end;

    CHECK(argc >= 3 && argc - 2 <= MAX_KEYS);
    count = atoi(argv[1]);
    CHECK(count >= 1 && count <= MAX_THREADS);
    /* Threads inherit it, so that sigwait below is who gets the signal. */
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    CHECK(pthread_sigmask(SIG_BLOCK, &end, NULL) == 0);
    load_providers("default,akv_provider");
    for (int i = 0; i < argc - 2; i++) {
        keys[i].key = load_key(NULL, argv[i + 2], OSSL_STORE_INFO_PKEY);
        keys[i].public_key = public_copy(NULL, keys[i].key);
    }
    for (int i = 0; i < argc - 2; i++)
        for (int k = 0; k < count; k++)
            CHECK(pthread_create(&threads[i][k], NULL, sign, &keys[i]) == 0);
    CHECK(pthread_create(&reporter, NULL, report, NULL) == 0);
    CHECK(sigwait(&end, &number) == 0);
    atomic_store(&stop, 1);
    for (int i = 0; i < argc - 2; i++)
        for (int k = 0; k < count; k++)
            CHECK(pthread_join(threads[i][k], NULL) == 0);
    CHECK(pthread_join(reporter, NULL) == 0);
    printf("%ld %ld\n", atomic_load(&signatures), atomic_load(&failures));
    for (int i = 0; i < argc - 2; i++) {
        EVP_PKEY_free(keys[i].public_key);
        EVP_PKEY_free(keys[i].key);
    }
    return atomic_load(&failures) != 0;
}
