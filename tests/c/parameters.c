/* parameters ORDER URI…: asks a key in the HSM for each parameter that the default provider answers of the same public key, and
 * compares the answers. ORDER: the providers, separated by commas. Prints how many there were for each key. */
#include "check.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

/* What a key answers to one question; its length, or -1 for no answer. */
static long ask(EVP_PKEY *key, const OSSL_PARAM *question, unsigned char *answer, size_t room)
{
    OSSL_PARAM params[2] = {*question, OSSL_PARAM_construct_end()};

    memset(answer, 0, room);
    params[0].data = answer;
    params[0].data_size = question->data_type == OSSL_PARAM_INTEGER ? sizeof(int) : room;
    params[0].return_size = OSSL_PARAM_UNMODIFIED;
    if (EVP_PKEY_get_params(key, params) != 1 || !OSSL_PARAM_modified(params))
        return -1;
    return (long)params[0].return_size;
}

static int compare(const char *uri)
{
    EVP_PKEY *key = load_key(NULL, uri, OSSL_STORE_INFO_PKEY), *software = public_copy(NULL, key);
    const OSSL_PARAM *question = EVP_PKEY_gettable_params(software);
    int compared = 0;

    CHECK(question != NULL);
    for (; question->key != NULL; question++) {
        unsigned char expected[4096], answer[4096];
        long expected_length = ask(software, question, expected, sizeof(expected));
        long length = ask(key, question, answer, sizeof(answer));

        if (expected_length < 0)
            continue;
        if (length != expected_length || memcmp(answer, expected, sizeof(answer)) != 0) {
            fprintf(stderr, "%s: '%s' has %ld bytes, the default provider's %ld, or is another\n", uri, question->key,
                    length, expected_length);
            CHECK(0);
        }
        compared++;
    }
    EVP_PKEY_free(software);
    EVP_PKEY_free(key);
    return compared;
}

int main(int argc, char **argv)
{
    CHECK(argc > 2);
    load_providers(argv[1]);
    for (int i = 2; i < argc; i++) {
        int compared = compare(argv[i]);

        /* The fewest are those of ML-DSA. */
        CHECK(compared > 4);
        printf("%s: %d\n", argv[i], compared);
    }
    return 0;
}
