/* Signs as a program with raised rights: raised MODULE_FOLDER CONFIG URI. CONFIG is the program's own configuration file, or -
 * for none. Prints whether the rights are raised, and how it went. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

static EVP_PKEY *load(OSSL_LIB_CTX *context, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, context, NULL, NULL, NULL, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;
    if (store == NULL)
        return NULL;
    OSSL_STORE_INFO *info = OSSL_STORE_load(store);
    if (info != NULL)
        key = OSSL_STORE_INFO_get1_PKEY(info);
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    return key;
}

static int sign(OSSL_LIB_CTX *context, EVP_PKEY *key)
{
    unsigned char signature[1024];
    size_t len = sizeof signature;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    int ok = EVP_DigestSignInit_ex(digest, NULL, "SHA256", context, NULL, key, NULL) > 0
             && EVP_DigestSign(digest, signature, &len, (const unsigned char *)"hello", 5) > 0;
    EVP_MD_CTX_free(digest);
    return ok;
}

int main(int count, char **arguments)
{
    if (count != 4)
        return 2;
    printf("secure=%lu\n", getauxval(AT_SECURE));
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    OSSL_PROVIDER_set_default_search_path(context, arguments[1]);
    if (strcmp(arguments[2], "-") != 0 && OSSL_LIB_CTX_load_config(context, arguments[2]) <= 0) {
        ERR_print_errors_fp(stdout);
        return 2;
    }
    if (OSSL_PROVIDER_load(context, "default") == NULL
        || OSSL_PROVIDER_load(context, "akv_provider") == NULL) {
        ERR_print_errors_fp(stdout);
        return 2;
    }
    EVP_PKEY *key = load(context, arguments[3]);
    if (key != NULL && sign(context, key))
        printf("signed\n");
    ERR_print_errors_fp(stdout);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(context);
    return 0;
}
