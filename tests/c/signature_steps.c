/* signature_steps URI SOFTWARE-KEY: asks a key in the HSM and its copy in a file for signatures in ways that leave open
 * what counts: a digest by name and another one by parameter, a context that is begun again, a padding that is set and
 * taken back. Both must do the same. */
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "check.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static const char *const digests[] = {"SHA256",   "SHA3-256", "SHA512-256", "SHA384",
                                      "SHA3-384", "SHA512",   "SHA3-512",   "SHA1"};
static const unsigned char message[] = "abc";

static OSSL_LIB_CTX *software;
static EVP_PKEY *keys[2];
/* The library context of each key: the first is the software key's. */
static OSSL_LIB_CTX *contexts[2];

/* The parameters of an RSA key, or of an EC key where `padding` is NULL. `digest`: NULL for none. */
static void parameters(OSSL_PARAM list[4], const char *digest, const char *padding, int with_salt)
{
    int count = 0;

    if (digest != NULL)
        list[count++] =
            OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, (char *)digest, 0);
    if (padding != NULL)
        list[count++] =
            OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, (char *)padding, 0);
    if (padding != NULL && strcmp(padding, "pss") == 0 && with_salt)
        list[count++] = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN,
                                                         (char *)"digest", 0);
    list[count] = OSSL_PARAM_construct_end();
}

/* A signature of the message, begun with a name and a parameter; 0 if it can't be had. */
static size_t sign(int which, const char *name, const char *parameter, const char *padding,
                   unsigned char *signature, size_t room)
{
    OSSL_PARAM list[4];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good;

    parameters(list, parameter, padding, 1);
    good = EVP_DigestSignInit_ex(context, NULL, name, contexts[which], NULL, keys[which], list) == 1
           && EVP_DigestSign(context, signature, &room, message, 3) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good ? room : 0;
}

static int verify(int which, const char *name, const char *parameter, const char *padding,
                  const unsigned char *signature, size_t length)
{
    OSSL_PARAM list[4];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good;

    parameters(list, parameter, padding, 0);
    good = EVP_DigestVerifyInit_ex(context, NULL, name, contexts[which], NULL, keys[which], list)
               == 1
           && EVP_DigestVerify(context, signature, length, message, 3) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

/* The AlgorithmIdentifier that a context tells; 0 bytes if it tells none. */
static size_t identifier(int which, const char *name, const char *parameter, const char *padding,
                         unsigned char *bytes, size_t room)
{
    OSSL_PARAM list[4], asked[2];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *inner = NULL;
    size_t length = 0;

    asked[0] = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, bytes, room);
    asked[1] = OSSL_PARAM_construct_end();
    parameters(list, parameter, padding, 1);
    if (EVP_DigestSignInit_ex(context, &inner, name, contexts[which], NULL, keys[which], list) == 1
        && EVP_PKEY_CTX_get_params(inner, asked) == 1)
        length = asked[0].return_size;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return length;
}

/* With the name of a digest and another one as a parameter, the name counts. */
static void name_and_parameter(const char *padding)
{
    int made = 0;

    for (size_t i = 0; i < COUNT(digests); i++)
        for (size_t j = 0; j < COUNT(digests); j++) {
            const char *name = digests[i], *parameter = digests[j];
            unsigned char signature[600], known[200], told[200];
            size_t length = sign(0, name, parameter, padding, signature, sizeof(signature));
            size_t size;

            CHECK(length > 0);
            CHECK(verify(0, name, NULL, padding, signature, length));
            CHECK(verify(1, name, parameter, padding, signature, length));
            /* What the HSM doesn't have is refused, whatever the parameter says. */
            length = sign(1, name, NULL, padding, signature, sizeof(signature));
            size = sign(1, name, parameter, padding, signature, sizeof(signature));
            CHECK((length > 0) == (size > 0));
            if (size == 0)
                continue;
            made++;
            CHECK(verify(0, name, NULL, padding, signature, size));
            size = identifier(0, name, NULL, padding, known, sizeof(known));
            CHECK(identifier(1, name, parameter, padding, told, sizeof(told)) == size);
            CHECK(memcmp(known, told, size) == 0);
        }
    /* RSA: SHA-256, SHA-384 and SHA-512, with each of the parameters. */
    CHECK(made == (padding == NULL ? 64 : 24));
}

/* Begun again without a key and without a name, a context goes on with the digest that it has. */
static void begun_again(void)
{
    for (int which = 0; which < 2; which++) {
        unsigned char signature[600];
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        const char *name = "SHA384";

        for (int turn = 0; turn < 2; turn++, name = NULL) {
            size_t length = sizeof(signature);

            CHECK(EVP_DigestSignInit_ex(context, NULL, name, contexts[which], NULL,
                                        name == NULL ? NULL : keys[which], NULL) == 1);
            CHECK(EVP_DigestSign(context, signature, &length, message, 3) == 1);
            CHECK(verify(0, "SHA384", NULL, NULL, signature, length));
        }
        EVP_MD_CTX_free(context);
    }
}

/* PSS brings SHA-1 where no digest is named, which stays with PKCS#1 after it. The HSM doesn't sign with RSA and SHA-1,
 * and signs as soon as another digest is named; both keys take the signature of the software key. */
static void padding_taken_back(void)
{
    unsigned char signatures[2][600];
    size_t lengths[2];
    static const unsigned char value[] = "01234567890123456789012345678901";

    for (int which = 0; which < 2; which++) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(contexts[which], keys[which], NULL);

        CHECK(EVP_PKEY_sign_init(context) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1);
        lengths[which] = sizeof(signatures[which]);
        CHECK((EVP_PKEY_sign(context, signatures[which], &lengths[which], value, 20) == 1)
              == (which == 0));
        ERR_clear_error();
        EVP_PKEY_CTX_free(context);

        context = EVP_PKEY_CTX_new_from_pkey(contexts[which], keys[which], NULL);
        CHECK(EVP_PKEY_verify_init(context) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1);
        CHECK(EVP_PKEY_verify(context, signatures[0], lengths[0], value, 20) == 1);
        EVP_PKEY_CTX_free(context);
    }
    for (int which = 0; which < 2; which++) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(contexts[which], keys[which], NULL);

        CHECK(EVP_PKEY_sign_init(context) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1);
        CHECK(EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1);
        lengths[which] = sizeof(signatures[which]);
        CHECK(EVP_PKEY_sign(context, signatures[which], &lengths[which], value, 32) == 1);
        EVP_PKEY_CTX_free(context);
    }
    CHECK(lengths[0] == lengths[1]);
    CHECK(memcmp(signatures[0], signatures[1], lengths[0]) == 0);
}

/* Whether an operation can be begun, by each key. */
static void refused_at_once(void)
{
    for (int i = 0; i < 4; i++) {
        int verdicts[2];

        for (int which = 0; which < 2; which++) {
            OSSL_PARAM list[4];
            EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(contexts[which], keys[which], NULL);
            EVP_MD_CTX *hashed = EVP_MD_CTX_new();

            parameters(list, i == 1 ? "SHA256" : NULL, i == 0 ? "pss" : "none", 0);
            if (i == 0)
                verdicts[which] = EVP_PKEY_verify_recover_init_ex(context, list) == 1;
            else if (i < 3)
                verdicts[which] = EVP_PKEY_verify_init_ex(context, list) == 1;
            else
                verdicts[which] = EVP_DigestVerifyInit_ex(hashed, NULL, "SHA256", contexts[which],
                                                          NULL, keys[which], list) == 1;
            printf("begun in way %d: %s %d\n", i, which ? "HSM" : "software", verdicts[which]);
            EVP_PKEY_CTX_free(context);
            EVP_MD_CTX_free(hashed);
            ERR_clear_error();
        }
        CHECK(verdicts[0] == verdicts[1]);
    }
}

int main(int argc, char **argv)
{
    FILE *file;

    CHECK(argc == 3);
    load_providers("akv_provider,default");
    CHECK((software = OSSL_LIB_CTX_new()) != NULL);
    CHECK(OSSL_PROVIDER_load(software, "default") != NULL);
    CHECK((file = fopen(argv[2], "r")) != NULL);
    keys[0] = PEM_read_PrivateKey_ex(file, NULL, NULL, NULL, software, NULL);
    fclose(file);
    CHECK(keys[0] != NULL);
    contexts[0] = software;
    keys[1] = load_key(NULL, argv[1], 0);
    CHECK(EVP_PKEY_eq(keys[0], keys[1]) == 1);
    if (EVP_PKEY_is_a(keys[1], "RSA")) {
        name_and_parameter("pkcs1");
        name_and_parameter("pss");
        padding_taken_back();
        refused_at_once();
    } else {
        name_and_parameter(NULL);
    }
    begun_again();
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    return 0;
}
