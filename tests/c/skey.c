/* EVP_SKEY with AES keys in the HSM (OpenSSL 3.5 and newer).
 * skey URI PROVIDERS: the key is AES-256; PROVIDERS are loaded in this order, separated by commas. */
#include "check.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/tls1.h>

#if OPENSSL_VERSION_NUMBER < 0x30500000L
int main(void) {
    puts("SKIPPED: EVP_SKEY came with OpenSSL 3.5");
    return 77;
}
#else

static EVP_SKEY *import_uri(const char *uri) {
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("uri", (char *)uri, 0), OSSL_PARAM_construct_end()};
    return EVP_SKEY_import(NULL, "AES", "provider=akv_provider", OSSL_SKEYMGMT_SELECT_ALL, params);
}

static EVP_CIPHER *fetch(const char *name) {
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, "provider=akv_provider");
    CHECK(cipher != NULL);
    return cipher;
}

static void wrap(EVP_SKEY *key, const char *name, const unsigned char *plain, int plain_len) {
    EVP_CIPHER *cipher = fetch(name);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char wrapped[64], unwrapped[64];
    int len = 0, last = 0;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, wrapped, &len, plain, plain_len) == 1);
    CHECK(EVP_CipherFinal_ex(ctx, wrapped + len, &last) == 1 && last == 0);
    CHECK(len == (plain_len + 7) / 8 * 8 + 8);
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 0, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, unwrapped, &last, wrapped, len) == 1);
    CHECK(last == plain_len && memcmp(unwrapped, plain, plain_len) == 0);
    wrapped[3] ^= 1;
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 0, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, unwrapped, &last, wrapped, len) != 1);
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

static void gcm(EVP_SKEY *key) {
    EVP_CIPHER *cipher = fetch("AES-256-GCM");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char iv[12] = {0}, tag[16], cipher_text[8], plain[8];
    int len, last;
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, iv, sizeof iv, 1, NULL) != 1); /* the HSM makes it */
    ERR_clear_error();
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)"aad", 3) == 1);
    CHECK(EVP_CipherUpdate(ctx, cipher_text, &len, (const unsigned char *)"message", 7) == 1 && len == 7);
    CHECK(EVP_CipherFinal_ex(ctx, cipher_text + len, &last) == 1 && last == 0);
    CHECK(EVP_CIPHER_CTX_get_updated_iv(ctx, iv, sizeof iv) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) == 1);

    /* Additional data that comes too late is refused, and the message has no end without it. */
    unsigned char late[8];
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, late, &len, (const unsigned char *)"message", 7) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)"aad", 3) != 1);
    CHECK(EVP_CipherFinal_ex(ctx, late, &last) != 1);
    ERR_clear_error();

    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, iv, sizeof iv, 0, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)"aad", 3) == 1);
    CHECK(EVP_CipherUpdate(ctx, plain, &len, cipher_text, 7) == 1 && len == 7);
    CHECK(EVP_CipherFinal_ex(ctx, plain + len, &last) == 1 && memcmp(plain, "message", 7) == 0);

    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, iv, sizeof iv, 0, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1);
    CHECK(EVP_CipherUpdate(ctx, plain, &len, cipher_text, 7) != 1); /* the additional data is missing */
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

static void cbc(EVP_SKEY *key, int padding, int plain_len) {
    EVP_CIPHER *cipher = fetch("AES-256-CBC");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char iv[16] = {7}, plain[64] = "The quick brown fox jumps over the lazy dog", sealed[96], opened[96];
    int len, last, total;
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, iv, sizeof iv, 1, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_set_padding(ctx, padding) == 1);
    CHECK(EVP_CipherUpdate(ctx, sealed, &len, plain, plain_len) == 1 && len <= plain_len);
    CHECK(EVP_CipherFinal_ex(ctx, sealed + len, &last) == 1);
    total = len + last;
    CHECK(total == (padding ? plain_len / 16 * 16 + 16 : plain_len));
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, iv, sizeof iv, 0, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_set_padding(ctx, padding) == 1);
    CHECK(EVP_CipherUpdate(ctx, opened, &len, sealed, total) == 1);
    CHECK(EVP_CipherFinal_ex(ctx, opened + len, &last) == 1);
    CHECK(len + last == plain_len && memcmp(opened, plain, plain_len) == 0);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* With no room for output: how long it would be. */
static void lengths(EVP_SKEY *key, const char *name, int plain_len, int wrapped_len) {
    EVP_CIPHER *cipher = fetch(name);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char input[64] = {7};
    int len = 0;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, input, plain_len) == 1 && len == wrapped_len);
    CHECK(EVP_CipherUpdate(ctx, input, &len, input, plain_len) == 1 && len == wrapped_len);
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 0, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, input, wrapped_len) == 1 && len >= plain_len && len < wrapped_len);
    CHECK(EVP_CipherUpdate(ctx, NULL, &len, input, 17) != 1);
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* What fills a buffer, or counts for the message, is done or refused. */
static void refused_controls(EVP_SKEY *key) {
    EVP_CIPHER *cipher = fetch("AES-256-GCM"), *blocks = fetch("AES-256-CBC");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char buffer[32] = {7}, sealed[16];
    unsigned int version = TLS1_2_VERSION;
    OSSL_PARAM records[] = {OSSL_PARAM_construct_uint("tls-version", &version), OSSL_PARAM_construct_end()};
    int len;
    const struct {
        int control, size;
    } controls[] = {
        {EVP_CTRL_GCM_SET_IV_FIXED, -1}, {EVP_CTRL_GCM_SET_IV_FIXED, 4},           {EVP_CTRL_GCM_IV_GEN, 12},
        {EVP_CTRL_GCM_SET_IV_INV, 8},    {EVP_CTRL_AEAD_TLS1_AAD, EVP_AEAD_TLS1_AAD_LEN}, {EVP_CTRL_AEAD_GET_TAG, 16},
    };
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) == 1);
        CHECK(EVP_CIPHER_CTX_ctrl(ctx, controls[i].control, controls[i].size, buffer) != 1);
        CHECK(ERR_peek_error() != 0);
        ERR_clear_error();
        /* The same before the key comes: then, or when it comes. */
        CHECK(EVP_CIPHER_CTX_reset(ctx) == 1);
        CHECK(EVP_CipherInit_SKEY(ctx, cipher, NULL, NULL, 0, 1, NULL) == 1);
        CHECK(EVP_CIPHER_CTX_ctrl(ctx, controls[i].control, controls[i].size, buffer) != 1
              || EVP_CipherInit_SKEY(ctx, NULL, key, NULL, 0, 1, NULL) != 1);
        CHECK(EVP_CIPHER_CTX_reset(ctx) == 1);
        ERR_clear_error();
    }
    /* Not the one of the message before either. */
    for (int message = 0; message < 2; message++) {
        CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) == 1);
        CHECK(EVP_CIPHER_CTX_get_updated_iv(ctx, buffer, 12) != 1);
        CHECK(EVP_CIPHER_CTX_get_original_iv(ctx, buffer, 12) != 1);
        CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, buffer) != 1);
        ERR_clear_error();
        CHECK(EVP_CipherUpdate(ctx, sealed, &len, (const unsigned char *)"message", 7) == 1);
        CHECK(EVP_CIPHER_CTX_get_updated_iv(ctx, buffer, 12) == 1);
        CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, buffer) == 1);
    }
    CHECK(EVP_CIPHER_CTX_reset(ctx) == 1);
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, key, buffer, 16, 1, records) != 1);
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, key, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_set_params(ctx, records) != 1);
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(blocks);
    EVP_CIPHER_free(cipher);
}

/* As EVP_Cipher has it: whole blocks of CBC without padding, and GCM with an end. */
static void at_once(EVP_SKEY *key) {
    EVP_CIPHER *blocks = fetch("AES-256-CBC"), *gcm = fetch("AES-256-GCM");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char iv[16] = {7}, tag[16], plain[32], sealed[64], opened[64];
    int len;
    memset(plain, 1, sizeof plain); /* as if it were padding */
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, key, iv, sizeof iv, 1, NULL) == 1);
    CHECK(EVP_Cipher(ctx, sealed, plain, 32) == 32);
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, key, iv, sizeof iv, 0, NULL) == 1);
    CHECK(EVP_Cipher(ctx, opened, sealed, 32) == 32 && memcmp(opened, plain, 32) == 0);
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, key, iv, sizeof iv, 1, NULL) == 1);
    CHECK(EVP_Cipher(ctx, sealed, plain, 31) == -1);
    ERR_clear_error();
    CHECK(EVP_CipherInit_SKEY(ctx, gcm, key, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_Cipher(ctx, NULL, plain, 5) == 5);
    /* No bytes are no piece of the message. */
    CHECK(EVP_CipherUpdate(ctx, sealed, &len, plain, 0) == 1 && len == 0);
    CHECK(EVP_Cipher(ctx, sealed, plain, 31) == 31);
    CHECK(EVP_Cipher(ctx, NULL, NULL, 0) == 0);
    CHECK(EVP_CIPHER_CTX_get_updated_iv(ctx, iv, 12) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) == 1);
    CHECK(EVP_CipherInit_SKEY(ctx, gcm, key, iv, 12, 0, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1);
    CHECK(EVP_Cipher(ctx, NULL, plain, 5) == 5);
    CHECK(EVP_Cipher(ctx, opened, sealed, 31) == 31 && memcmp(opened, plain, 31) == 0);
    CHECK(EVP_Cipher(ctx, NULL, NULL, 0) == 0);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(gcm);
    EVP_CIPHER_free(blocks);
}

/* A software key in whatever provider comes first. */
static void software_keys(void) {
    unsigned char bytes[32] = {1}, iv[12] = {2}, tag[16], sealed[8], opened[8];
    int len, last;
    EVP_SKEY *key = EVP_SKEY_import_raw_key(NULL, "AES", bytes, sizeof bytes, NULL);
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const unsigned char *raw;
    size_t raw_len;
    CHECK(key != NULL && cipher != NULL);
    CHECK(EVP_SKEY_get0_raw_key(key, &raw, &raw_len) == 1 && raw_len == 32 && memcmp(raw, bytes, 32) == 0);
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, iv, sizeof iv, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, sealed, &len, (const unsigned char *)"message", 7) == 1);
    CHECK(EVP_CipherFinal_ex(ctx, sealed + len, &last) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) == 1);
    CHECK(EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, 0) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, sizeof iv, NULL) == 1);
    CHECK(EVP_CipherInit_ex(ctx, NULL, NULL, bytes, iv, 0) == 1);
    CHECK(EVP_CipherUpdate(ctx, opened, &len, sealed, 7) == 1 && memcmp(opened, "message", 7) == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1);
    CHECK(EVP_CipherFinal_ex(ctx, opened + len, &last) == 1);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    EVP_SKEY_free(key);
}

int main(int argc, char **argv) {
    const unsigned char plain[] = "0123456789abcdef0123456789abcdef";
    const unsigned char *raw;
    size_t raw_len;
    CHECK(argc == 3);
    load_providers(argv[2]);
    EVP_SKEY *key = import_uri(argv[1]);
    CHECK(key != NULL);
    CHECK(strncmp(EVP_SKEY_get0_key_id(key), argv[1], strlen(argv[1])) == 0);
    CHECK(EVP_SKEY_get0_raw_key(key, &raw, &raw_len) != 1);
    ERR_clear_error();
    wrap(key, "AES-256-WRAP", plain, 32);
    wrap(key, "AES-256-WRAP-PAD", plain, 7);
    lengths(key, "AES-256-WRAP", 32, 40);
    lengths(key, "AES-256-WRAP-PAD", 20, 32);
    gcm(key);
    refused_controls(key);
    at_once(key);
    cbc(key, 1, 43);
    cbc(key, 1, 32);
    cbc(key, 1, 5);
    cbc(key, 0, 32);
    EVP_SKEY_free(key);
    software_keys();
    puts("ok");
    return 0;
}
#endif
