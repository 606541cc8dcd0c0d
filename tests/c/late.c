/* late FILE WHERE: reads the key in FILE and signs with it, and does so again where the variables of the thread have gone that the
 * provider's language keeps: in a function of atexit(), or in a destructor of pthread_key_create() in another thread. */
#include <openssl/pem.h>
#include <pthread.h>
#include <unistd.h>
#include "check.h"

static const char *file;

static void work(void)
{
    BIO *input = BIO_new_file(file, "r");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char signature[1024];
    size_t length = sizeof(signature);
    EVP_PKEY *key;

    CHECK(input != NULL && (key = PEM_read_bio_PrivateKey(input, NULL, NULL, NULL)) != NULL);
    CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1);
    CHECK(EVP_DigestSign(context, signature, &length, (const unsigned char *)"x", 1) == 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(input);
}

static void destroy(void *unused)
{
    (void)unused;
    work();
}

static void *run(void *destroyed)
{
    CHECK(pthread_setspecific(*(pthread_key_t *)destroyed, file) == 0);
    work();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_key_t destroyed;
    pthread_t thread;

    CHECK(argc == 3);
    file = argv[1];
    load_providers("akv_provider,default");
    if (strcmp(argv[2], "atexit") == 0) {
        work();
        CHECK(atexit(work) == 0);
        return 0;
    }
    CHECK(pthread_key_create(&destroyed, destroy) == 0);
    CHECK(pthread_create(&thread, NULL, run, &destroyed) == 0 && pthread_join(thread, NULL) == 0);
    return 0;
}
