/*
 * Ordinary work with software keys of every type. Prints a line for each piece of work: what, of which key, and its outcome,
 * with nothing in it that differs from run to run. The lines must be the same whether our provider is there or not.
 *
 *   software_work default|own sample|all STEP...
 *
 * default, own: the library context. A STEP is load:NAME, fallback:NAME (OSSL_PROVIDER_try_load which keeps OpenSSL's own
 * providers as what is fallen back to), only:NAME (the same without), or config:FILE. A step that fails is said, too. write:FOLDER
 * keeps the keys that are made from then on; keys:FOLDER has those read instead of others made.
 */
#include "check.h"
#include <openssl/cms.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static OSSL_LIB_CTX *lib;
static const unsigned char MESSAGE[] = "a message of forty-eight bytes, no more and no less";

static void say(const char *key, const char *what, int ok)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(error);

    if (ok)
        printf("%s %s: done\n", key, what);
    else
        printf("%s %s: failed (%s)\n", key, what, reason != NULL ? reason : "no reason");
    ERR_clear_error();
}

/* Where keys are kept, and whether they are written there or read from there; NULL: neither. */
static const char *folder;
static int writes;

static BIO *file_of(const char *type, const char *group, const char *mode)
{
    char path[1000];

    snprintf(path, sizeof(path), "%s/%s-%s.pem", folder, type, group != NULL ? group : "");
    return BIO_new_file(path, mode);
}

static EVP_PKEY *read_key(const char *type, const char *group)
{
    BIO *file = file_of(type, group, "r");
    EVP_PKEY *key = file != NULL ? PEM_read_bio_PrivateKey_ex(file, NULL, NULL, NULL, lib, NULL) : NULL;

    BIO_free(file);
    return key;
}

static void write_key(EVP_PKEY *key, const char *type, const char *group)
{
    BIO *file = file_of(type, group, "w");

    CHECK(file != NULL && PEM_write_bio_PrivateKey_ex(file, key, NULL, NULL, 0, NULL, NULL, lib, NULL) == 1);
    BIO_free(file);
}

static EVP_PKEY *generate(const char *type, const char *group)
{
    EVP_PKEY *key = NULL, *domain = NULL;
    EVP_PKEY_CTX *context;

    if (folder != NULL && !writes)
        return read_key(type, group);
    context = EVP_PKEY_CTX_new_from_name(lib, type, NULL);
    if (context == NULL)
        return NULL;
    if (strcmp(type, "DSA") == 0) {
        if (EVP_PKEY_paramgen_init(context) > 0 && EVP_PKEY_CTX_set_dsa_paramgen_bits(context, 1024) > 0
            && EVP_PKEY_paramgen(context, &domain) > 0) {
            EVP_PKEY_CTX_free(context);
            context = EVP_PKEY_CTX_new_from_pkey(lib, domain, NULL);
            if (context == NULL || EVP_PKEY_keygen_init(context) <= 0 || EVP_PKEY_keygen(context, &key) <= 0)
                key = NULL;
        }
    } else if (EVP_PKEY_keygen_init(context) > 0
               && (group == NULL || EVP_PKEY_CTX_set_group_name(context, group) > 0)
               && EVP_PKEY_keygen(context, &key) <= 0) {
        key = NULL;
    }
    EVP_PKEY_free(domain);
    EVP_PKEY_CTX_free(context);
    if (key != NULL && writes)
        write_key(key, type, group);
    return key;
}

static void describe(const char *name, EVP_PKEY *key)
{
    char group[80] = "-";
    size_t length = 0;

    EVP_PKEY_get_group_name(key, group, sizeof(group), &length);
    printf("%s: %s, %d bits, security %d, size %d, group %s\n", name, EVP_PKEY_get0_type_name(key),
           EVP_PKEY_get_bits(key), EVP_PKEY_get_security_bits(key), EVP_PKEY_get_size(key), group);
    ERR_clear_error();
}

/* Out of one form and in again. */
static EVP_PKEY *through(EVP_PKEY *key, int selection, const char *format, const char *structure, const char *cipher)
{
    unsigned char *data = NULL;
    size_t length = 0;
    EVP_PKEY *copy = NULL;
    BIO *bio;
    OSSL_ENCODER_CTX *context = OSSL_ENCODER_CTX_new_for_pkey(key, selection, format, structure, NULL);

    /* Not every set of providers has ciphers. */
    if (context != NULL && cipher != NULL
        && (OSSL_ENCODER_CTX_set_cipher(context, cipher, NULL) != 1
            || OSSL_ENCODER_CTX_set_passphrase(context, (const unsigned char *)"word", 4) != 1)) {
        OSSL_ENCODER_CTX_free(context);
        context = NULL;
    }
    if (context != NULL && OSSL_ENCODER_to_data(context, &data, &length) == 1) {
        bio = BIO_new_mem_buf(data, (int)length);
        if (strcmp(format, "PEM") != 0)
            copy = selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? d2i_PrivateKey_ex_bio(bio, NULL, lib, NULL)
                                                               : NULL;
        else
            copy = selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY
                       ? PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, (void *)"word", lib, NULL)
                       : PEM_read_bio_PUBKEY_ex(bio, NULL, NULL, NULL, lib, NULL);
        BIO_free(bio);
    }
    OPENSSL_free(data);
    OSSL_ENCODER_CTX_free(context);
    return copy;
}

static void copies(const char *name, EVP_PKEY *key)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *copy = NULL;
    EVP_PKEY_CTX *context;

    copy = through(key, EVP_PKEY_KEYPAIR, "PEM", "PrivateKeyInfo", NULL);
    say(name, "PKCS#8", copy != NULL && EVP_PKEY_eq(key, copy) == 1);
    EVP_PKEY_free(copy);
    copy = through(key, EVP_PKEY_KEYPAIR, "PEM", "EncryptedPrivateKeyInfo", "AES-256-CBC");
    say(name, "encrypted PKCS#8", copy != NULL && EVP_PKEY_eq(key, copy) == 1);
    EVP_PKEY_free(copy);
    copy = through(key, EVP_PKEY_KEYPAIR, "DER", "type-specific", NULL);
    say(name, "its own DER", copy != NULL && EVP_PKEY_eq(key, copy) == 1);
    EVP_PKEY_free(copy);
    copy = EVP_PKEY_dup(key);
    say(name, "dup", copy != NULL && EVP_PKEY_eq(key, copy) == 1);
    EVP_PKEY_free(copy);
    copy = NULL;
    if (EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) == 1) {
        context = EVP_PKEY_CTX_new_from_name(lib, EVP_PKEY_get0_type_name(key), NULL);
        if (context == NULL || EVP_PKEY_fromdata_init(context) <= 0
            || EVP_PKEY_fromdata(context, &copy, EVP_PKEY_KEYPAIR, params) <= 0)
            copy = NULL;
        EVP_PKEY_CTX_free(context);
    }
    say(name, "todata, fromdata", copy != NULL && EVP_PKEY_eq(key, copy) == 1);
    EVP_PKEY_free(copy);
    OSSL_PARAM_free(params);
    context = EVP_PKEY_CTX_new_from_pkey(lib, key, NULL);
    say(name, "check", context != NULL && EVP_PKEY_check(context) == 1);
    say(name, "public check", context != NULL && EVP_PKEY_public_check(context) == 1);
    EVP_PKEY_CTX_free(context);
}

static void print(const char *name, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char line[200];
    int ok = EVP_PKEY_print_private(bio, key, 0, NULL) == 1;

    /* Where no provider writes texts, the line has the name of the algorithm as libcrypto has it, or <NULL>. */
    if (BIO_gets(bio, line, sizeof(line)) > 0)
        printf("%s text: %s", name, strstr(line, "unsupported") != NULL ? "unsupported\n" : line);
    say(name, "text", ok);
    BIO_free(bio);
}

static int sign_with(EVP_PKEY *key, EVP_PKEY *public_key, const char *digest, const OSSL_PARAM *params)
{
    unsigned char *signature = NULL;
    size_t length = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = EVP_DigestSignInit_ex(context, NULL, digest, lib, NULL, key, params) == 1
             && EVP_DigestSign(context, NULL, &length, MESSAGE, sizeof(MESSAGE)) == 1
             && (signature = OPENSSL_malloc(length)) != NULL
             && EVP_DigestSign(context, signature, &length, MESSAGE, sizeof(MESSAGE)) == 1;

    EVP_MD_CTX_free(context);
    if (ok) {
        context = EVP_MD_CTX_new();
        ok = EVP_DigestVerifyInit_ex(context, NULL, digest, lib, NULL, public_key, params) == 1
             && EVP_DigestVerify(context, signature, length, MESSAGE, sizeof(MESSAGE)) == 1;
        if (ok) {
            signature[length / 2] ^= 1;
            ok = EVP_MD_CTX_reset(context) == 1
                 && EVP_DigestVerifyInit_ex(context, NULL, digest, lib, NULL, public_key, params) == 1
                 && EVP_DigestVerify(context, signature, length, MESSAGE, sizeof(MESSAGE)) != 1;
        }
        EVP_MD_CTX_free(context);
    }
    OPENSSL_free(signature);
    return ok;
}

static int verify_with(EVP_PKEY *public_key, const char *digest, const unsigned char *signature, size_t length, const char *of)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = EVP_DigestVerifyInit_ex(context, NULL, digest, lib, NULL, public_key, NULL) == 1
             && EVP_DigestVerify(context, signature, length, (const unsigned char *)of, strlen(of)) == 1;

    EVP_MD_CTX_free(context);
    return ok;
}

/* Two messages one after the other with one context: whatever comes of it, no signature is taken for another message's. */
static void twice(const char *name, EVP_PKEY *key, EVP_PKEY *public_key, const char *digest)
{
    const char *of[] = { "abcd", "wxyz", "abcdwxyz", "" };
    unsigned char first[1024], second[1024];
    size_t length = sizeof(first), second_length = sizeof(second);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int once = EVP_DigestSignInit_ex(context, NULL, digest, lib, NULL, key, NULL) == 1
               && EVP_DigestSign(context, first, &length, (const unsigned char *)"abcd", 4) == 1;

    say(name, "a message that is the first", once);
    if (once) {
        int again = EVP_DigestSign(context, second, &second_length, (const unsigned char *)"wxyz", 4);

        say(name, "a message that is the second", again == 1);
        for (size_t i = 0; again == 1 && i < sizeof(of) / sizeof(*of); i++)
            printf("%s twice with %s: of '%s': %d\n", name, digest, of[i],
                   verify_with(public_key, digest, second, second_length, of[i]));
        EVP_MD_CTX_free(context);
        context = EVP_MD_CTX_new();
        EVP_DigestVerifyInit_ex(context, NULL, digest, lib, NULL, public_key, NULL);
        for (int i = 0; i < 3; i++)
            printf("%s verified with %s: %d\n", name, digest,
                   EVP_DigestVerify(context, first, length, (const unsigned char *)(i == 0 ? "abcd" : "zzzz"), 4) == 1);
    }
    EVP_MD_CTX_free(context);
    ERR_clear_error();
}

/* What was signed, out of the signature: RSA can do that, by a digest that is named as well. For SM2's curve: docs/algorithms.md. */
static void recover(const char *name, EVP_PKEY *key, EVP_PKEY *public_key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(lib, public_key, NULL);

    (void)key;
    printf("%s recovery: %d\n", name, EVP_PKEY_verify_recover_init(context));
    say(name, "recovery", ERR_peek_error() == 0);
    EVP_PKEY_CTX_free(context);
#if OPENSSL_VERSION_NUMBER >= 0x30400000L
    unsigned char signature[1024], recovered[1024], digest[32] = { 3 };
    size_t length = sizeof(signature), recovered_length = sizeof(recovered);
    EVP_SIGNATURE *by = EVP_SIGNATURE_fetch(lib, EVP_PKEY_is_a(key, "RSA") ? "RSA-SHA256" : "ECDSA-SHA256", NULL);
    EVP_PKEY_CTX *signing = EVP_PKEY_CTX_new_from_pkey(lib, key, NULL);
    int signs = by != NULL && strcmp(name, "EC SM2") != 0 && EVP_PKEY_sign_init_ex2(signing, by, NULL) == 1
        && EVP_PKEY_sign(signing, signature, &length, digest, sizeof(digest)) == 1;

    printf("%s signs by name: %d\n", name, signs);
    context = EVP_PKEY_CTX_new_from_pkey(lib, public_key, NULL);
    if (signs) {
        int outcome = EVP_PKEY_verify_recover_init_ex2(context, by, NULL);

        printf("%s recovery by name: %d\n", name, outcome);
        if (outcome == 1)
            printf("%s recovered: %d, %d\n", name,
                   EVP_PKEY_verify_recover(context, recovered, &recovered_length, signature, length),
                   recovered_length == sizeof(digest) && memcmp(recovered, digest, sizeof(digest)) == 0);
    }
    say(name, "recovery by name", !signs || ERR_peek_error() == 0);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_CTX_free(signing);
    EVP_SIGNATURE_free(by);
#endif
}

static void signatures(const char *name, EVP_PKEY *key, EVP_PKEY *public_key)
{
    const char *digests[] = { NULL, "SHA1", "SHA224", "SHA256", "SHA512", "SHA3-256", "MD5", "SM3" };
    OSSL_PARAM id[] = { OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_DIST_ID, "someone@example", 15), OSSL_PARAM_END };
    OSSL_PARAM pss[] = { OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_PAD_MODE, "pss", 3), OSSL_PARAM_END };
    char what[40];

    for (size_t i = 0; i < sizeof(digests) / sizeof(*digests); i++) {
        snprintf(what, sizeof(what), "sign with %s", digests[i] != NULL ? digests[i] : "no digest");
        say(name, what, sign_with(key, public_key, digests[i], NULL));
    }
    twice(name, key, public_key, "SHA256");
    twice(name, key, public_key, "BLAKE2B-512");
    if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "EC"))
        recover(name, key, public_key);
    if (EVP_PKEY_is_a(key, "SM2"))
        say(name, "sign with an id", sign_with(key, public_key, "SM3", id));
    if (EVP_PKEY_is_a(key, "RSA"))
        say(name, "sign by PSS", sign_with(key, public_key, "SHA384", pss));
}

static int derive(EVP_PKEY *key, EVP_PKEY *peer)
{
    unsigned char secret[1024];
    size_t length = sizeof(secret);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(lib, key, NULL);
    int ok = context != NULL && EVP_PKEY_derive_init(context) > 0 && EVP_PKEY_derive_set_peer(context, peer) > 0
             && EVP_PKEY_derive(context, secret, &length) > 0;

    EVP_PKEY_CTX_free(context);
    return ok;
}

static int encrypt(EVP_PKEY *key, EVP_PKEY *public_key, int padding)
{
    unsigned char sealed[1024], opened[1024];
    size_t sealed_length = sizeof(sealed), length = sizeof(opened);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(lib, public_key, NULL);
    int ok = context != NULL && EVP_PKEY_encrypt_init(context) > 0
             && (padding == 0 || EVP_PKEY_CTX_set_rsa_padding(context, padding) > 0)
             && EVP_PKEY_encrypt(context, sealed, &sealed_length, MESSAGE, sizeof(MESSAGE)) > 0;

    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new_from_pkey(lib, key, NULL);
    ok = ok && context != NULL && EVP_PKEY_decrypt_init(context) > 0
         && (padding == 0 || EVP_PKEY_CTX_set_rsa_padding(context, padding) > 0)
         && EVP_PKEY_decrypt(context, opened, &length, sealed, sealed_length) > 0 && length == sizeof(MESSAGE)
         && memcmp(opened, MESSAGE, length) == 0;
    EVP_PKEY_CTX_free(context);
    return ok;
}

static int encapsulate(EVP_PKEY *key, EVP_PKEY *public_key)
{
    unsigned char wrapped[4096], one[1024], two[1024];
    size_t wrapped_length = sizeof(wrapped), one_length = sizeof(one), two_length = sizeof(two);
    int is_rsa = EVP_PKEY_is_a(key, "RSA");
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(lib, public_key, NULL);
    int ok = context != NULL && EVP_PKEY_encapsulate_init(context, NULL) > 0
             && (!is_rsa || EVP_PKEY_CTX_set_kem_op(context, "RSASVE") > 0)
             && EVP_PKEY_encapsulate(context, wrapped, &wrapped_length, one, &one_length) > 0;

    EVP_PKEY_CTX_free(context);
    context = EVP_PKEY_CTX_new_from_pkey(lib, key, NULL);
    ok = ok && context != NULL && EVP_PKEY_decapsulate_init(context, NULL) > 0
         && (!is_rsa || EVP_PKEY_CTX_set_kem_op(context, "RSASVE") > 0)
         && EVP_PKEY_decapsulate(context, two, &two_length, wrapped, wrapped_length) > 0 && one_length == two_length
         && memcmp(one, two, one_length) == 0;
    EVP_PKEY_CTX_free(context);
    return ok;
}

static X509 *certify(EVP_PKEY *key, const EVP_MD *digest)
{
    X509 *certificate = X509_new_ex(lib, NULL);
    X509_NAME *subject = X509_NAME_new();

    CHECK(certificate != NULL && subject != NULL);
    CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0) == 1);
    CHECK(X509_set_version(certificate, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1);
    CHECK(X509_gmtime_adj(X509_getm_notBefore(certificate), -60) != NULL);
    CHECK(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL);
    CHECK(X509_set_subject_name(certificate, subject) == 1 && X509_set_issuer_name(certificate, subject) == 1);
    X509_NAME_free(subject);
    if (X509_set_pubkey(certificate, key) != 1 || X509_sign(certificate, key, digest) <= 0) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

static void handshake(const char *name, EVP_PKEY *key, X509 *certificate, const char *groups, int version)
{
    SSL_CTX *server = SSL_CTX_new_ex(lib, NULL, TLS_server_method());
    SSL_CTX *client = SSL_CTX_new_ex(lib, NULL, TLS_client_method());
    SSL *s = NULL, *c = NULL;
    BIO *a = NULL, *b = NULL;
    char what[80];
    int ok = server != NULL && client != NULL && SSL_CTX_use_certificate(server, certificate) == 1
             && SSL_CTX_use_PrivateKey(server, key) == 1 && SSL_CTX_check_private_key(server) == 1
             && SSL_CTX_set1_groups_list(server, groups) == 1 && SSL_CTX_set1_groups_list(client, groups) == 1
             && SSL_CTX_set_max_proto_version(client, version) == 1;

    if (ok) {
        s = SSL_new(server);
        c = SSL_new(client);
        CHECK(s != NULL && c != NULL && BIO_new_bio_pair(&a, 0, &b, 0) == 1);
        SSL_set_bio(s, a, a);
        SSL_set_bio(c, b, b);
        SSL_set_accept_state(s);
        SSL_set_connect_state(c);
        for (int round = 0; round < 20; round++) {
            SSL_do_handshake(c);
            SSL_do_handshake(s);
        }
        ok = SSL_is_init_finished(c) && SSL_is_init_finished(s);
        if (ok) {
            char buffer[sizeof(MESSAGE)];

            ok = SSL_write(c, MESSAGE, sizeof(MESSAGE)) == (int)sizeof(MESSAGE)
                 && SSL_read(s, buffer, sizeof(buffer)) == (int)sizeof(MESSAGE);
        }
    }
    snprintf(what, sizeof(what), "TLS %s by %s", version == TLS1_2_VERSION ? "1.2" : "1.3", groups);
    say(name, what, ok);
    SSL_free(s);
    SSL_free(c);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void certificates(const char *name, EVP_PKEY *key)
{
    const char *groups[] = { "P-256", "P-384", "P-521", "X25519", "X448", "ffdhe2048", "brainpoolP256r1", "secp256k1",
                             "X25519MLKEM768", "SecP256r1MLKEM768", "MLKEM768", "brainpoolP256r1tls13",
                             "P-256:X25519:P-384" };
    int needs_none = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") || EVP_PKEY_is_a(key, "ML-DSA-44");
    EVP_MD *digest = needs_none ? NULL : EVP_MD_fetch(lib, EVP_PKEY_is_a(key, "SM2") ? "SM3" : "SHA256", NULL);
    X509 *certificate = certify(key, digest);
    STACK_OF(X509) *recipients = sk_X509_new_null();
    BIO *in = BIO_new_mem_buf(MESSAGE, sizeof(MESSAGE)), *out = BIO_new(BIO_s_mem());
    /* Our own ciphers, which know no software keys, are no reason for a handshake. */
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(lib, "AES-128-CBC", NULL), *software = EVP_CIPHER_fetch(lib, "AES-128-CTR", NULL);
    CMS_ContentInfo *cms;
    EVP_PKEY *found = NULL;

    say(name, "certificate", certificate != NULL);
    EVP_MD_free(digest);
    if (certificate != NULL) {
        say(name, "certificate's signature", X509_verify(certificate, X509_get0_pubkey(certificate)) == 1);
        say(name, "certificate's key", X509_check_private_key(certificate, key) == 1);
        CHECK(sk_X509_push(recipients, certificate) > 0);
        cms = cipher == NULL ? NULL : CMS_encrypt_ex(recipients, in, cipher, CMS_BINARY, lib, NULL);
        say(name, "CMS encryption", cms != NULL && CMS_decrypt(cms, key, certificate, NULL, out, CMS_BINARY) == 1);
        CMS_ContentInfo_free(cms);
        (void)BIO_reset(in);
        cms = CMS_sign_ex(certificate, key, NULL, in, CMS_BINARY, lib, NULL);
        say(name, "CMS signature",
            cms != NULL && CMS_verify(cms, recipients, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1);
        CMS_ContentInfo_free(cms);
        for (int old = 0; old < 2; old++) {
            int algorithm = old ? NID_pbe_WithSHA1And40BitRC2_CBC : 0;
            PKCS12 *bundle = PKCS12_create_ex("word", "x", key, certificate, NULL, algorithm, algorithm, 0, 0, 0, lib, NULL);
            say(name, old ? "PKCS#12 of old" : "PKCS#12",
                bundle != NULL && PKCS12_parse(bundle, "word", &found, NULL, NULL) == 1 && EVP_PKEY_eq(found, key) == 1);
            PKCS12_free(bundle);
            EVP_PKEY_free(found);
            found = NULL;
        }
        for (size_t i = 0; software != NULL && i < sizeof(groups) / sizeof(*groups); i++) {
            handshake(name, key, certificate, groups[i], TLS1_3_VERSION);
            handshake(name, key, certificate, groups[i], TLS1_2_VERSION);
        }
    }
    EVP_CIPHER_free(software);
    EVP_CIPHER_free(cipher);
    BIO_free(in);
    BIO_free(out);
    sk_X509_free(recipients);
    X509_free(certificate);
}

static void work(const char *type, const char *group, int with_certificates)
{
    char name[100];
    EVP_PKEY *key = generate(type, group), *public_key, *peer;

    snprintf(name, sizeof(name), "%s%s%s", type, group != NULL ? " " : "", group != NULL ? group : "");
    say(name, "generation", key != NULL);
    if (key == NULL)
        return;
    describe(name, key);
    copies(name, key);
    print(name, key);
    public_key = through(key, EVP_PKEY_PUBLIC_KEY, "PEM", "SubjectPublicKeyInfo", NULL);
    say(name, "public key", public_key != NULL && EVP_PKEY_eq(key, public_key) == 1);
    /* Without a provider that writes keys. */
    if (public_key == NULL)
        public_key = EVP_PKEY_dup(key);
    ERR_clear_error();
    if (public_key != NULL) {
        signatures(name, key, public_key);
        say(name, "encryption by default", encrypt(key, public_key, 0));
        say(name, "encryption by OAEP", encrypt(key, public_key, RSA_PKCS1_OAEP_PADDING));
        say(name, "encapsulation", encapsulate(key, public_key));
        /* No provider's EC keys on SM2's curve come into another's: docs/algorithms.md has it. */
        if (strncmp(type, "RSA", 3) != 0 && (group == NULL || strcmp(type, "EC") != 0 || strcmp(group, "SM2") != 0)) {
            peer = generate(type, group);
            say(name, "derivation", peer != NULL && derive(key, peer) && derive(key, public_key));
            EVP_PKEY_free(peer);
        }
    }
    if (with_certificates)
        certificates(name, key);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
}

/* The symmetric algorithms that a provider may have a hand in. */
static void ciphers(void)
{
    const char *names[] = { "AES-128-CBC", "AES-256-GCM", "AES-192-WRAP", "AES-256-WRAP-PAD", "AES-128-CTR", "CHACHA20-POLY1305" };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        unsigned char key[32] = { 1 }, iv[16] = { 2 }, sealed[128] = { 0 };
        int length = 0, rest = 0;
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(lib, names[i], NULL);
        int ok;

        EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        ok = cipher != NULL && EVP_EncryptInit_ex2(context, cipher, key, iv, NULL) == 1
             && EVP_EncryptUpdate(context, sealed, &length, MESSAGE, 48) == 1
             && EVP_EncryptFinal_ex(context, sealed + length, &rest) == 1;
        printf("%s: %d bytes, %02x%02x%02x%02x, mode %d, block %d\n", names[i], length + rest, sealed[0], sealed[1],
               sealed[2], sealed[3], cipher != NULL ? EVP_CIPHER_get_mode(cipher) : -1,
               cipher != NULL ? EVP_CIPHER_get_block_size(cipher) : -1);
        say(names[i], "encryption", ok);
        if (cipher != NULL) {
            /* What CMS does with a content key of another length depends on the answer. */
            EVP_CIPHER_CTX_reset(context);
            EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
            EVP_DecryptInit_ex2(context, cipher, NULL, NULL, NULL);
            printf("%s: flags %lx, keys of 8 and 16 bytes: %d %d\n", names[i], (unsigned long)EVP_CIPHER_get_flags(cipher),
                   EVP_CIPHER_CTX_set_key_length(context, 8), EVP_CIPHER_CTX_set_key_length(context, 16));
            say(names[i], "lengths", ERR_peek_error() == 0);
            EVP_CIPHER_CTX_reset(context);
            EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
            EVP_EncryptInit_ex2(context, cipher, key, iv, NULL);
            printf("%s: at once %d, %02x%02x\n", names[i], EVP_Cipher(context, sealed, MESSAGE, 48), sealed[0], sealed[1]);
            say(names[i], "at once", ERR_peek_error() == 0);
        }
        EVP_CIPHER_free(cipher);
        EVP_CIPHER_CTX_free(context);
    }
}

static void step(const char *what)
{
    const char *name = strchr(what, ':') + 1;
    int stands_for_ours = strcmp(name, "akv_provider") == 0 || strcmp(name, "null") == 0;
    int ok = 0;

    if (strncmp(what, "write:", 6) == 0 || strncmp(what, "keys:", 5) == 0) {
        folder = name;
        writes = what[0] == 'w';
        return;
    }
    if (strncmp(what, "load:", 5) == 0)
        ok = OSSL_PROVIDER_load(lib, name) != NULL;
    else if (strncmp(what, "fallback:", 9) == 0)
        ok = OSSL_PROVIDER_try_load(lib, name, 1) != NULL;
    else if (strncmp(what, "only:", 5) == 0)
        ok = OSSL_PROVIDER_try_load(lib, name, 0) != NULL;
    else if (strncmp(what, "config:", 7) == 0)
        ok = OSSL_LIB_CTX_load_config(lib, name) == 1;
    /* That our provider loads is not what is compared. */
    CHECK(!stands_for_ours || ok);
    if (!stands_for_ours && strncmp(what, "config:", 7) != 0)
        say(name, "loading", ok);
}

int main(int argc, char **argv)
{
    const char *curves[] = { "P-256", "P-224", "P-384", "P-521", "secp256k1", "brainpoolP256r1", "prime239v1", "sect163k1" };
    const char *types[] = { "RSA-PSS", "SM2", "ED25519", "ED448", "X25519", "X448", "ML-DSA-44", "ML-KEM-768" };

    CHECK(argc > 2);
    if (strcmp(argv[1], "own") == 0)
        CHECK((lib = OSSL_LIB_CTX_new()) != NULL);
    for (int i = 3; i < argc; i++)
        step(argv[i]);
    work("RSA", NULL, 1);
    for (size_t i = 0; i < sizeof(curves) / sizeof(*curves); i++)
        work("EC", curves[i], i == 0);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        work(types[i], NULL, i < 4);
    work("DH", "ffdhe2048", 0);
    ciphers();
    if (strcmp(argv[2], "all") == 0) {
        size_t count = EC_get_builtin_curves(NULL, 0);
        EC_builtin_curve *all = OPENSSL_zalloc(count * sizeof(*all));

        CHECK(all != NULL && EC_get_builtin_curves(all, count) == count);
        work("DSA", NULL, 0);
        work("SLH-DSA-SHA2-128f", NULL, 0);
        for (size_t i = 0; i < count; i++)
            work("EC", OBJ_nid2sn(all[i].nid), 0);
        OPENSSL_free(all);
    }
    return 0;
}
