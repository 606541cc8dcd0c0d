/* cancel URI: threads that sign all the time are cancelled, each way there is. They end where they can, and the process goes on. */
#include <pthread.h>
#include <stdatomic.h>
#include "check.h"

static EVP_PKEY *key, *public_key;
static atomic_int signatures;

static void *keep_signing(void *type)
{
    CHECK(pthread_setcanceltype(*(int *)type, NULL) == 0);
    for (;;) {
        /* OpenSSL's own code is not made to be cancelled anywhere. */
        CHECK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL) == 0);
        sign_and_verify(NULL, key, public_key, "message");
        signatures++;
        CHECK(pthread_setcanceltype(*(int *)type, NULL) == 0);
        pthread_testcancel();
    }
}

/* The call to the HSM is the only cancellation point. */
static void *do_nothing_but_sign(void *unused)
{
    unsigned char signature[1024];

    (void)unused;
    for (;;) {
        size_t len = sizeof(signature);
        EVP_MD_CTX *context = EVP_MD_CTX_new();

        CHECK(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1);
        CHECK(EVP_DigestSign(context, signature, &len, (unsigned char *)"message", 7) == 1);
        EVP_MD_CTX_free(context);
        signatures++;
    }
}

static void *sign_where_it_is_off(void *unused)
{
    int state;

    (void)unused;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
    CHECK(pthread_cancel(pthread_self()) == 0);
    sign_and_verify(NULL, key, public_key, "message");
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
    CHECK(state == PTHREAD_CANCEL_DISABLE);
    return NULL;
}

int main(int argc, char **argv)
{
    int types[] = { PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS };
    pthread_t thread;
    void *result;

    CHECK(argc == 2);
    load_providers("akv_provider,default");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    for (int i = 0; i < 30; i++) {
        int before = signatures;

        if (i % 3 == 2)
            CHECK(pthread_create(&thread, NULL, do_nothing_but_sign, NULL) == 0);
        else
            CHECK(pthread_create(&thread, NULL, keep_signing, &types[i % 3]) == 0);
        while (signatures == before)
            usleep(100);
        usleep(137 * i);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    CHECK(pthread_create(&thread, NULL, sign_where_it_is_off, NULL) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == NULL);
    sign_and_verify(NULL, key, public_key, "message");
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
