/* Tries cases that come on standard input, one in a line, and answers each with a line.
 *
 * cases verify PROVIDERS         in a library context of its own, with PROVIDERS only:
 *     PADDING DIGEST SALT MGF1 STYLE SPKI MESSAGE SIGNATURE   ->  1 (good) or 0
 *     ml-dsa SET CONTEXT FORM STYLE PUBLIC MESSAGE SIGNATURE  ->  the same; FORM: message, mu or raw (which is M')
 * cases sign PROVIDERS URI PEM   the same key in the HSM and as a software key of the default provider:
 *     PADDING DIGEST SALT MGF1 STYLE MESSAGE                  ->  ok, refused, or what is wrong
 * cases crypt PROVIDERS          keys by URI or, with the default provider, by PEM file:
 *     DIRECTION KEY PADDING DIGEST MGF1 INPUT                 ->  = and the output, or refused
 *
 * PADDING: pkcs1, pss, oaep, or - for ECDSA and AES. DIRECTION: encrypt or decrypt. SALT: a number, a word of rsa_pss_saltlen, or -. STYLE: whole, pieces, digest
 * or message. Keys, messages and signatures are in hexadecimal; "-" is empty. */
#include "check.h"

#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

struct settings {
    const char *padding, *digest, *salt, *mgf1, *style;
};

struct bytes {
    unsigned char *data;
    size_t length;
};

static struct bytes unhex(const char *text)
{
    struct bytes bytes = {NULL, 0};

    if (strcmp(text, "-") == 0)
        return bytes;
    long length = 0;

    bytes.data = OPENSSL_hexstr2buf(text, &length);
    CHECK(bytes.data != NULL);
    bytes.length = (size_t)length;
    return bytes;
}

static int configure(EVP_PKEY_CTX *context, const struct settings *settings, int named)
{
    OSSL_PARAM params[5], *next = params;

    if (named)
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, (char *)settings->digest, 0);
    if (strcmp(settings->padding, "-") != 0)
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, (char *)settings->padding, 0);
    if (strcmp(settings->salt, "-") != 0)
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, (char *)settings->salt, 0);
    if (strcmp(settings->mgf1, "-") != 0)
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, (char *)settings->mgf1, 0);
    *next = OSSL_PARAM_construct_end();
    return next == params || EVP_PKEY_CTX_set_params(context, params) == 1;
}

/* The digest of a message, by the default library context. */
static size_t digest_of(const struct settings *settings, struct bytes message, unsigned char *digest)
{
    unsigned int length = 0;

    CHECK(EVP_Digest(message.data, message.length, digest, &length, EVP_get_digestbyname(settings->digest), NULL) == 1);
    return length;
}

#if OPENSSL_VERSION_NUMBER >= 0x30400000L
static EVP_SIGNATURE *algorithm(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const struct settings *settings)
{
    char name[64];

    snprintf(name, sizeof(name), "%s-%s", EVP_PKEY_is_a(key, "RSA") ? "RSA" : "ECDSA", settings->digest);
    return EVP_SIGNATURE_fetch(libctx, name,
                               strcmp(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "akv_provider") == 0
                                   ? "provider=akv_provider"
                                   : "provider=default");
}
#endif

/* A context that has begun, in one piece or in two. */
static int verify_message(EVP_MD_CTX *md, const char *style, struct bytes message, struct bytes signature)
{
    size_t half = message.length / 2;

    if (strcmp(style, "whole") == 0)
        return EVP_DigestVerify(md, signature.data, signature.length, message.data, message.length) == 1;
    return EVP_DigestVerifyUpdate(md, message.data, half) == 1
           && EVP_DigestVerifyUpdate(md, message.data + half, message.length - half) == 1
           && EVP_DigestVerifyFinal(md, signature.data, signature.length) == 1;
}

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
/* A public key of ML-DSA, which is made of its bytes: the decoders want hash functions, which our provider has none of. */
static EVP_PKEY *ml_dsa_key(OSSL_LIB_CTX *libctx, const char *set, struct bytes public)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(libctx, set, NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public.data, public.length),
        OSSL_PARAM_construct_end(),
    };

    CHECK(context != NULL && EVP_PKEY_fromdata_init(context) == 1);
    if (EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
    return key;
}

/* CONTEXT stands where others have the salt, and FORM where they have MGF1's hash. */
static int verify_ml_dsa(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const struct settings *settings, struct bytes message,
                         struct bytes signature)
{
    struct bytes context_string = unhex(settings->salt);
    int is_mu = strcmp(settings->mgf1, "mu") == 0, encoding = strcmp(settings->mgf1, "raw") != 0, good;
    OSSL_PARAM params[4], *next = params;

    if (context_string.length > 0)
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_CONTEXT_STRING, context_string.data,
                                                    context_string.length);
    if (is_mu)
        *next++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MU, &is_mu);
    if (!encoding)
        *next++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_MESSAGE_ENCODING, &encoding);
    *next = OSSL_PARAM_construct_end();
    if (strcmp(settings->style, "message") == 0) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
        EVP_SIGNATURE *way = EVP_SIGNATURE_fetch(libctx, settings->digest, NULL);

        good = EVP_PKEY_verify_message_init(context, way, params) == 1
               && EVP_PKEY_verify(context, signature.data, signature.length, message.data, message.length) == 1;
        EVP_SIGNATURE_free(way);
        EVP_PKEY_CTX_free(context);
    } else {
        EVP_MD_CTX *md = EVP_MD_CTX_new();

        good = EVP_DigestVerifyInit_ex(md, NULL, NULL, libctx, NULL, key, params) == 1;
        good = good && verify_message(md, settings->style, message, signature);
        EVP_MD_CTX_free(md);
    }
    OPENSSL_free(context_string.data);
    ERR_clear_error();
    return good;
}
#endif

static int verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const struct settings *settings, struct bytes message,
                  struct bytes signature)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_PKEY_CTX *context = NULL;
    int good = 0;

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
    if (strcmp(settings->padding, "ml-dsa") == 0)
        return verify_ml_dsa(libctx, key, settings, message, signature);
#endif
    if (strcmp(settings->style, "digest") == 0) {
        size_t length = digest_of(settings, message, digest);

        context = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
        good = EVP_PKEY_verify_init(context) == 1 && configure(context, settings, 1)
               && EVP_PKEY_verify(context, signature.data, signature.length, digest, length) == 1;
        EVP_PKEY_CTX_free(context);
    } else {
        EVP_MD_CTX *md = EVP_MD_CTX_new();

        good = EVP_DigestVerifyInit_ex(md, &context, settings->digest, libctx, NULL, key, NULL) == 1
               && configure(context, settings, 0);
        good = good && verify_message(md, settings->style, message, signature);
        EVP_MD_CTX_free(md);
    }
    ERR_clear_error();
    return good;
}

/* Returns the length, or 0 when it is refused. */
static size_t sign(EVP_PKEY *key, const struct settings *settings, struct bytes message, unsigned char *signature,
                   size_t room)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_PKEY_CTX *context = NULL;
    size_t length = 0, needed = 0;
    int good = 0;

    if (strcmp(settings->style, "digest") == 0) {
        size_t digest_length = digest_of(settings, message, digest);

        context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        good = EVP_PKEY_sign_init(context) == 1 && configure(context, settings, 1)
               && EVP_PKEY_sign(context, NULL, &needed, digest, digest_length) == 1;
        length = room;
        good = good && EVP_PKEY_sign(context, signature, &length, digest, digest_length) == 1;
        EVP_PKEY_CTX_free(context);
#if OPENSSL_VERSION_NUMBER >= 0x30400000L
    } else if (strcmp(settings->style, "message") == 0 && strcmp(settings->padding, "pss") != 0) {
        EVP_SIGNATURE *fetched = algorithm(NULL, key, settings);

        CHECK(fetched != NULL);
        context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        good = EVP_PKEY_sign_message_init(context, fetched, NULL) == 1
               && EVP_PKEY_sign(context, NULL, &needed, message.data, message.length) == 1;
        length = room;
        good = good && EVP_PKEY_sign(context, signature, &length, message.data, message.length) == 1;
        EVP_PKEY_CTX_free(context);
        EVP_SIGNATURE_free(fetched);
#endif
    } else {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        size_t third = message.length / 3;

        good = EVP_DigestSignInit_ex(md, &context, settings->digest, NULL, NULL, key, NULL) == 1
               && configure(context, settings, 0);
        if (good && strcmp(settings->style, "pieces") == 0) {
            good = EVP_DigestSignUpdate(md, message.data, third) == 1
                   && EVP_DigestSignUpdate(md, message.data + third, message.length - third) == 1
                   && EVP_DigestSignFinal(md, NULL, &needed) == 1;
            length = room;
            good = good && EVP_DigestSignFinal(md, signature, &length) == 1;
        } else if (good) {
            good = EVP_DigestSign(md, NULL, &needed, message.data, message.length) == 1;
            length = room;
            good = good && EVP_DigestSign(md, signature, &length, message.data, message.length) == 1;
        }
        EVP_MD_CTX_free(md);
    }
    if (!good)
        return 0;
    CHECK(length <= needed);
    ERR_clear_error();
    return length;
}

static const char *compare(EVP_PKEY *ours, EVP_PKEY *software, EVP_PKEY *public_part,
                           const struct settings *settings, struct bytes message)
{
    unsigned char by_hsm[1024], by_software[1024];
    struct settings found = *settings;
    struct bytes signature = {by_hsm, 0};

    signature.length = sign(ours, settings, message, by_hsm, sizeof(by_hsm));
    if (signature.length == 0)
        return ERR_peek_error() != 0 ? (ERR_clear_error(), "refused") : "refused without an error";
    found.style = "whole";
    if (!verify(NULL, software, &found, message, signature))
        return "the default provider refuses the HSM's signature";
    if (!verify(NULL, public_part, &found, message, signature))
        return "we refuse the HSM's signature";
    struct bytes theirs = {by_software, sign(software, settings, message, by_software, sizeof(by_software))};

    if (theirs.length == 0)
        return "the default provider refuses what we do";
    if (!verify(NULL, public_part, &found, message, theirs))
        return "we refuse the default provider's signature";
    if (strcmp(settings->padding, "pkcs1") == 0
        && (theirs.length != signature.length || memcmp(by_hsm, by_software, theirs.length) != 0))
        return "the signatures differ";
    by_hsm[signature.length / 2] ^= 1;
    if (verify(NULL, public_part, &found, message, signature))
        return "we accept a damaged signature";
    return "ok";
}

static EVP_PKEY *read_key(const char *file)
{
    FILE *stream = fopen(file, "r");
    EVP_PKEY *key;

    CHECK(stream != NULL);
    key = PEM_read_PrivateKey_ex(stream, NULL, NULL, NULL, NULL, "provider=default");
    CHECK(key != NULL);
    fclose(stream);
    return key;
}

static void crypt_cases(void)
{
    static char line[1 << 17], input[1 << 16];
    char direction[16], name[512], padding[16], digest[32], mgf1[32], loaded[512] = "";
    EVP_PKEY *key = NULL;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        OSSL_PARAM params[4], *next = params;
        unsigned char output[2048];
        size_t length = sizeof(output), needed = 0;

        CHECK(sscanf(line, "%15s %511s %15s %31s %31s %65535s", direction, name, padding, digest, mgf1, input) == 6);
        int (*init)(EVP_PKEY_CTX *, const OSSL_PARAM *) =
            strcmp(direction, "encrypt") == 0 ? EVP_PKEY_encrypt_init_ex : EVP_PKEY_decrypt_init_ex;
        int (*run)(EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *, size_t) =
            strcmp(direction, "encrypt") == 0 ? EVP_PKEY_encrypt : EVP_PKEY_decrypt;
        struct bytes bytes = unhex(input);

        if (strcmp(loaded, name) != 0) {
            EVP_PKEY_free(key);
            key = name[0] == '/' ? read_key(name) : load_key(NULL, name, 0);
            strcpy(loaded, name);
        }
        if (strcmp(padding, "-") != 0)
            *next++ = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, padding, 0);
        if (strcmp(digest, "-") != 0)
            *next++ = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, digest, 0);
        if (strcmp(mgf1, "-") != 0)
            *next++ = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, mgf1, 0);
        *next = OSSL_PARAM_construct_end();
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

        CHECK(context != NULL);
        /* An input may be empty, but not absent. */
        const unsigned char *data = bytes.data != NULL ? bytes.data : (const unsigned char *)"";

        if (init(context, params) == 1 && run(context, NULL, &needed, data, bytes.length) == 1
            && run(context, output, &length, data, bytes.length) == 1) {
            CHECK(length <= needed);
            putchar('=');
            for (size_t i = 0; i < length; i++)
                printf("%02x", output[i]);
            putchar('\n');
        } else {
            puts(ERR_peek_error() != 0 ? "refused" : "refused without an error");
        }
        ERR_clear_error();
        fflush(stdout);
        EVP_PKEY_CTX_free(context);
        OPENSSL_free(bytes.data);
    }
    EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
    static char line[1 << 17], spki[1 << 15], message[1 << 16], signature[1 << 15];
    char padding[16], digest[32], salt[1024], mgf1[32], style[16];
    struct settings settings = {padding, digest, salt, mgf1, style};
    int verifying;

    CHECK(argc >= 3);
    verifying = strcmp(argv[1], "verify") == 0;
    OSSL_LIB_CTX *libctx = verifying ? OSSL_LIB_CTX_new() : NULL;
    EVP_PKEY *ours = NULL, *public_part = NULL, *software = NULL;

    if (strcmp(argv[1], "crypt") == 0) {
        load_providers(argv[2]);
        crypt_cases();
        return 0;
    }
    if (verifying) {
        char *names = strdup(argv[2]);

        for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ","))
            CHECK(OSSL_PROVIDER_load(libctx, name) != NULL);
        free(names);
    } else {
        CHECK(argc == 5);
        load_providers(argv[2]);
        ours = load_key(NULL, argv[3], 0);
        public_part = load_key(NULL, argv[3], OSSL_STORE_INFO_PUBKEY);
        software = read_key(argv[4]);
    }
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (verifying) {
            CHECK(sscanf(line, "%15s %31s %1023s %31s %15s %32767s %65535s %32767s", padding, digest, salt, mgf1, style,
                         spki, message, signature) == 8);
            struct bytes der = unhex(spki), text = unhex(message), given = unhex(signature);
            const unsigned char *next = der.data;
            EVP_PKEY *key;

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
            if (strcmp(padding, "ml-dsa") == 0)
                key = ml_dsa_key(libctx, digest, der);
            else
#endif
                key = d2i_PUBKEY_ex(NULL, &next, (long)der.length, libctx, NULL);
            if (key == NULL)
                ERR_clear_error();
            puts(key == NULL ? "no key" : verify(libctx, key, &settings, text, given) ? "1" : "0");
            EVP_PKEY_free(key);
            OPENSSL_free(der.data);
            OPENSSL_free(text.data);
            OPENSSL_free(given.data);
        } else {
            CHECK(sscanf(line, "%15s %31s %31s %31s %15s %65535s", padding, digest, salt, mgf1, style, message) == 6);
            struct bytes text = unhex(message);

            puts(compare(ours, software, public_part, &settings, text));
            OPENSSL_free(text.data);
        }
        fflush(stdout);
    }
    return 0;
}
