/* ml_dsa SET URI PROVIDERS: signs with an ML-DSA key of the HSM in all the ways that libcrypto has, and compares what is
 * told of it with the default provider's key. PROVIDERS: parted by commas. */
#include <openssl/core_names.h>
#include "check.h"

static const unsigned char message[] = "a message that comes in pieces";
#define LENGTH (sizeof(message) - 1)
static const unsigned char some_mu[64] = "the representative of another message";

/* Whether the default provider takes a signature for one of the message, with a context string. */
static int verifies(EVP_PKEY *copy, const unsigned char *signature, size_t length, const char *context)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, (void *)context, strlen(context)),
        OSSL_PARAM_END
    };
    EVP_MD_CTX *verification = EVP_MD_CTX_new();
    int is_valid;

    CHECK(EVP_DigestVerifyInit_ex(verification, NULL, NULL, NULL, "provider=default", copy, params) == 1);
    is_valid = EVP_DigestVerify(verification, signature, length, message, LENGTH) == 1;
    EVP_MD_CTX_free(verification);
    ERR_clear_error();
    return is_valid;
}

static void by_digest_sign(EVP_PKEY *key, EVP_PKEY *copy, size_t size)
{
    unsigned char *signature = OPENSSL_malloc(size), small[8];
    size_t length;
    EVP_MD_CTX *context = EVP_MD_CTX_new(), *other;

    /* With a digest it is none of ML-DSA. */
    CHECK(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, key, NULL) != 1);
    ERR_clear_error();
    EVP_MD_CTX_free(context);
    /* A whole message, with a call for its size first, which leaves the message alone. */
    context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit_ex(context, NULL, NULL, NULL, NULL, key, NULL) == 1);
    CHECK(EVP_DigestSign(context, NULL, &length, message, LENGTH) == 1 && length == size);
    CHECK(EVP_DigestSign(context, signature, &length, message, LENGTH) == 1 && length == size);
    CHECK(verifies(copy, signature, length, "") && !verifies(copy, signature, length, "x"));
    EVP_MD_CTX_free(context);
    context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit_ex(context, NULL, NULL, NULL, NULL, key, NULL) == 1);
    length = sizeof(small);
    CHECK(EVP_DigestSign(context, small, &length, message, LENGTH) != 1);
    ERR_clear_error();
    EVP_MD_CTX_free(context);
    /* In pieces, and a copy of the context that goes its own way. */
    context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit_ex(context, NULL, NULL, NULL, NULL, key, NULL) == 1);
    for (size_t i = 0; i < LENGTH - 1; i++)
        CHECK(EVP_DigestSignUpdate(context, message + i, 1) == 1);
    other = EVP_MD_CTX_new();
    CHECK(EVP_MD_CTX_copy_ex(other, context) == 1);
    CHECK(EVP_DigestSignUpdate(other, "!", 1) == 1);
    CHECK(EVP_DigestSignUpdate(context, message + LENGTH - 1, 1) == 1);
    length = size;
    CHECK(EVP_DigestSignFinal(context, signature, &length) == 1 && verifies(copy, signature, length, ""));
    length = size;
    CHECK(EVP_DigestSignFinal(other, signature, &length) == 1 && !verifies(copy, signature, length, ""));
    EVP_MD_CTX_free(other);
    EVP_MD_CTX_free(context);
    OPENSSL_free(signature);
}

static void by_message(EVP_PKEY *key, EVP_PKEY *copy, const char *set, size_t size)
{
    unsigned char *signature = OPENSSL_malloc(size);
    size_t length = size;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, "provider=akv_provider");
    EVP_SIGNATURE *algorithm = EVP_SIGNATURE_fetch(NULL, set, "provider=akv_provider");
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, (void *)"x", 1), OSSL_PARAM_END
    };
    int is_mu = 1;
    OSSL_PARAM mu[] = { OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_MU, &is_mu), OSSL_PARAM_END };
    OSSL_PARAM late[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, (void *)"y", 1), OSSL_PARAM_END
    };

    CHECK(context != NULL && algorithm != NULL);
    /* There is no signature of a digest. */
    CHECK(EVP_PKEY_sign_init(context) != 1);
    ERR_clear_error();
    CHECK(EVP_PKEY_sign_message_init(context, algorithm, params) == 1);
    /* Whole messages, one after the other. */
    for (int i = 0; i < 3; i++) {
        length = size;
        CHECK(EVP_PKEY_sign(context, signature, &length, message, LENGTH) == 1);
        CHECK(verifies(copy, signature, length, "x") && !verifies(copy, signature, length, ""));
    }
    /* One that is refused ends nothing: what is of the length of mu comes after what is not. */
    CHECK(EVP_PKEY_sign_message_init(context, algorithm, mu) == 1);
    length = size;
    CHECK(EVP_PKEY_sign(context, signature, &length, message, LENGTH) != 1);
    ERR_clear_error();
    length = size;
    CHECK(EVP_PKEY_sign(context, signature, &length, some_mu, sizeof(some_mu)) == 1);
    CHECK(EVP_PKEY_verify_message_init(context, algorithm, mu) == 1);
    CHECK(EVP_PKEY_verify(context, signature, length, message, LENGTH) != 1);
    ERR_clear_error();
    CHECK(EVP_PKEY_verify(context, signature, length, some_mu, sizeof(some_mu)) == 1);

    CHECK(EVP_PKEY_sign_message_init(context, algorithm, NULL) == 1);
    CHECK(EVP_PKEY_CTX_set_params(context, params) == 1);
    CHECK(EVP_PKEY_sign_message_update(context, message, 5) == 1);
    /* Too late for another context string, but not for the same. */
    CHECK(EVP_PKEY_CTX_set_params(context, params) == 1);
    CHECK(EVP_PKEY_CTX_set_params(context, late) != 1);
    ERR_clear_error();
    CHECK(EVP_PKEY_sign_message_update(context, message + 5, LENGTH - 5) == 1);
    length = size;
    CHECK(EVP_PKEY_sign_message_final(context, signature, &length) == 1);
    CHECK(verifies(copy, signature, length, "x"));
    length = size;
    CHECK(EVP_PKEY_sign_message_final(context, signature, &length) != 1);
    ERR_clear_error();

    /* Verified here, in pieces as well. */
    CHECK(EVP_PKEY_verify_message_init(context, algorithm, params) == 1);
    CHECK(EVP_PKEY_verify(context, signature, size, message, LENGTH) == 1);
    CHECK(EVP_PKEY_verify(context, signature, size, message, LENGTH - 1) != 1);
    CHECK(EVP_PKEY_verify_message_init(context, algorithm, params) == 1);
    CHECK(EVP_PKEY_CTX_set_signature(context, signature, size) == 1);
    CHECK(EVP_PKEY_verify_message_update(context, message, LENGTH) == 1);
    CHECK(EVP_PKEY_verify_message_final(context) == 1);
    ERR_clear_error();
    EVP_SIGNATURE_free(algorithm);
    EVP_PKEY_CTX_free(context);
    OPENSSL_free(signature);
}

/* What is told of the key is what the default provider tells of its public part. */
static void compare(EVP_PKEY *key, EVP_PKEY *copy, const char *set)
{
    unsigned char ours[4096], theirs[4096];
    size_t our_length = 0, their_length = 0;
    char name[32] = "x", their_name[32] = "y";
    OSSL_PARAM *params = NULL;
    EVP_PKEY *duplicate = EVP_PKEY_dup(key), *made = NULL;
    EVP_PKEY_CTX *context;

    CHECK(EVP_PKEY_is_a(key, set) == 1);
    CHECK(strcmp(EVP_PKEY_get0_type_name(key), EVP_PKEY_get0_type_name(copy)) == 0);
    CHECK(EVP_PKEY_eq(key, copy) == 1 && EVP_PKEY_eq(copy, key) == 1);
    CHECK(duplicate != NULL && EVP_PKEY_eq(key, duplicate) == 1);
    CHECK(EVP_PKEY_parameters_eq(key, duplicate) == EVP_PKEY_parameters_eq(copy, copy));
    CHECK(EVP_PKEY_get_bits(key) == EVP_PKEY_get_bits(copy));
    CHECK(EVP_PKEY_get_security_bits(key) == EVP_PKEY_get_security_bits(copy));
    CHECK(EVP_PKEY_get_size(key) == EVP_PKEY_get_size(copy));
    CHECK(EVP_PKEY_get_default_digest_name(key, name, sizeof(name))
          == EVP_PKEY_get_default_digest_name(copy, their_name, sizeof(their_name)));
    CHECK(strcmp(name, their_name) == 0);
    CHECK(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, ours, sizeof(ours), &our_length) == 1);
    CHECK(EVP_PKEY_get_octet_string_param(copy, OSSL_PKEY_PARAM_PUB_KEY, theirs, sizeof(theirs), &their_length) == 1);
    CHECK(our_length == their_length && memcmp(ours, theirs, our_length) == 0);
    our_length = their_length = 0;
    CHECK(EVP_PKEY_get_raw_public_key(key, NULL, &our_length) == EVP_PKEY_get_raw_public_key(copy, NULL, &their_length));
    CHECK(our_length == their_length);
    /* The public part goes out and in; the private one does not. */
    CHECK(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) != 1);
    ERR_clear_error();
    CHECK(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params) == 1);
    context = EVP_PKEY_CTX_new_from_name(NULL, set, NULL);
    CHECK(EVP_PKEY_fromdata_init(context) == 1);
    CHECK(EVP_PKEY_fromdata(context, &made, EVP_PKEY_PUBLIC_KEY, params) == 1);
    CHECK(EVP_PKEY_eq(key, made) == 1);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(made);
    EVP_PKEY_free(duplicate);
    ERR_clear_error();
}

/* Signatures by a key of the default provider are verified here where no other provider is. */
static void verify_alone(const char *set)
{
    static unsigned char text[5 << 20], context[255];
    unsigned char *signature, public_key[4096];
    size_t length, public_length = 0, lengths[] = { 0, 1, sizeof(context) };
    OSSL_LIB_CTX *alone = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(alone, "akv_provider");
    EVP_PKEY *key, *ours = NULL;
    EVP_PKEY_CTX *making;
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };

    CHECK(provider != NULL);
    making = EVP_PKEY_CTX_new_from_name(NULL, set, "provider=default");
    CHECK(EVP_PKEY_keygen_init(making) == 1 && (key = NULL, EVP_PKEY_generate(making, &key)) == 1);
    EVP_PKEY_CTX_free(making);
    CHECK(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, public_key, sizeof(public_key), &public_length) == 1);
    making = EVP_PKEY_CTX_new_from_name(alone, set, NULL);
    for (size_t shorter = 0; shorter < 2; shorter++) {
        params[0] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public_key, public_length - 1 + shorter);
        CHECK(EVP_PKEY_fromdata_init(making) == 1);
        CHECK(EVP_PKEY_fromdata(making, &ours, EVP_PKEY_PUBLIC_KEY, params) == (int)shorter);
    }
    EVP_PKEY_CTX_free(making);
    ERR_clear_error();
    signature = OPENSSL_malloc(EVP_PKEY_get_size(key));
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < 3; i++) {
        EVP_MD_CTX *operation = EVP_MD_CTX_new();

        params[0] = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, context, lengths[i]);
        CHECK(EVP_DigestSignInit_ex(operation, NULL, NULL, NULL, NULL, key, params) == 1);
        length = EVP_PKEY_get_size(key);
        CHECK(EVP_DigestSign(operation, signature, &length, text, sizeof(text)) == 1);
        EVP_MD_CTX_free(operation);
        for (size_t damage = 0; damage < 2; damage++) {
            operation = EVP_MD_CTX_new();
            CHECK(EVP_DigestVerifyInit_ex(operation, NULL, NULL, alone, NULL, ours, params) == 1);
            for (size_t at = 0; at < sizeof(text); at += 1 << 16)
                CHECK(EVP_DigestVerifyUpdate(operation, text + at, 1 << 16) == 1);
            signature[100] ^= (unsigned char)damage;
            CHECK((EVP_DigestVerifyFinal(operation, signature, length) == 1) == (damage == 0));
            EVP_MD_CTX_free(operation);
            ERR_clear_error();
        }
    }
    OPENSSL_free(signature);
    EVP_PKEY_free(ours);
    EVP_PKEY_free(key);
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(alone);
}

int main(int argc, char **argv)
{
    EVP_PKEY *key, *copy;
    size_t size;

    CHECK(argc == 4);
    load_providers(argv[3]);
    key = load_key(NULL, argv[2], 0);
    copy = public_copy(NULL, key);
    size = EVP_PKEY_get_size(key);
    compare(key, copy, argv[1]);
    by_digest_sign(key, copy, size);
    by_message(key, copy, argv[1], size);
    verify_alone(argv[1]);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(key);
    return 0;
}
