/* two_keys URI SIGNATURES URI: signs so often with a key, and then once with another one. */
#include "check.h"

int main(int argc, char **argv)
{
    EVP_PKEY *first, *second, *public_key;

    CHECK(argc == 4);
    load_providers("akv_provider,default");
    first = load_key(NULL, argv[1], OSSL_STORE_INFO_PKEY);
    second = load_key(NULL, argv[3], OSSL_STORE_INFO_PKEY);
    public_key = public_copy(NULL, first);
    for (int left = atoi(argv[2]); left > 0; left--)
        sign_and_verify(NULL, first, public_key, "message");
    EVP_PKEY_free(public_key);
    public_key = public_copy(NULL, second);
    sign_and_verify(NULL, second, public_key, "message");
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(second);
    EVP_PKEY_free(first);
    return 0;
}
