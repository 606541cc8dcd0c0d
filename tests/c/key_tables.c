/* key_tables ORDER: prints which parameters the first provider's software keys of each type say they have: a line for each table
 * and name. ORDER: the providers, separated by commas. */
#include "check.h"
#include <openssl/core_dispatch.h>

static void show(const char *type, const char *table, const OSSL_PARAM *entry)
{
    printf("%s %s: %s\n", type, table, entry != NULL ? "a table" : "none");
    for (; entry != NULL && entry->key != NULL; entry++)
        printf("%s %s: %s of type %u\n", type, table, entry->key, entry->data_type);
}

/* The tables of an operation on a key, if there is such an operation. */
static void operation(const char *type, const char *name, EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *context))
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    char table[100];

    CHECK(context != NULL);
    if (init(context) == 1) {
        snprintf(table, sizeof(table), "settable for %s", name);
        show(type, table, EVP_PKEY_CTX_settable_params(context));
        snprintf(table, sizeof(table), "gettable for %s", name);
        show(type, table, EVP_PKEY_CTX_gettable_params(context));
    }
    ERR_clear_error();
    EVP_PKEY_CTX_free(context);
}

static void tables(const char *type, EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    CHECK(context != NULL);
    for (int bits = 0; bits < 16; bits++) {
        int selection = (bits & 7) | (bits & 8 ? OSSL_KEYMGMT_SELECT_OTHER_PARAMETERS : 0);
        char table[100];

        snprintf(table, sizeof(table), "importable by %#x", (unsigned)selection);
        show(type, table, EVP_PKEY_fromdata_settable(context, selection));
    }
    CHECK(EVP_PKEY_keygen_init(context) == 1);
    show(type, "settable for generation", EVP_PKEY_CTX_settable_params(context));
    EVP_PKEY_CTX_free(context);

    show(type, "gettable", EVP_PKEY_gettable_params(key));
    show(type, "settable", EVP_PKEY_settable_params(key));
    operation(type, "signing", key, EVP_PKEY_sign_init);
    operation(type, "verifying", key, EVP_PKEY_verify_init);
    operation(type, "recovering", key, EVP_PKEY_verify_recover_init);
    operation(type, "encryption", key, EVP_PKEY_encrypt_init);
    operation(type, "decryption", key, EVP_PKEY_decrypt_init);
    operation(type, "derivation", key, EVP_PKEY_derive_init);
}

/* Whether a setting that keys of the type don't have is passed over. */
static void set(const char *type, EVP_PKEY *key)
{
    EVP_PKEY *copy = EVP_PKEY_new();
    const unsigned char point[] = {4, 1, 2, 3};

    CHECK(copy != NULL);
    printf("%s a new public part: %d\n", type, EVP_PKEY_set1_encoded_public_key(key, point, sizeof(point)));
    printf("%s parameters copied: %d\n", type, EVP_PKEY_copy_parameters(copy, key));
    printf("%s a public part with them: %d\n", type, EVP_PKEY_set1_encoded_public_key(copy, point, sizeof(point)));
    ERR_clear_error();
    EVP_PKEY_free(copy);
}

int main(int argc, char **argv)
{
    static const char *types[] = {"RSA", "EC", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"};

    CHECK(argc == 2);
    load_providers(argv[1]);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        EVP_PKEY *key = i == 0   ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                        : i == 1 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
                                 : EVP_PKEY_Q_keygen(NULL, NULL, types[i]);

        /* There is no ML-DSA before OpenSSL 3.5. */
        if (key == NULL && i > 1) {
            ERR_clear_error();
            continue;
        }
        CHECK(key != NULL);
        tables(types[i], key);
        set(types[i], key);
        EVP_PKEY_free(key);
    }
    return 0;
}
