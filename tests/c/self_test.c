/* Runs the provider's self-test. */
#include "check.h"

int main(void)
{
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(NULL, "akv_provider");

    CHECK(provider != NULL);
    CHECK(OSSL_PROVIDER_self_test(provider) == 1);
    CHECK(OSSL_PROVIDER_unload(provider) == 1);
    return 0;
}
