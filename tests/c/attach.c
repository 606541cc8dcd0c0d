/* attach SCHEME…: a store of each scheme can't be attached to a BIO, and says why. */
#include "check.h"

int main(int argc, char **argv)
{
    load_providers("akv_provider,default");
    CHECK(argc > 1);
    for (int i = 1; i < argc; i++) {
        BIO *bio = BIO_new_mem_buf("x", -1);

        CHECK(bio != NULL);
        CHECK(OSSL_STORE_attach(bio, argv[i], NULL, NULL, NULL, NULL, NULL, NULL, NULL) == NULL);
        CHECK(ERR_peek_error() != 0);
        ERR_print_errors_fp(stdout);
        BIO_free(bio);
    }
    return 0;
}
