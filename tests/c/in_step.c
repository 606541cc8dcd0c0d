/* in_step URI: decrypts and signs with an RSA key, with pauses, and checks that each answer is that to its own request. */
#include <openssl/rsa.h>
#include "check.h"

enum { COUNT = 5, PAUSE = 60000 };

static size_t transform(EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *),
                    int (*run)(EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *, size_t),
                    const unsigned char *in, size_t size, unsigned char out[512])
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    size_t length = 512;

    CHECK(context != NULL && init(context) > 0);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0);
    CHECK(run(context, out, &length, in, size) > 0);
    EVP_PKEY_CTX_free(context);
    return length;
}

static int init_encryption(EVP_PKEY_CTX *context) { return EVP_PKEY_encrypt_init(context); }
static int init_decryption(EVP_PKEY_CTX *context) { return EVP_PKEY_decrypt_init(context); }

int main(int argc, char **argv)
{
    EVP_PKEY *key, *public_key;
    unsigned char encrypted[512], decrypted[512];
    char plaintext[32];

    CHECK(argc == 2);
    load_providers("akv_provider,default");
    key = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, key);
    for (int i = 0; i < COUNT; i++) {
        size_t size = (size_t)sprintf(plaintext, "plaintext number %d", i);
        size_t length = transform(public_key, init_encryption, EVP_PKEY_encrypt,
                              (unsigned char *)plaintext, size, encrypted);

        length = transform(key, init_decryption, EVP_PKEY_decrypt, encrypted, length, decrypted);
        CHECK(length == size && memcmp(decrypted, plaintext, size) == 0);
        usleep(PAUSE);
        sign_and_verify(NULL, key, public_key, plaintext);
        usleep(PAUSE);
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
