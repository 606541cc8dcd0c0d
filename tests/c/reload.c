/* reload URI TIMES: in library contexts of their own, loads the provider, signs and unloads it, TIMES times; then
 * with two contexts at once. reload URI leave: signs and returns from main without freeing anything. */
#include "check.h"

struct loaded {
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *standard, *akv;
    EVP_PKEY *key, *public_key;
};

static struct loaded load(const char *uri)
{
    struct loaded it;

    CHECK((it.libctx = OSSL_LIB_CTX_new()) != NULL);
    CHECK((it.standard = OSSL_PROVIDER_load(it.libctx, "default")) != NULL);
    CHECK((it.akv = OSSL_PROVIDER_load(it.libctx, "akv_provider")) != NULL);
    it.key = load_key(it.libctx, uri, 0);
    it.public_key = public_copy(it.libctx, it.key);
    return it;
}

static void unload(struct loaded *it)
{
    EVP_PKEY_free(it->public_key);
    EVP_PKEY_free(it->key);
    CHECK(OSSL_PROVIDER_unload(it->akv) == 1);
    CHECK(OSSL_PROVIDER_unload(it->standard) == 1);
    OSSL_LIB_CTX_free(it->libctx);
}

int main(int argc, char **argv)
{
    struct loaded one, other;

    CHECK(argc == 3);
    alarm(60);
    if (strcmp(argv[2], "leave") == 0) {
        one = load(argv[1]);
        sign_and_verify(one.libctx, one.key, one.public_key, "signed, then left");
        return 0;
    }
    for (int i = 0; i < atoi(argv[2]); i++) {
        one = load(argv[1]);
        sign_and_verify(one.libctx, one.key, one.public_key, "signed, then unloaded");
        unload(&one);
    }
    one = load(argv[1]);
    other = load(argv[1]);
    sign_and_verify(other.libctx, other.key, other.public_key, "signed in the second");
    unload(&one);
    sign_and_verify(other.libctx, other.key, other.public_key, "signed after the first went");
    unload(&other);
    return 0;
}
