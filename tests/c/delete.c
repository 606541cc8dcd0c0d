/* delete URI: deletes a key through OSSL_STORE_delete (OpenSSL 3.2 and newer). "probe" only tells whether that is there. */
#include "check.h"

int main(int argc, char **argv)
{
#if OPENSSL_VERSION_NUMBER < 0x30200000L
    (void)argc;
    (void)argv;
    puts("SKIPPED: OSSL_STORE_delete came with OpenSSL 3.2");
    return 77;
#else
    CHECK(argc == 2);
    load_providers("akv_provider,default");
    if (strcmp(argv[1], "probe") == 0)
        return 0;
    if (OSSL_STORE_delete(argv[1], NULL, NULL, NULL, NULL, NULL) == 1)
        return 0;
    ERR_print_errors_fp(stderr);
    return 1;
#endif
}
