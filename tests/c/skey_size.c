/* EVP_SKEY of an AES-128 key in the HSM, with ciphers for keys of all sizes (OpenSSL 3.5 and newer).
 * skey_size URI told|untold: whether the service tells the size of the key. */
#include "check.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

#if OPENSSL_VERSION_NUMBER < 0x30500000L
int main(void) {
    puts("SKIPPED: EVP_SKEY came with OpenSSL 3.5");
    return 77;
}
#else

int main(int argc, char **argv) {
    const int sizes[] = {128, 192, 256};
    const char *modes[] = {"WRAP", "WRAP-PAD", "CBC", "GCM"};
    CHECK(argc == 3);
    load_providers("akv_provider,default");
    int told = strcmp(argv[2], "told") == 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("uri", argv[1], 0), OSSL_PARAM_construct_end()};
    EVP_SKEY *key = EVP_SKEY_import(NULL, "AES", "provider=akv_provider", OSSL_SKEYMGMT_SELECT_ALL, params);
    CHECK(key != NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t j = 0; j < sizeof modes / sizeof *modes; j++) {
            char name[40];
            unsigned char iv[16] = {1};
            snprintf(name, sizeof name, "AES-%d-%s", sizes[i], modes[j]);
            EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, "provider=akv_provider");
            size_t iv_len = strcmp(modes[j], "CBC") == 0 ? sizeof iv : 0;
            for (int encrypts = 0; encrypts < 2; encrypts++) {
                EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
                EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
                int begun = EVP_CipherInit_SKEY(ctx, cipher, key, iv_len == 0 ? NULL : iv, iv_len, encrypts, NULL);
                if (begun != (!told || sizes[i] == 128)) {
                    fprintf(stderr, "%s: %d\n", name, begun);
                    CHECK(0);
                }
                /* Whoever goes on has nothing done. */
                unsigned char text[64] = {2};
                int len;
                CHECK(begun == 1 || EVP_CipherUpdate(ctx, text, &len, text, 32) != 1);
                ERR_clear_error();
                EVP_CIPHER_CTX_free(ctx);
            }
            EVP_CIPHER_free(cipher);
        }
    }
    EVP_SKEY_free(key);
    puts("ok");
    return 0;
}
#endif
