/*
 * Reads one key file by two library contexts in turn: two_contexts CONFIG CONFIG FILE URI
 *
 * Each context has an HSM of its own, with another key of the name that is in the file. The first asks for a key of another type, and
 * gets none; the second must get its own HSM's key, and that signs.
 */
#include "check.h"

#include <openssl/x509.h>

static OSSL_LIB_CTX *configured(const char *file)
{
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();

    CHECK(context != NULL && OSSL_LIB_CTX_load_config(context, file) == 1);
    return context;
}

static EVP_PKEY *read_as(int type, OSSL_LIB_CTX *context, const unsigned char *content, long len)
{
    EVP_PKEY *key = d2i_PrivateKey_ex(type, NULL, &content, len, context, NULL);

    ERR_clear_error();
    return key;
}

int main(int argc, char *argv[])
{
    unsigned char content[16384], signature[512];
    size_t len, signature_len = sizeof(signature);
    OSSL_LIB_CTX *first, *second;
    EVP_PKEY *key, *own;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    FILE *file;

    CHECK(argc == 5);
    first = configured(argv[1]);
    second = configured(argv[2]);
    file = fopen(argv[3], "rb");
    CHECK(file != NULL && (len = fread(content, 1, sizeof(content), file)) > 0);
    fclose(file);
    own = try_key(second, argv[4], 0);
    CHECK(own != NULL);

    CHECK(read_as(EVP_PKEY_RSA, first, content, (long)len) == NULL);
    key = read_as(EVP_PKEY_EC, second, content, (long)len);
    CHECK(key != NULL && EVP_PKEY_eq(key, own) == 1);
    CHECK(EVP_DigestSignInit_ex(digest, NULL, "SHA256", second, NULL, key, NULL) == 1
          && EVP_DigestSign(digest, signature, &signature_len, (const unsigned char *)"hello", 5) == 1);
    EVP_MD_CTX_free(digest);
    EVP_PKEY_free(key);

    /* What follows the key is the caller's, as with keys of software. */
    content[len] = 0x30;
    key = read_as(EVP_PKEY_EC, second, content, (long)len + 1);
    CHECK(key != NULL && EVP_PKEY_eq(key, own) == 1);
    EVP_PKEY_free(key);
    EVP_PKEY_free(own);
    OSSL_LIB_CTX_free(first);
    OSSL_LIB_CTX_free(second);
    return 0;
}
