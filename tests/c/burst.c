/* burst URI SECONDS THREADS: a signature fails; after so many seconds without another one, several threads sign at once. */
#include <pthread.h>
#include "check.h"

static EVP_PKEY *key;
static pthread_barrier_t start;

static int sign(void)
{
    unsigned char signature[1024];
    size_t length = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int is_made = EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
        EVP_DigestSign(context, signature, &length, (const unsigned char *)"message", 7) == 1;

    EVP_MD_CTX_free(context);
    return is_made;
}

static void *run(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&start);
    CHECK(sign());
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    int count;

    CHECK(argc == 4);
    count = atoi(argv[3]);
    CHECK(count >= 1 && count <= 64);
    load_providers("akv_provider,default");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    CHECK(!sign());
    ERR_clear_error();
    sleep((unsigned int)atoi(argv[2]));
    CHECK(pthread_barrier_init(&start, NULL, (unsigned int)count) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, run, NULL) == 0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    EVP_PKEY_free(key);
    return 0;
}
