/*
 * What OpenSSL refuses to do with software keys, or may refuse. Prints a line for each piece of work, each done by a process of its
 * own: what came of it, or the signal that ended it. The lines must be the same whether our provider is there or not.
 *
 *   software_refusals PROVIDERS     they are loaded in this order, separated by commas
 */
#include "check.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <sys/wait.h>

static void parameters(const char *type)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (context == NULL)
        printf("no such keys");
    else
        printf("generation of parameters begins: %d", EVP_PKEY_paramgen_init(context));
}

static void of_rsa(void) { parameters("RSA"); }
static void of_ec(void) { parameters("EC"); }
static void of_ml_dsa(void) { parameters("ML-DSA-65"); }

/* Of two keys, one of the provider that is asked first and one of the default provider. */
static void compare(const char *type)
{
    EVP_PKEY *keys[2] = { NULL, NULL };
    const char *properties[] = { NULL, "provider=default" };

    for (int i = 0; i < 2; i++) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, properties[i]);

        if (context == NULL) {
            printf("no such keys");
            return;
        }
        CHECK(EVP_PKEY_keygen_init(context) == 1);
        if (strcmp(type, "EC") == 0)
            CHECK(EVP_PKEY_CTX_set_group_name(context, "P-256") == 1);
        CHECK(EVP_PKEY_keygen(context, &keys[i]) == 1);
        EVP_PKEY_CTX_free(context);
    }
    printf("equal: %d %d, ", EVP_PKEY_parameters_eq(keys[0], keys[1]), EVP_PKEY_parameters_eq(keys[1], keys[0]));
    printf("copied: %d %d, ", EVP_PKEY_copy_parameters(keys[0], keys[1]), EVP_PKEY_copy_parameters(keys[1], keys[0]));
    printf("the same key: %d %d", EVP_PKEY_eq(keys[0], keys[1]), EVP_PKEY_eq(keys[1], keys[0]));
}

static void compare_ec(void) { compare("EC"); }
static void compare_ml_dsa(void) { compare("ML-DSA-44"); }

/* OpenSSL 3.0 and newer copy no empty label, and give no context. */
static void copy(int decrypts, const char *label)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL), *copied;

    CHECK((decrypts ? EVP_PKEY_decrypt_init(context) : EVP_PKEY_encrypt_init(context)) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1);
    printf("label: %d, ", EVP_PKEY_CTX_set0_rsa_oaep_label(context, label == NULL ? NULL : OPENSSL_strdup(label),
                                                          label == NULL ? 0 : (int)strlen(label)));
    copied = EVP_PKEY_CTX_dup(context);
    printf("copy: %s", copied != NULL ? "one" : "none");
}

static void encrypting(void) { copy(0, "label"); }
static void decrypting(void) { copy(1, "label"); }
static void encrypting_without_label(void) { copy(0, NULL); }
static void decrypting_without_label(void) { copy(1, NULL); }

static void unknown_group(void)
{
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("group", "nonsense", 0), OSSL_PARAM_END };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;

    printf("begins: %d, ", EVP_PKEY_keygen_init(context));
    printf("group: %d, ", EVP_PKEY_CTX_set_params(context, params));
    printf("key: %d", EVP_PKEY_keygen(context, &key));
}

static void small_rsa(void)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;

    printf("begins: %d, ", EVP_PKEY_keygen_init(context));
    printf("bits: %d, ", EVP_PKEY_CTX_set_rsa_keygen_bits(context, 100));
    printf("key: %d", EVP_PKEY_keygen(context, &key));
}

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
static void short_secret_key(void)
{
    unsigned char bytes[5] = { 1 };

    printf("key: %s", EVP_SKEY_import_raw_key(NULL, "AES", bytes, sizeof(bytes), NULL) != NULL ? "one" : "none");
}

static void new_secret_key(void)
{
    size_t length = 5;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t("key-length", &length), OSSL_PARAM_END };

    printf("key: %s", EVP_SKEY_generate(NULL, "AES", NULL, params) != NULL ? "one" : "none");
}
#endif

static void in_a_process(const char *what, void (*work)(void))
{
    pid_t process;
    int status = 0;

    printf("%s: ", what);
    fflush(stdout);
    process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        work();
        fflush(stdout);
        _exit(0);
    }
    CHECK(waitpid(process, &status, 0) == process);
    if (WIFSIGNALED(status))
        printf("ended by signal %d\n", WTERMSIG(status));
    else
        printf("\n");
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    load_providers(argv[1]);
    in_a_process("parameters of RSA", of_rsa);
    in_a_process("parameters of EC", of_ec);
    in_a_process("parameters of ML-DSA", of_ml_dsa);
    in_a_process("EC parameters compared", compare_ec);
    in_a_process("ML-DSA parameters compared", compare_ml_dsa);
    in_a_process("copy to encrypt", encrypting);
    in_a_process("copy to decrypt", decrypting);
    in_a_process("copy to encrypt, no label", encrypting_without_label);
    in_a_process("copy to decrypt, no label", decrypting_without_label);
    in_a_process("unknown group", unknown_group);
    in_a_process("small RSA key", small_rsa);
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
    in_a_process("short secret key", short_secret_key);
    in_a_process("new secret key", new_secret_key);
#endif
    return 0;
}
