/*
 * Reads key files as programs do that name the type of the key: typed_key_files PROVIDERS TYPE FILE...
 *
 * FILE is in DER, or in PEM if its name ends so. Prints a line for each file and way: the type of the key that came of it, or "none".
 */
#include "check.h"

#include <openssl/decoder.h>
#include <openssl/ssl.h>

static unsigned char content[16384];
static size_t len;

static void say(const char *way, EVP_PKEY *key)
{
    printf("%s: %s\n", way, key == NULL ? "none" : EVP_PKEY_get0_type_name(key));
    EVP_PKEY_free(key);
    ERR_clear_error();
}

static EVP_PKEY *decoded(const char *type, const char *format, int selection)
{
    EVP_PKEY *key = NULL;
    const unsigned char *data = content;
    size_t rest = len;
    OSSL_DECODER_CTX *context = OSSL_DECODER_CTX_new_for_pkey(&key, format, NULL, type, selection, NULL, NULL);

    CHECK(context != NULL);
    if (OSSL_DECODER_from_data(context, &data, &rest) != 1)
        key = NULL;
    OSSL_DECODER_CTX_free(context);
    return key;
}

int main(int argc, char *argv[])
{
    CHECK(argc > 3);
    load_providers(argv[1]);
    for (int i = 3; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        int is_pem = strcmp(argv[i] + strlen(argv[i]) - 4, ".pem") == 0;
        int id = OBJ_txt2nid(strcmp(argv[2], "RSA") == 0 ? "rsaEncryption" : strcmp(argv[2], "EC") == 0 ? "id-ecPublicKey" : argv[2]);

        CHECK(file != NULL && (len = fread(content, 1, sizeof(content), file)) > 0);
        fclose(file);
        say("decoder, any format", decoded(argv[2], NULL, 0));
        say("decoder, its format", decoded(argv[2], is_pem ? "PEM" : "DER", EVP_PKEY_KEYPAIR));
        if (!is_pem && id != NID_undef) {
            const unsigned char *data = content;
            SSL_CTX *server = SSL_CTX_new(TLS_method());

            say("d2i", d2i_PrivateKey_ex(id, NULL, &data, (long)len, NULL, NULL));
            CHECK(server != NULL);
            printf("server: %s\n", SSL_CTX_use_PrivateKey_ASN1(id, server, content, (long)len) == 1 ? argv[2] : "none");
            ERR_clear_error();
            SSL_CTX_free(server);
        }
    }
    return 0;
}
