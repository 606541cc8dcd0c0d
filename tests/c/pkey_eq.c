/* pkey_eq URI CERTIFICATE PUBLIC-KEY OTHER-URI ORDER PROPERTIES: compares, duplicates and asks a key in the HSM, and
 * uses contexts again. ORDER: providers, parted by a comma. PROPERTIES: the default property query. */
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include "check.h"

static const unsigned char message[] = "a message to sign";

static EVP_PKEY *read_public_key(const char *file)
{
    BIO *bio = BIO_new_file(file, "r");
    EVP_PKEY *key;

    CHECK(bio != NULL);
    CHECK((key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL)) != NULL);
    BIO_free(bio);
    return key;
}

static X509 *read_certificate(const char *file)
{
    BIO *bio = BIO_new_file(file, "r");
    X509 *certificate;

    CHECK(bio != NULL);
    CHECK((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL);
    BIO_free(bio);
    return certificate;
}

static void compare(EVP_PKEY *key, const char *uri, EVP_PKEY *public_key, X509 *certificate,
                    const char *other_uri)
{
    EVP_PKEY *again = load_key(NULL, uri, 0);
    EVP_PKEY *as_public = load_key(NULL, uri, OSSL_STORE_INFO_PUBKEY);
    EVP_PKEY *other = load_key(NULL, other_uri, 0);
    EVP_PKEY *copy = public_copy(NULL, key);
    EVP_PKEY *of_certificate = X509_get0_pubkey(certificate);

    CHECK(EVP_PKEY_eq(key, again) == 1);
    CHECK(EVP_PKEY_eq(key, as_public) == 1);
    CHECK(EVP_PKEY_eq(key, public_key) == 1);
    CHECK(EVP_PKEY_eq(public_key, key) == 1);
    CHECK(EVP_PKEY_eq(key, of_certificate) == 1);
    CHECK(EVP_PKEY_eq(of_certificate, key) == 1);
    CHECK(EVP_PKEY_eq(key, copy) == 1 && EVP_PKEY_eq(copy, key) == 1);
    CHECK(EVP_PKEY_eq(key, other) != 1);
    CHECK(EVP_PKEY_eq(other, public_key) != 1);
    CHECK(X509_check_private_key(certificate, key) == 1);
    ERR_clear_error();
    CHECK(X509_check_private_key(certificate, other) != 1);
    ERR_clear_error();
    EVP_PKEY_free(copy);
    EVP_PKEY_free(other);
    EVP_PKEY_free(as_public);
    EVP_PKEY_free(again);
}

static void ask_for_number(EVP_PKEY *key, EVP_PKEY *model, const char *name)
{
    BIGNUM *number = NULL, *model_number = NULL;

    CHECK(EVP_PKEY_get_bn_param(key, name, &number) == 1);
    CHECK(EVP_PKEY_get_bn_param(model, name, &model_number) == 1);
    CHECK(BN_cmp(number, model_number) == 0);
    BN_free(number);
    BN_free(model_number);
}

/* What is asked of a key has the answers of the default provider's key. */
static void ask(EVP_PKEY *key, EVP_PKEY *model)
{
    char group[64] = "", model_group[64] = "", digest[64] = "";
    size_t length = 0;
    int nid = 0;

    CHECK(EVP_PKEY_get_base_id(key) == EVP_PKEY_get_base_id(model));
    CHECK(EVP_PKEY_get_bits(key) == EVP_PKEY_get_bits(model));
    CHECK(EVP_PKEY_get_security_bits(key) == EVP_PKEY_get_security_bits(model));
    CHECK(EVP_PKEY_get_size(key) == EVP_PKEY_get_size(model));
    CHECK(EVP_PKEY_get_default_digest_name(key, digest, sizeof(digest)) >= 1);
    CHECK(strcasecmp(digest, "SHA256") == 0 || strcasecmp(digest, "SHA2-256") == 0);
    CHECK(EVP_PKEY_get_default_digest_nid(key, &nid) >= 1 && nid == NID_sha256);
    if (EVP_PKEY_is_a(model, "EC")) {
        unsigned char *point = NULL, *model_point = NULL;
        size_t model_length;

        CHECK(EVP_PKEY_is_a(key, "EC") && !EVP_PKEY_is_a(key, "RSA"));
        CHECK(EVP_PKEY_get_group_name(key, group, sizeof(group), &length) == 1);
        CHECK(length == strlen(group));
        CHECK(EVP_PKEY_get_group_name(model, model_group, sizeof(model_group), NULL) == 1);
        CHECK(strcmp(group, model_group) == 0);
        CHECK(EVP_PKEY_get_ec_point_conv_form(key) == EVP_PKEY_get_ec_point_conv_form(model));
        length = EVP_PKEY_get1_encoded_public_key(key, &point);
        model_length = EVP_PKEY_get1_encoded_public_key(model, &model_point);
        CHECK(length == model_length && memcmp(point, model_point, length) == 0);
        OPENSSL_free(point);
        OPENSSL_free(model_point);
        ask_for_number(key, model, OSSL_PKEY_PARAM_EC_ORDER);
        ask_for_number(key, model, OSSL_PKEY_PARAM_EC_COFACTOR);
    } else {
        CHECK(EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC"));
        ask_for_number(key, model, OSSL_PKEY_PARAM_RSA_N);
    }
}

/* Parameter lists with places that are absent or too small: sizes are told, nothing is written past an end. */
static void ask_for_sizes(EVP_PKEY *key)
{
    int bits = 0;
    OSSL_PARAM params[3];

    params[0] = OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_BITS, &bits);
    params[1] = OSSL_PARAM_construct_int("no-such-parameter", &bits);
    params[2] = OSSL_PARAM_construct_end();
    CHECK(EVP_PKEY_get_params(key, params) == 1);
    CHECK(OSSL_PARAM_modified(&params[0]) && params[0].return_size == sizeof(int));
    CHECK(!OSSL_PARAM_modified(&params[1]));
    CHECK(bits == EVP_PKEY_get_bits(key));
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0);
    params[1] = OSSL_PARAM_construct_end();
    if (EVP_PKEY_is_a(key, "EC")) {
        CHECK(EVP_PKEY_get_params(key, params) == 1);
        CHECK(params[0].return_size == 65);
    }
    params[0] = OSSL_PARAM_construct_int("no-such-parameter", &bits);
    EVP_PKEY_set_params(key, params); /* whatever it answers, it returns */
    ERR_clear_error();
}

static void private_parts_stay(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    OSSL_PARAM *params = NULL;

    CHECK(i2d_PrivateKey(key, &der) <= 0);
    CHECK(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) != 1);
    CHECK(params == NULL);
    CHECK(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params) == 1);
    OSSL_PARAM_free(params);
    ERR_clear_error();
}

static void check_signature(EVP_PKEY *public_key, const char *digest, int padding,
                            const unsigned char *signature, size_t length)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings;

    CHECK(EVP_DigestVerifyInit_ex(context, &settings, digest, NULL, "provider=default", public_key,
                                  NULL) == 1);
    if (padding != 0)
        CHECK(EVP_PKEY_CTX_set_rsa_padding(settings, padding) == 1);
    CHECK(EVP_DigestVerify(context, signature, length, message, sizeof(message)) == 1);
    EVP_MD_CTX_free(context);
}

/* One context: pieces, a copy half-way, and again with the key it has. */
static void contexts(EVP_PKEY *key, EVP_PKEY *public_key)
{
    unsigned char signature[1024];
    size_t length = sizeof(signature), small = 1;
    EVP_MD_CTX *context = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;
    EVP_PKEY *dup = EVP_PKEY_dup(key);

    CHECK(dup != NULL && EVP_PKEY_eq(dup, key) == 1);
    CHECK(EVP_DigestSignInit_ex(context, &settings, "SHA384", NULL, NULL, dup, NULL) == 1);
    EVP_PKEY_free(dup);
    CHECK(EVP_DigestSignUpdate(context, message, 5) == 1);
    CHECK(EVP_MD_CTX_copy_ex(copy, context) == 1);
    CHECK(EVP_DigestSignUpdate(context, message + 5, sizeof(message) - 5) == 1);
    CHECK(EVP_DigestSignUpdate(copy, message + 5, sizeof(message) - 5) == 1);
    CHECK(EVP_DigestSignFinal(context, NULL, &length) == 1);
    CHECK(EVP_DigestSignFinal(context, signature, &length) == 1);
    check_signature(public_key, "SHA384", 0, signature, length);
    length = sizeof(signature);
    CHECK(EVP_DigestSignFinal(copy, signature, &length) == 1);
    check_signature(public_key, "SHA384", 0, signature, length);
    EVP_MD_CTX_free(copy);
    EVP_MD_CTX_free(context);

    /* A NULL key means the context's own (OpenSSL 3.0 documents it for EVP_DigestSignInit). */
    context = EVP_MD_CTX_new();
    CHECK(EVP_DigestSignInit_ex(context, &settings, "SHA256", NULL, NULL, key, NULL) == 1);
    for (int i = 0; i < 2; i++) {
        length = sizeof(signature);
        CHECK(EVP_DigestSign(context, signature, &length, message, sizeof(message)) == 1);
        check_signature(public_key, "SHA256", 0, signature, length);
        CHECK(EVP_DigestSignInit_ex(context, &settings, "SHA256", NULL, NULL, NULL, NULL) == 1);
    }
    CHECK(EVP_DigestSign(context, signature, &small, message, sizeof(message)) != 1);
    ERR_clear_error();
    EVP_MD_CTX_free(context);
}

static void rsa_settings(EVP_PKEY *key, EVP_PKEY *public_key)
{
    unsigned char signature[1024];
    size_t length = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;
    const EVP_MD *md = NULL;
    int padding = 0, salt = 0;

    CHECK(EVP_DigestSignInit_ex(context, &settings, "SHA256", NULL, NULL, key, NULL) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_padding(settings, &padding) > 0 && padding == RSA_PKCS1_PADDING);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_padding(settings, &padding) > 0 && padding == RSA_PKCS1_PSS_PADDING);
    CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_pss_saltlen(settings, &salt) > 0 && salt == RSA_PSS_SALTLEN_DIGEST);
    CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, 32) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_pss_saltlen(settings, &salt) > 0 && salt == 32);
    CHECK(EVP_PKEY_CTX_set_rsa_mgf1_md(settings, EVP_sha256()) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_mgf1_md(settings, &md) > 0 && EVP_MD_is_a(md, "SHA256"));
    CHECK(EVP_PKEY_CTX_get_signature_md(settings, &md) > 0 && EVP_MD_is_a(md, "SHA256"));
    CHECK(EVP_DigestSign(context, signature, &length, message, sizeof(message)) == 1);
    check_signature(public_key, "SHA256", RSA_PKCS1_PSS_PADDING, signature, length);
    CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, 20) != 1);
    ERR_clear_error();
    /* A new start with the same key is one with the padding of the beginning. */
    CHECK(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, NULL) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_padding(settings, &padding) > 0 && padding == RSA_PKCS1_PADDING);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_NO_PADDING) != 1);
    ERR_clear_error();
    EVP_MD_CTX_free(context);

    /* RSA key exchange through a remote service would be a padding oracle. */
    settings = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    CHECK(settings != NULL && EVP_PKEY_decrypt_init(settings) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_WITH_TLS_PADDING) != 1);
    ERR_clear_error();
    CHECK(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_OAEP_PADDING) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_padding(settings, &padding) > 0 && padding == RSA_PKCS1_OAEP_PADDING);
    CHECK(EVP_PKEY_CTX_set_rsa_oaep_md(settings, EVP_sha256()) == 1);
    CHECK(EVP_PKEY_CTX_get_rsa_oaep_md(settings, &md) > 0 && EVP_MD_is_a(md, "SHA256"));
    CHECK(EVP_PKEY_CTX_get_rsa_mgf1_md(settings, &md) > 0 && EVP_MD_is_a(md, "SHA256"));
    CHECK(EVP_PKEY_CTX_set_rsa_oaep_md(settings, EVP_sha512()) == 1);
    CHECK(EVP_PKEY_decrypt(settings, signature, &length, message, sizeof(message)) != 1);
    ERR_clear_error();
    EVP_PKEY_CTX_free(settings);
}

static void ssl_takes_the_key(EVP_PKEY *key, X509 *certificate)
{
    SSL_CTX *ssl = SSL_CTX_new_ex(NULL, NULL, TLS_server_method());

    CHECK(ssl != NULL);
    CHECK(SSL_CTX_use_certificate(ssl, certificate) == 1);
    CHECK(SSL_CTX_use_PrivateKey(ssl, key) == 1);
    CHECK(SSL_CTX_check_private_key(ssl) == 1);
    SSL_CTX_free(ssl);
}

int main(int argc, char **argv)
{
    EVP_PKEY *key, *public_key, *public_copy_;
    X509 *certificate;

    CHECK(argc == 7);
    alarm(60);
    load_providers(argv[5]);
    if (argv[6][0] != '\0')
        CHECK(EVP_set_default_properties(NULL, argv[6]) == 1);
    key = load_key(NULL, argv[1], 0);
    public_key = read_public_key(argv[3]);
    public_copy_ = public_copy(NULL, key);
    certificate = read_certificate(argv[2]);

    compare(key, argv[1], public_key, certificate, argv[4]);
    ask(key, public_copy_);
    ask_for_sizes(key);
    private_parts_stay(key);
    contexts(key, public_copy_);
    if (EVP_PKEY_is_a(key, "RSA"))
        rsa_settings(key, public_copy_);
    ssl_takes_the_key(key, certificate);

    X509_free(certificate);
    EVP_PKEY_free(public_copy_);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    return 0;
}
