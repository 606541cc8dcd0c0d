/* two_logs URI CONFIG…: loads a key by a library context for each configuration, twice in turn. */
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc > 2);
    for (int i = 0; i < 2 * (argc - 2); i++) {
        OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();

        CHECK(context != NULL);
        CHECK(OSSL_LIB_CTX_load_config(context, argv[2 + i % (argc - 2)]) == 1);
        EVP_PKEY_free(load_key(context, argv[1], 0));
        OSSL_LIB_CTX_free(context);
    }
    return 0;
}
