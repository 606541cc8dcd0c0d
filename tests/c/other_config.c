/* other_config CONFIG URI: loads a key in a library context that CONFIG has configured, whatever the default file says. */
#include "check.h"

#include <openssl/conf.h>

int main(int argc, char **argv)
{
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();

    CHECK(argc == 3 && context != NULL);
    CHECK(OSSL_LIB_CTX_load_config(context, argv[1]) == 1);
    EVP_PKEY_free(load_key(context, argv[2], OSSL_STORE_INFO_PKEY));
    OSSL_LIB_CTX_free(context);
    return 0;
}
