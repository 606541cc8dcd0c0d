/* What the programs of this folder share: a check that ends the program, and loading a key by its URI. */
#ifndef AKV_TEST_CHECK_H
#define AKV_TEST_CHECK_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/store.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            ERR_print_errors_fp(stderr);                                        \
            _exit(1);                                                           \
        }                                                                       \
    } while (0)

#include <unistd.h>

/* Loads providers whose names are separated by commas. */
static inline void load_providers(const char *names)
{
    char *copy = strdup(names);

    for (char *name = strtok(copy, ","); name != NULL; name = strtok(NULL, ","))
        CHECK(OSSL_PROVIDER_load(NULL, name) != NULL);
    free(copy);
}

/* How many entries a folder has, without the two that every folder has. */
static inline int entries(const char *path)
{
    DIR *folder = opendir(path);
    int count = 0;

    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count - 2;
}

/* The key of a URI; NULL with errors if it can't be had. `expect`: an OSSL_STORE_INFO type, or 0. */
static inline EVP_PKEY *try_key(OSSL_LIB_CTX *libctx, const char *uri, int expect)
{
    EVP_PKEY *key = NULL;
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);

    if (store == NULL)
        return NULL;
    if (expect != 0)
        CHECK(OSSL_STORE_expect(store, expect) == 1);
    while (key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL)
            break;
        if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        else if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PUBKEY)
            key = OSSL_STORE_INFO_get1_PUBKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return key;
}

/* The key of a URI, or the end of the program. */
static inline EVP_PKEY *load_key(OSSL_LIB_CTX *libctx, const char *uri, int expect)
{
    EVP_PKEY *key = try_key(libctx, uri, expect);

    CHECK(key != NULL);
    return key;
}

/* A copy of the public key that belongs to the default provider: encoded and decoded again. */
static inline EVP_PKEY *public_copy(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    unsigned char *der = NULL;
    const unsigned char *next;
    int length = i2d_PUBKEY(key, &der);
    EVP_PKEY *copy;

    CHECK(length > 0);
    next = der;
    copy = d2i_PUBKEY_ex(NULL, &next, length, libctx, "provider=default");
    CHECK(copy != NULL);
    OPENSSL_free(der);
    return copy;
}

/* Signs a message with SHA-256 and checks the signature with a public key. */
static inline void sign_and_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *public_key,
                                   const char *message)
{
    const unsigned char *data = (const unsigned char *)message;
    size_t length = 0, size = strlen(message);
    unsigned char *signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    CHECK(context != NULL);
    CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA256", libctx, NULL, key, NULL) == 1);
    CHECK(EVP_DigestSign(context, NULL, &length, data, size) == 1);
    CHECK(length > 0 && length <= (size_t)EVP_PKEY_get_size(key));
    signature = OPENSSL_malloc(length);
    CHECK(EVP_DigestSign(context, signature, &length, data, size) == 1);
    EVP_MD_CTX_free(context);

    context = EVP_MD_CTX_new();
    CHECK(EVP_DigestVerifyInit_ex(context, NULL, "SHA256", libctx, NULL, public_key, NULL) == 1);
    CHECK(EVP_DigestVerify(context, signature, length, data, size) == 1);
    EVP_MD_CTX_free(context);
    OPENSSL_free(signature);
}

#endif
