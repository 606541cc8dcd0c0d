/* reasons RSA-URI EC-URI AES-URI: refusals that only the C interface meets. Prints a line for each: what was tried, and the reasons on
 * OpenSSL's queue. */
#include "check.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

/* Everything on the queue, which is empty then. */
static void told(const char *what)
{
    unsigned long code;

    printf("%s:", what);
    while ((code = ERR_get_error()) != 0) {
        const char *reason = ERR_reason_error_string(code);

        printf(" [%s]", reason == NULL ? "none" : reason);
    }
    printf("\n");
}

static void with_rsa(const char *uri)
{
    EVP_PKEY *key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    unsigned char digest[32] = {7}, signature[8];
    size_t length = sizeof(signature);

    CHECK(EVP_PKEY_decrypt_init(context) == 1);
    /* RSA_PKCS1_WITH_TLS_PADDING, which older headers name, too. */
    CHECK(EVP_PKEY_CTX_set_rsa_padding(context, 7) != 1);
    told("padding of TLS");
    CHECK(EVP_PKEY_sign_init(context) == 1);
    CHECK(EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1);
    CHECK(EVP_PKEY_sign(context, signature, &length, digest, sizeof(digest)) != 1);
    told("small buffer");
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
}

/* A random one is what the HSM takes. */
static void nonces(EVP_PKEY *key)
{
    unsigned int kind;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_uint("nonce-type", &kind), OSSL_PARAM_construct_end() };

    for (kind = 0; kind < 2; kind++) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        EVP_MD_CTX *operation = EVP_MD_CTX_new();

        CHECK(EVP_PKEY_sign_init(context) == 1);
        CHECK((EVP_PKEY_CTX_set_params(context, params) == 1) == (kind == 0));
        CHECK((EVP_DigestSignInit_ex(operation, NULL, "SHA256", NULL, NULL, key, params) == 1) == (kind == 0));
        EVP_MD_CTX_free(operation);
        EVP_PKEY_CTX_free(context);
    }
    told("nonce that is no random one");
}

static void with_ec(const char *uri)
{
    EVP_PKEY *key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY), *public = load_key(NULL, uri, OSSL_STORE_INFO_PUBKEY);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, public, NULL);
    unsigned char digest[32] = {7}, signature[80];
    size_t length = sizeof(signature);

    CHECK(EVP_PKEY_sign_init(context) != 1 || EVP_PKEY_sign(context, signature, &length, digest, sizeof(digest)) != 1);
    told("public part");
    CHECK(EVP_PKEY_set_octet_string_param(key, "encoded-pub-key", digest, sizeof(digest)) != 1);
    told("another public part");
    EVP_PKEY_CTX_free(context);
    nonces(key);
    EVP_PKEY_free(public);
    EVP_PKEY_free(key);
}

/* By all that OSSL_STORE_find takes. */
static void search(const char *uri)
{
    static const unsigned char fingerprint[32] = {1};
    X509_NAME *name = X509_NAME_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    OSSL_STORE_SEARCH *searches[] = {
        OSSL_STORE_SEARCH_by_name(name),
        OSSL_STORE_SEARCH_by_issuer_serial(name, serial),
        OSSL_STORE_SEARCH_by_key_fingerprint(EVP_sha256(), fingerprint, sizeof(fingerprint)),
        OSSL_STORE_SEARCH_by_alias("alias"),
    };

    for (size_t i = 0; i < sizeof(searches) / sizeof(*searches); i++) {
        OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);

        CHECK(store != NULL && searches[i] != NULL);
        CHECK(OSSL_STORE_supports_search(store, OSSL_STORE_SEARCH_get_type(searches[i])) == 0);
        ERR_clear_error();
        CHECK(OSSL_STORE_find(store, searches[i]) == 0);
        CHECK(ERR_peek_error() != 0);
        told("search");
        OSSL_STORE_SEARCH_free(searches[i]);
        OSSL_STORE_close(store);
    }
    X509_NAME_free(name);
    ASN1_INTEGER_free(serial);
}

/* Where no other provider is, which would make software keys. */
static void alone(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, "akv_provider");
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(libctx, "EC", NULL);
    EVP_PKEY *key = NULL;

    CHECK(provider != NULL && context != NULL);
    CHECK(EVP_PKEY_keygen_init(context) != 1 || EVP_PKEY_CTX_set_group_name(context, "P-256") != 1 ||
          EVP_PKEY_generate(context, &key) != 1);
    told("no other provider");
    EVP_PKEY_CTX_free(context);
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(libctx);
}

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
static EVP_CIPHER_CTX *context_of(EVP_SKEY *key, const char *name, const unsigned char *iv, size_t iv_len, int encrypts)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, "provider=akv_provider");
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    CHECK(cipher != NULL);
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_SKEY(context, cipher, key, iv, iv_len, encrypts, NULL) != 1) {
        EVP_CIPHER_CTX_free(context);
        context = NULL;
    }
    EVP_CIPHER_free(cipher);
    return context;
}

static void with_aes(const char *uri)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("uri", (char *)uri, 0), OSSL_PARAM_construct_end()};
    EVP_SKEY *key = EVP_SKEY_import(NULL, "AES", "provider=akv_provider", OSSL_SKEYMGMT_SELECT_ALL, params);
    unsigned char iv[16] = {7}, text[32] = {9}, output[64];
    EVP_CIPHER_CTX *context;
    int length;

    CHECK(key != NULL);
    CHECK(context_of(key, "AES-256-GCM", iv, 12, 1) == NULL);
    told("own initialisation vector");
    CHECK(context_of(key, "AES-256-WRAP", iv, 8, 1) == NULL);
    told("own initial value");
    context = context_of(key, "AES-256-GCM", NULL, 0, 1);
    CHECK(EVP_CipherUpdate(context, output, &length, text, 16) == 1);
    CHECK(EVP_CipherUpdate(context, output, &length, text, 16) != 1);
    told("pieces");
    EVP_CIPHER_CTX_free(context);
    context = context_of(key, "AES-256-GCM", iv, 12, 0);
    CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, 16, NULL) != 1);
    told("length of the initialisation vector");
    CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 12, text) != 1);
    told("length of the tag");
    EVP_CIPHER_CTX_free(context);
    context = context_of(key, "AES-256-GCM", iv, 12, 0);
    CHECK(EVP_CipherUpdate(context, output, &length, text, 16) != 1);
    told("no tag");
    EVP_CIPHER_CTX_free(context);
    context = context_of(key, "AES-256-CBC", iv, 16, 1);
    CHECK(EVP_CipherUpdate(context, NULL, &length, text, 16) != 1);
    told("additional data");
    EVP_CIPHER_CTX_free(context);
    EVP_SKEY_free(key);
}
#else
static void with_aes(const char *uri)
{
    (void)uri;
}
#endif

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    load_providers("akv_provider,default");
    with_rsa(argv[1]);
    with_ec(argv[2]);
    search(argv[2]);
    alone();
    with_aes(argv[3]);
    return 0;
}
