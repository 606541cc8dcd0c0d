/* Signature algorithms with the digest in their names and the message interface (OpenSSL 3.4 and newer).
 * message URI ALGORITHM PROVIDERS: signs in every style, and verifies with the default provider and with ours. */
#include "check.h"

#if OPENSSL_VERSION_NUMBER < 0x30400000L
int main(void)
{
    puts("SKIPPED: signature algorithms for messages came with OpenSSL 3.4");
    return 77;
}
#else

static const unsigned char message[] = "a message in two pieces";
static const size_t size = sizeof message - 1;

static size_t sign(EVP_PKEY *key, EVP_SIGNATURE *algorithm, int pieces, unsigned char *signature)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t length = 0;

    CHECK(EVP_PKEY_sign_message_init(context, algorithm, NULL) == 1);
    if (pieces) {
        CHECK(EVP_PKEY_sign_message_update(context, message, 5) == 1);
        CHECK(EVP_PKEY_sign_message_update(context, message + 5, size - 5) == 1);
        CHECK(EVP_PKEY_sign_message_final(context, NULL, &length) == 1);
        CHECK(EVP_PKEY_sign_message_final(context, signature, &length) == 1);
    } else {
        CHECK(EVP_PKEY_sign(context, NULL, &length, message, size) == 1);
        CHECK(EVP_PKEY_sign(context, signature, &length, message, size) == 1);
    }
    EVP_PKEY_CTX_free(context);
    return length;
}

/* A message is in pieces or whole. The default provider refuses one that is both, too, of RSA and EC keys. */
static void refuses_both(EVP_PKEY *key, EVP_PKEY *public_key, EVP_SIGNATURE *algorithm, unsigned char *signature, size_t length)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t room = length;

    CHECK(EVP_PKEY_sign_message_init(context, algorithm, NULL) == 1);
    CHECK(EVP_PKEY_sign_message_update(context, message, 5) == 1);
    CHECK(EVP_PKEY_sign(context, NULL, &room, message + 5, size - 5) != 1);
    CHECK(EVP_PKEY_sign(context, signature, &room, message + 5, size - 5) != 1);
    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new_from_pkey(NULL, public_key, NULL);
    CHECK(EVP_PKEY_verify_message_init(context, algorithm, NULL) == 1);
    CHECK(EVP_PKEY_verify_message_update(context, message, 5) == 1);
    CHECK(EVP_PKEY_verify(context, signature, length, message + 5, size - 5) != 1);
    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
}

static int verify(EVP_PKEY *key, EVP_SIGNATURE *algorithm, int pieces, const unsigned char *signature,
                  size_t length)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int verified;

    CHECK(EVP_PKEY_verify_message_init(context, algorithm, NULL) == 1);
    if (pieces) {
        CHECK(EVP_PKEY_CTX_set_signature(context, signature, length) == 1);
        CHECK(EVP_PKEY_verify_message_update(context, message, 7) == 1);
        CHECK(EVP_PKEY_verify_message_update(context, message + 7, size - 7) == 1);
        verified = EVP_PKEY_verify_message_final(context);
    } else {
        verified = EVP_PKEY_verify(context, signature, length, message, size);
    }
    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
    return verified == 1;
}

/* The padding belongs to the algorithm. */
static void refuses_padding(EVP_PKEY *key, EVP_SIGNATURE *algorithm)
{
    OSSL_PARAM own[] = { OSSL_PARAM_construct_utf8_string("pad-mode", "pkcs1", 0), OSSL_PARAM_construct_end() };
    OSSL_PARAM other[] = { OSSL_PARAM_construct_utf8_string("pad-mode", "pss", 0), OSSL_PARAM_construct_end() };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    CHECK(EVP_PKEY_sign_message_init(context, algorithm, other) != 1);
    CHECK(EVP_PKEY_sign_init_ex2(context, algorithm, other) != 1);
    CHECK(EVP_PKEY_sign_message_init(context, algorithm, own) == 1);
    CHECK(EVP_PKEY_CTX_set_params(context, other) != 1);
    CHECK(EVP_PKEY_CTX_set_params(context, own) == 1);
    CHECK(EVP_PKEY_verify_message_init(context, algorithm, other) != 1);
    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
}

int main(int argc, char **argv)
{
    EVP_SIGNATURE *ours, *theirs;
    EVP_PKEY *key, *copy, *ours_public;
    unsigned char signature[1024];
    int pieces;

    CHECK(argc == 4);
    load_providers(argv[3]);
    key = load_key(NULL, argv[1], 0);
    ours_public = load_key(NULL, argv[1], OSSL_STORE_INFO_PUBKEY);
    copy = public_copy(NULL, key);
    ours = EVP_SIGNATURE_fetch(NULL, argv[2], "provider=akv_provider");
    theirs = EVP_SIGNATURE_fetch(NULL, argv[2], "provider=default");
    CHECK(ours != NULL && theirs != NULL);
    if (EVP_PKEY_is_a(key, "RSA"))
        refuses_padding(key, ours);
    for (pieces = 0; pieces < 2; pieces++) {
        size_t length = sign(key, ours, pieces, signature);

        CHECK(verify(copy, theirs, 0, signature, length));
        CHECK(verify(copy, theirs, 1, signature, length));
        CHECK(verify(ours_public, ours, 0, signature, length));
        CHECK(verify(ours_public, ours, 1, signature, length));
        refuses_both(key, ours_public, ours, signature, length);
        signature[length / 2] ^= 1;
        CHECK(!verify(ours_public, ours, 0, signature, length));
        CHECK(!verify(ours_public, ours, 1, signature, length));
    }
    EVP_SIGNATURE_free(ours);
    EVP_SIGNATURE_free(theirs);
    EVP_PKEY_free(key);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(ours_public);
    puts("ok");
    return 0;
}
#endif
