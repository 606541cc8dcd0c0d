/* last_thread URI [OWN]: the first thread ends by pthread_exit while another one signs, on a stack so small that the provider starts a
 * thread of its own, or OWN of them. The process ends with the last thread of the application's. */
#include <pthread.h>
#include "check.h"

static int own = 1;

static void *sign(void *uri)
{
    EVP_PKEY *key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char signature[1024];
    size_t length = sizeof(signature);

    CHECK(key != NULL && EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) == 1);
    CHECK(EVP_DigestSign(context, signature, &length, (const unsigned char *)"x", 1) == 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    CHECK(entries("/proc/self/task") == 2 + own);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    pthread_t thread;

    CHECK(argc == 2 || argc == 3);
    if (argc == 3)
        own = atoi(argv[2]);
    load_providers("akv_provider,default");
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 65536) == 0);
    CHECK(pthread_create(&thread, &attributes, sign, argv[1]) == 0);
    pthread_exit(NULL);
}
