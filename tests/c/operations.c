/* operations RSA-URI EC-URI UNKNOWN-URI AES-URI TIMES: what a long-lived process does besides signing with one key: loading,
 * copying, refused requests, software keys. Run under valgrind with two numbers of TIMES to find what leaks. */
#include "check.h"

#include <openssl/pem.h>

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

static void encrypt_and_decrypt(EVP_PKEY *key)
{
    unsigned char plain[32] = {7}, sealed[512], opened[512];
    size_t sealed_length = sizeof(sealed), opened_length = sizeof(opened);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    CHECK(EVP_PKEY_encrypt_init(context) == 1);
    CHECK(EVP_PKEY_encrypt(context, sealed, &sealed_length, plain, sizeof(plain)) == 1);
    CHECK(EVP_PKEY_decrypt_init(context) == 1);
    CHECK(EVP_PKEY_decrypt(context, opened, &opened_length, sealed, sealed_length) == 1);
    CHECK(opened_length == sizeof(plain) && memcmp(opened, plain, sizeof(plain)) == 0);
    sealed[3] ^= 1;
    CHECK(EVP_PKEY_decrypt(context, opened, &opened_length, sealed, sealed_length) != 1);
    ERR_clear_error();
    EVP_PKEY_CTX_free(context);
}

static void write_and_read(EVP_PKEY *key)
{
    BIO *file = BIO_new(BIO_s_mem());
    EVP_PKEY *again;

    CHECK(EVP_PKEY_print_public(file, key, 0, NULL) == 1);
    CHECK(EVP_PKEY_print_private(file, key, 0, NULL) == 1);
    /* RSA keys have none, which is no reason to crash. */
    (void)EVP_PKEY_print_params(file, key, 0, NULL);
    ERR_clear_error();
    CHECK(PEM_write_bio_PUBKEY(file, key) == 1);
    CHECK(PEM_write_bio_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    again = PEM_read_bio_PrivateKey(file, NULL, NULL, NULL);
    CHECK(again != NULL && EVP_PKEY_eq(key, again) == 1);
    EVP_PKEY_free(again);
    BIO_free(file);
}

static void list_keys(void)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open("managedhsm:MyHSM", NULL, NULL, NULL, NULL);
    int found = 0;

    CHECK(store != NULL);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        found += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    CHECK(found >= 3);
    OSSL_STORE_close(store);
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
    EVP_PKEY *rsa, *aes;

    CHECK(argc == 6);
    CHECK((akv = OSSL_PROVIDER_load(NULL, "akv_provider")) != NULL);
    CHECK((standard = OSSL_PROVIDER_load(NULL, "default")) != NULL);
    rsa = load_key(NULL, argv[1], 0);
    aes = load_key(NULL, argv[4], 0);
    for (int i = 0; i < atoi(argv[5]); i++) {
        fail_to_load(argv[3]);
        refuse_to_sign(rsa);
        use_software_key();
        load_and_copy(argv[1]);
        load_and_copy(argv[2]);
        encrypt_and_decrypt(rsa);
        encrypt_and_decrypt(aes);
        write_and_read(rsa);
        list_keys();
    }
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(aes);
    CHECK(OSSL_PROVIDER_unload(akv) == 1);
    CHECK(OSSL_PROVIDER_unload(standard) == 1);
    return 0;
}
