/* operations RSA-URI EC-URI UNKNOWN-URI TIMES: what a long-lived process does besides signing with one key: loading,
 * copying, refused requests, software keys. Run under valgrind with two numbers of TIMES to find what leaks. */
#include "check.h"

static void fail_to_load(const char *unknown)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open("managedhsm:not a URI", NULL, NULL, NULL, NULL);

    CHECK(store == NULL);
    store = OSSL_STORE_open(unknown, NULL, NULL, NULL, NULL);
    CHECK(store != NULL);
    CHECK(OSSL_STORE_load(store) == NULL);
    CHECK(ERR_peek_error() != 0);
    OSSL_STORE_close(store);
    ERR_clear_error();
}

static void refuse_to_sign(EVP_PKEY *rsa)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA1", NULL, NULL, rsa, NULL) != 1);
    EVP_MD_CTX_free(context);
    ERR_clear_error();
}

static void use_software_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    CHECK(key != NULL);
    sign_and_verify(NULL, key, key, "signed by a software key");
    EVP_PKEY_free(key);
}

static void load_and_copy(const char *uri)
{
    EVP_PKEY *key = load_key(NULL, uri, 0);
    EVP_PKEY *duplicate = EVP_PKEY_dup(key), *public_key = public_copy(NULL, key);

    CHECK(duplicate != NULL);
    CHECK(EVP_PKEY_eq(duplicate, public_key) == 1);
    sign_and_verify(NULL, duplicate, key, "signed by a duplicate");
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(duplicate);
    EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *akv, *standard;
    EVP_PKEY *rsa;

    CHECK(argc == 5);
    CHECK((akv = OSSL_PROVIDER_load(NULL, "akv_provider")) != NULL);
    CHECK((standard = OSSL_PROVIDER_load(NULL, "default")) != NULL);
    rsa = load_key(NULL, argv[1], 0);
    for (int i = 0; i < atoi(argv[4]); i++) {
        fail_to_load(argv[3]);
        refuse_to_sign(rsa);
        use_software_key();
        load_and_copy(argv[1]);
        load_and_copy(argv[2]);
    }
    EVP_PKEY_free(rsa);
    CHECK(OSSL_PROVIDER_unload(akv) == 1);
    CHECK(OSSL_PROVIDER_unload(standard) == 1);
    return 0;
}
