/* sign_loop URI THREADS SIGNATURES [STACK]: loads a key once and signs with it in several threads, SIGNATURES each, which have
 * stacks of STACK bytes.
 * Each signature is checked with the public key in the default provider. */
#include <pthread.h>
#include "check.h"

static EVP_PKEY *key, *public_key;
static int signatures;

static void *sign(void *name)
{
    char message[64];

    for (int i = 0; i < signatures; i++) {
        snprintf(message, sizeof(message), "thread %ld, message %d", (long)name, i);
        sign_and_verify(NULL, key, public_key, message);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *akv, *standard;
    pthread_t threads[64];
    pthread_attr_t attributes;
    int count;

    CHECK(argc == 4 || argc == 5);
    CHECK(pthread_attr_init(&attributes) == 0);
    if (argc == 5)
        CHECK(pthread_attr_setstacksize(&attributes, (size_t)atol(argv[4])) == 0);
    count = atoi(argv[2]);
    signatures = atoi(argv[3]);
    CHECK(count >= 1 && count <= 64);
    CHECK((standard = OSSL_PROVIDER_load(NULL, "default")) != NULL);
    CHECK((akv = OSSL_PROVIDER_load(NULL, "akv_provider")) != NULL);
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    if (count == 1) {
        sign((void *)0);
    } else {
        for (long i = 0; i < count; i++)
            CHECK(pthread_create(&threads[i], &attributes, sign, (void *)i) == 0);
        for (int i = 0; i < count; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    CHECK(OSSL_PROVIDER_unload(akv) == 1);
    CHECK(OSSL_PROVIDER_unload(standard) == 1);
    return 0;
}
