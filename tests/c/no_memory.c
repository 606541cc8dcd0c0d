/* no_memory: loads the provider, makes a software key and no request, uses up its memory, and ends as it would without
 * the provider. */
#include <stdlib.h>
#include <sys/resource.h>
#include "check.h"

/* Takes all memory that this process may have from now on. */
static void use_up(void)
{
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;
    /* A compiler leaves out what nobody has. */
    void *volatile block;

    CHECK(file != NULL && fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    limit.rlim_cur = limit.rlim_max = (rlim_t)pages * 4096 + (1 << 18);
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (size_t size = 1 << 20; size >= 16; size /= 2)
        do
            block = malloc(size);
        while (block != NULL);
}

int main(void)
{
    load_providers("default,akv_provider");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    CHECK(key != NULL);
    EVP_PKEY_free(key);
    use_up();
    return 0;
}
