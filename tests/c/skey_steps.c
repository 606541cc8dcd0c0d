/* EVP_SKEY and what else a cipher begins with in several steps: key, initialisation vector and parameters one after the other
 * (OpenSSL 3.5 and newer). What comes out is what the default provider makes of all at once.
 * skey_steps URI PROVIDERS: the key is AES-256; PROVIDERS are loaded in this order, separated by commas. */
#include "check.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#if OPENSSL_VERSION_NUMBER < 0x30500000L
int main(void) {
    puts("SKIPPED: EVP_SKEY came with OpenSSL 3.5");
    return 77;
}
#else

#define OURS "provider=akv_provider"

static const unsigned char PLAIN[32] = "The quick brown fox jumps over.";
static const unsigned char BYTES[32] = {1}, FIRST[16] = {2}, SECOND[16] = {3};

struct output {
    unsigned char bytes[80];
    int len;
};

static EVP_CIPHER_CTX *new_context(void) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx != NULL);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    return ctx;
}

static EVP_CIPHER *fetch(const char *name, const char *properties) {
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, properties);
    CHECK(cipher != NULL);
    return cipher;
}

static int run(EVP_CIPHER_CTX *ctx, struct output *output, const unsigned char *input, int input_len) {
    int last = 0;
    if (EVP_CipherUpdate(ctx, output->bytes, &output->len, input, input_len) != 1)
        return 0;
    if (EVP_CipherFinal_ex(ctx, output->bytes + output->len, &last) != 1)
        return 0;
    output->len += last;
    return 1;
}

static void gives(EVP_CIPHER_CTX *ctx, const struct output *expected) {
    struct output output;
    CHECK(run(ctx, &output, PLAIN, sizeof PLAIN) == 1);
    CHECK(output.len == expected->len && memcmp(output.bytes, expected->bytes, output.len) == 0);
}

/* What the default provider makes of all at once. */
static struct output at_once(const char *name, const unsigned char *iv, int padding) {
    EVP_CIPHER *cipher = fetch(name, "provider=default");
    EVP_CIPHER_CTX *ctx = new_context();
    struct output output;
    CHECK(EVP_EncryptInit_ex2(ctx, cipher, BYTES, iv, NULL) == 1);
    CHECK(EVP_CIPHER_CTX_set_padding(ctx, padding) == 1);
    CHECK(run(ctx, &output, PLAIN, sizeof PLAIN) == 1);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return output;
}

/* A context of a cipher, for which nothing came yet. */
static EVP_CIPHER_CTX *begun(const char *name, const unsigned char *iv, const OSSL_PARAM *params) {
    EVP_CIPHER *cipher = fetch(name, OURS);
    EVP_CIPHER_CTX *ctx = new_context();
    CHECK(EVP_CipherInit_SKEY(ctx, cipher, NULL, iv, iv == NULL ? 0 : EVP_CIPHER_get_iv_length(cipher), 1, params) == 1);
    EVP_CIPHER_free(cipher);
    return ctx;
}

/* A further step: with the cipher, libcrypto would begin anew. */
static int then(EVP_CIPHER_CTX *ctx, EVP_SKEY *key, const unsigned char *iv, int encrypts) {
    return EVP_CipherInit_SKEY(ctx, NULL, key, iv, iv == NULL ? 0 : EVP_CIPHER_CTX_get_iv_length(ctx), encrypts, NULL);
}

static OSSL_PARAM *no_padding(void) {
    static unsigned int none = 0;
    static OSSL_PARAM params[2];
    params[0] = OSSL_PARAM_construct_uint("padding", &none);
    params[1] = OSSL_PARAM_construct_end();
    return params;
}

static void software_key_in_steps(EVP_SKEY *key, const char *name) {
    struct output first = at_once(name, FIRST, 1), second = at_once(name, SECOND, 1), unpadded = at_once(name, FIRST, 0);
    EVP_CIPHER_CTX *ctx = begun(name, NULL, NULL);

    /* The next message, by the same key. */
    CHECK(then(ctx, key, FIRST, 1) == 1);
    gives(ctx, &first);
    CHECK(then(ctx, NULL, SECOND, 1) == 1);
    gives(ctx, &second);
    EVP_CIPHER_CTX_free(ctx);
    /* The key last. */
    ctx = begun(name, SECOND, NULL);
    CHECK(then(ctx, key, NULL, 1) == 1);
    gives(ctx, &second);
    EVP_CIPHER_CTX_free(ctx);
    ctx = begun(name, SECOND, no_padding());
    CHECK(then(ctx, key, FIRST, 1) == 1);
    gives(ctx, &unpadded);
    EVP_CIPHER_CTX_free(ctx);
}

/* One in the HSM, in steps, is as at once. */
static void own_key_in_steps(EVP_SKEY *key) {
    EVP_CIPHER *cipher = fetch("AES-256-CBC", OURS);
    EVP_CIPHER_CTX *ctx = new_context();
    struct output expected, opened;

    CHECK(EVP_CipherInit_SKEY(ctx, cipher, key, FIRST, sizeof FIRST, 1, no_padding()) == 1);
    CHECK(run(ctx, &expected, PLAIN, sizeof PLAIN) == 1 && expected.len == sizeof PLAIN);
    EVP_CIPHER_CTX_free(ctx);
    ctx = begun("AES-256-CBC", FIRST, no_padding());
    CHECK(then(ctx, key, NULL, 1) == 1);
    gives(ctx, &expected);
    EVP_CIPHER_CTX_free(ctx);
    /* The first step with the functions for bytes of keys. */
    ctx = new_context();
    CHECK(EVP_EncryptInit_ex2(ctx, cipher, NULL, FIRST, no_padding()) == 1);
    CHECK(then(ctx, key, NULL, 1) == 1);
    gives(ctx, &expected);
    CHECK(then(ctx, NULL, SECOND, 1) == 1);
    CHECK(then(ctx, NULL, FIRST, 0) == 1);
    CHECK(run(ctx, &opened, expected.bytes, expected.len) == 1);
    CHECK(opened.len == sizeof PLAIN && memcmp(opened.bytes, PLAIN, sizeof PLAIN) == 0);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);

    /* What the HSM doesn't take is refused when the key comes, at the latest. */
    ctx = begun("AES-256-GCM", FIRST, NULL);
    CHECK(then(ctx, key, NULL, 1) != 1);
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
}

/* A key of the HSM's after a software key, and the other way round. */
static void one_after_the_other(EVP_SKEY *own, EVP_SKEY *software) {
    EVP_CIPHER_CTX *ctx = begun("AES-256-CBC", NULL, NULL);
    struct output first = at_once("AES-256-CBC", FIRST, 1), second = at_once("AES-256-CBC", SECOND, 1), output;

    CHECK(then(ctx, own, FIRST, 1) == 1);
    CHECK(then(ctx, software, NULL, 1) == 1);
    gives(ctx, &first);
    CHECK(then(ctx, software, SECOND, 1) == 1);
    gives(ctx, &second);
    /* Neither the first one, nor one that was for another provider: there is none. */
    CHECK(then(ctx, own, NULL, 1) == 1);
    CHECK(run(ctx, &output, PLAIN, sizeof PLAIN) == 0);
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
}

/* A message of which a part was refused has no end that says all is well: it would be that of an empty message. */
static void no_end_after_a_refusal(EVP_SKEY *own) {
    EVP_CIPHER *blocks = fetch("AES-256-CBC", OURS), *gcm = fetch("AES-256-GCM", OURS);
    EVP_CIPHER_CTX *ctx = new_context();
    unsigned char iv[12], tag[16];
    struct output output;

    /* A second part. */
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, own, FIRST, sizeof FIRST, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, output.bytes, &output.len, PLAIN, sizeof PLAIN) == 1);
    CHECK(EVP_CipherUpdate(ctx, output.bytes, &output.len, PLAIN, sizeof PLAIN) == 0);
    CHECK(EVP_CipherFinal_ex(ctx, output.bytes, &output.len) == 0);
    CHECK(EVP_CipherUpdate(ctx, output.bytes, &output.len, PLAIN, sizeof PLAIN) == 0);
    /* What is no number of blocks, where there is no padding. */
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, own, FIRST, sizeof FIRST, 0, no_padding()) == 1);
    CHECK(EVP_CipherUpdate(ctx, output.bytes, &output.len, PLAIN, sizeof PLAIN - 1) == 0);
    CHECK(EVP_CipherFinal_ex(ctx, output.bytes, &output.len) == 0);
    /* The next message is another one. */
    CHECK(EVP_CipherInit_SKEY(ctx, blocks, own, FIRST, sizeof FIRST, 1, NULL) == 1);
    CHECK(run(ctx, &output, PLAIN, sizeof PLAIN) == 1);
    EVP_CIPHER_CTX_free(ctx);

    /* Something put behind a message of additional data alone. */
    ctx = new_context();
    CHECK(EVP_CipherInit_SKEY(ctx, gcm, own, NULL, 0, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctx, NULL, &output.len, PLAIN, sizeof PLAIN) == 1);
    CHECK(EVP_CipherFinal_ex(ctx, output.bytes, &output.len) == 1);
    CHECK(EVP_CIPHER_CTX_get_updated_iv(ctx, iv, sizeof iv) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) == 1);
    for (int forged = 0; forged <= 1; forged++) {
        CHECK(EVP_CipherInit_SKEY(ctx, gcm, own, iv, sizeof iv, 0, NULL) == 1);
        CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1);
        CHECK(EVP_CipherUpdate(ctx, NULL, &output.len, PLAIN, sizeof PLAIN) == 1);
        CHECK(!forged || EVP_CipherUpdate(ctx, output.bytes, &output.len, BYTES, 16) == 0);
        CHECK(EVP_CipherFinal_ex(ctx, output.bytes, &output.len) == !forged);
    }
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(gcm);
    EVP_CIPHER_free(blocks);
}

int main(int argc, char **argv) {
    const char *names[] = {"AES-256-CBC", "AES-256-GCM", "AES-256-WRAP", "AES-256-WRAP-PAD"};
    CHECK(argc == 3);
    load_providers(argv[2]);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("uri", argv[1], 0), OSSL_PARAM_construct_end()};
    EVP_SKEY *own = EVP_SKEY_import(NULL, "AES", OURS, OSSL_SKEYMGMT_SELECT_ALL, params);
    EVP_SKEY *software = EVP_SKEY_import_raw_key(NULL, "AES", (unsigned char *)BYTES, sizeof BYTES, OURS);
    CHECK(own != NULL && software != NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        software_key_in_steps(software, names[i]);
    own_key_in_steps(own);
    one_after_the_other(own, software);
    no_end_after_a_refusal(own);
    EVP_SKEY_free(software);
    EVP_SKEY_free(own);
    puts("ok");
    return 0;
}
#endif
