/* ml_dsa_messages SET URI: messages from 0 B to 64 MiB, in pieces, with contexts of every length, are signed by an ML-DSA key of the
 * HSM and by one of the default provider; each verifies what the other has signed, by the message and by its representative. */
#include <openssl/core_names.h>
#include "check.h"

#define LONGEST (64UL << 20)
#define LONGEST_CONTEXT 255

static unsigned char *message;
static unsigned char context_string[LONGEST_CONTEXT + 1];

static int is_ours(EVP_PKEY *key)
{
    return strcmp(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "akv_provider") == 0;
}

/* The parameter with the context, and whether μ is given in place of a message. */
static void parameters(OSSL_PARAM params[3], size_t context_length, int *is_mu)
{
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, context_string, context_length);
    params[1] = *is_mu ? OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MU, is_mu) : OSSL_PARAM_construct_end();
    params[2] = OSSL_PARAM_construct_end();
}

/* FIPS 204, 5.2 and 6.2: SHAKE256(SHAKE256(pk, 64) || 0 || length of the context || context || message, 64). */
static void representative(EVP_PKEY *key, size_t context_length, size_t length, unsigned char mu[64])
{
    unsigned char public_key[4096], tr[64], head[2] = { 0, (unsigned char)context_length };
    size_t public_length = 0;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    CHECK(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, public_key, sizeof(public_key), &public_length) == 1);
    CHECK(EVP_DigestInit_ex(hash, EVP_shake256(), NULL) == 1 && EVP_DigestUpdate(hash, public_key, public_length) == 1);
    CHECK(EVP_DigestFinalXOF(hash, tr, sizeof(tr)) == 1);
    CHECK(EVP_DigestInit_ex(hash, EVP_shake256(), NULL) == 1 && EVP_DigestUpdate(hash, tr, sizeof(tr)) == 1);
    CHECK(EVP_DigestUpdate(hash, head, 2) == 1 && EVP_DigestUpdate(hash, context_string, context_length) == 1);
    CHECK(EVP_DigestUpdate(hash, message, length) == 1 && EVP_DigestFinalXOF(hash, mu, 64) == 1);
    EVP_MD_CTX_free(hash);
}

/* Hands a message over in pieces whose length grows. */
static void in_pieces(int (*update)(EVP_MD_CTX *, const void *, size_t), EVP_MD_CTX *operation, const unsigned char *text, size_t length)
{
    for (size_t at = 0, piece = 1; at < length; at += piece, piece = 3 * piece + 1) {
        if (piece > length - at)
            piece = length - at;
        CHECK(update(operation, text + at, piece) == 1);
    }
}

/* By us in pieces; the default provider takes a message as a whole only. */
static size_t sign(EVP_PKEY *key, OSSL_LIB_CTX *libctx, size_t context_length, size_t length, unsigned char *signature, size_t size)
{
    OSSL_PARAM params[3];
    int is_mu = 0;
    EVP_MD_CTX *operation = EVP_MD_CTX_new();

    parameters(params, context_length, &is_mu);
    CHECK(EVP_DigestSignInit_ex(operation, NULL, NULL, libctx, NULL, key, params) == 1);
    if (is_ours(key)) {
        in_pieces(EVP_DigestSignUpdate, operation, message, length);
        CHECK(EVP_DigestSignFinal(operation, signature, &size) == 1);
    } else {
        CHECK(EVP_DigestSign(operation, signature, &size, message, length) == 1);
    }
    EVP_MD_CTX_free(operation);
    return size;
}

static int verifies(EVP_PKEY *key, OSSL_LIB_CTX *libctx, size_t context_length, int is_mu, const unsigned char *text, size_t length,
                    const unsigned char *signature, size_t size)
{
    OSSL_PARAM params[3];
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    int is_valid;

    parameters(params, context_length, &is_mu);
    CHECK(EVP_DigestVerifyInit_ex(operation, NULL, NULL, libctx, NULL, key, params) == 1);
    if (is_ours(key)) {
        in_pieces(EVP_DigestVerifyUpdate, operation, text, length);
        is_valid = EVP_DigestVerifyFinal(operation, signature, size) == 1;
    } else {
        is_valid = EVP_DigestVerify(operation, signature, size, text, length) == 1;
    }
    EVP_MD_CTX_free(operation);
    ERR_clear_error();
    return is_valid;
}

/* What `signer` signs, `verifier` takes, which has its public key in another library context: the message, and μ as it is computed
 * here. */
static void both_ways(EVP_PKEY *signer, OSSL_LIB_CTX *there, EVP_PKEY *verifier, OSSL_LIB_CTX *here, size_t context_length, size_t length)
{
    size_t size = EVP_PKEY_get_size(signer);
    unsigned char *signature = OPENSSL_malloc(size), mu[64];

    CHECK(sign(signer, there, context_length, length, signature, size) == size);
    CHECK(verifies(verifier, here, context_length, 0, message, length, signature, size));
    representative(verifier, context_length, length, mu);
    CHECK(verifies(verifier, here, 0, 1, mu, sizeof(mu), signature, size));
    signature[size / 2] ^= 1;
    CHECK(!verifies(verifier, here, context_length, 0, message, length, signature, size));
    OPENSSL_free(signature);
}

/* The public part of a key, in a library context. */
static EVP_PKEY *public_part(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *set)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *made = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(libctx, set, NULL);

    CHECK(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params) == 1);
    CHECK(EVP_PKEY_fromdata_init(context) == 1 && EVP_PKEY_fromdata(context, &made, EVP_PKEY_PUBLIC_KEY, params) == 1);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(context);
    return made;
}

static void refused(EVP_PKEY *key, OSSL_LIB_CTX *libctx)
{
    OSSL_PARAM params[3];
    int is_mu = 0;
    EVP_MD_CTX *operation = EVP_MD_CTX_new();

    parameters(params, LONGEST_CONTEXT + 1, &is_mu);
    CHECK(EVP_DigestSignInit_ex(operation, NULL, NULL, libctx, NULL, key, params) != 1);
    EVP_MD_CTX_free(operation);
    ERR_clear_error();
}

int main(int argc, char **argv)
{
    /* SHAKE256 takes 136 bytes at a time. */
    static const size_t lengths[] = { 0, 1, 135, 136, 137, 4097, 1 << 20, LONGEST };
    static const size_t contexts[] = { 0, 1, LONGEST_CONTEXT };
    EVP_PKEY *ours, *our_public, *theirs = NULL, *their_public;
    EVP_PKEY_CTX *making;
    /* In each of them there is one implementation only: no side can have the other one verify. */
    OSSL_LIB_CTX *without_us = OSSL_LIB_CTX_new(), *only_us = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *one, *other;

    CHECK(argc == 3);
    load_providers("akv_provider,default");
    CHECK((message = OPENSSL_malloc(LONGEST)) != NULL);
    for (size_t i = 0; i < LONGEST; i++)
        message[i] = (unsigned char)(i * 31 + (i >> 8));
    for (size_t i = 0; i < sizeof(context_string); i++)
        context_string[i] = (unsigned char)(i + 1);
    ours = load_key(NULL, argv[2], 0);
    CHECK((one = OSSL_PROVIDER_load(without_us, "default")) != NULL);
    CHECK((other = OSSL_PROVIDER_load(only_us, "akv_provider")) != NULL);
    our_public = public_part(without_us, ours, argv[1]);
    making = EVP_PKEY_CTX_new_from_name(without_us, argv[1], NULL);
    CHECK(EVP_PKEY_keygen_init(making) == 1 && EVP_PKEY_generate(making, &theirs) == 1);
    EVP_PKEY_CTX_free(making);
    their_public = public_part(only_us, theirs, argv[1]);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        for (size_t j = 0; j < 3; j++) {
            if (lengths[i] == LONGEST && contexts[j] != 1)
                continue;
            both_ways(ours, NULL, our_public, without_us, contexts[j], lengths[i]);
            both_ways(theirs, without_us, their_public, only_us, contexts[j], lengths[i]);
        }
    }
    refused(ours, NULL);
    refused(theirs, without_us);
    EVP_PKEY_free(their_public);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(our_public);
    EVP_PKEY_free(ours);
    OSSL_PROVIDER_unload(other);
    OSSL_PROVIDER_unload(one);
    OSSL_LIB_CTX_free(only_us);
    OSSL_LIB_CTX_free(without_us);
    OPENSSL_free(message);
    return 0;
}
