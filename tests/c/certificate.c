/* certificate ORDER URI…: has a key in the HSM issue certificates in this process, for itself and for a software key, and verifies
 * the chain with what is in memory. ORDER: the providers, separated by commas. */
#include "check.h"

#include <openssl/x509v3.h>

static X509 *issue(const char *subject, EVP_PKEY *key, EVP_PKEY *issuer_key, int is_authority)
{
    X509 *certificate = X509_new();
    X509_NAME *name = X509_NAME_new(), *issuer = X509_NAME_new();

    CHECK(certificate != NULL && name != NULL && issuer != NULL);
    CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0) == 1);
    CHECK(X509_NAME_add_entry_by_txt(issuer, "CN", MBSTRING_ASC, (const unsigned char *)"ca", -1, -1, 0) == 1);
    CHECK(X509_set_version(certificate, 2) == 1 && X509_set_subject_name(certificate, name) == 1);
    CHECK(X509_set_issuer_name(certificate, issuer) == 1 && X509_set_pubkey(certificate, key) == 1);
    CHECK(X509_gmtime_adj(X509_getm_notBefore(certificate), -60) != NULL);
    CHECK(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL);
    if (is_authority) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

        CHECK(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
        X509_EXTENSION_free(extension);
    }
    CHECK(X509_sign(certificate, issuer_key, EVP_sha256()) > 0);
    X509_NAME_free(name);
    X509_NAME_free(issuer);
    return certificate;
}

static void verify(const char *uri)
{
    EVP_PKEY *key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY);
    EVP_PKEY *software = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *authority = issue("ca", key, key, 1), *leaf = issue("leaf", software, key, 0);
    X509_STORE *trusted = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();

    CHECK(software != NULL && trusted != NULL && context != NULL);
    CHECK(X509_STORE_add_cert(trusted, authority) == 1);
    CHECK(X509_STORE_CTX_init(context, trusted, leaf, NULL) == 1);
    if (X509_verify_cert(context) != 1) {
        fprintf(stderr, "%s: %s\n", uri, X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
        CHECK(0);
    }
    X509_STORE_CTX_free(context);
    X509_STORE_free(trusted);
    X509_free(leaf);
    X509_free(authority);
    EVP_PKEY_free(software);
    EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
    CHECK(argc > 2);
    load_providers(argv[1]);
    for (int i = 2; i < argc; i++)
        verify(argv[i]);
    return 0;
}
