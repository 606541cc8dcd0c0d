/* first_key URI: takes the first key that a store gives, whatever it is, as servers do. There must be none; prints why. */
#include "check.h"

int main(int argc, char **argv)
{
    static const int expected[] = {0, OSSL_STORE_INFO_PKEY, OSSL_STORE_INFO_PUBKEY};

    CHECK(argc == 2);
    load_providers("akv_provider,default");
    for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
        CHECK(try_key(NULL, argv[1], expected[i]) == NULL);
        CHECK(ERR_peek_last_error() != 0);
        ERR_print_errors_fp(stdout);
    }
    return 0;
}
