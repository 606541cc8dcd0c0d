/* orders URI FILE [STEP [FIRST]]: frees keys, contexts, stores, methods, providers and library contexts in all orders, before and
 * after libcrypto's clean-up, each in a process of its own; of these orders every STEP-th from number FIRST on, which is 0 unless it
 * is given. The key is at URI.
 *
 * Some orders are wrong with any provider. They are told by the same with a software key in FILE and the default provider alone:
 * where that doesn't end well, the order isn't tried. Prints how many were tried. Under valgrind, with --error-exitcode, an
 * access to what was freed is no good end. */
#include "check.h"

#include <sys/wait.h>

/* What is freed: the Key, the Contexts of operations with it, an open Store, the Methods that were fetched, the Providers, the
 * Library context; `x` is libcrypto's clean-up. */
static const char *const all_orders[] = {"kcsmpx", "kcsmplx"};

/* How libcrypto's clean-up comes about: by a call, or by exit(). What is left is then freed by a handler of atexit() that was there
 * before libcrypto's. */
enum clean_up { CALLED, EXIT };

static struct {
    const char *order;
    enum clean_up clean_up;
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *providers[2];
    OSSL_STORE_CTX *store;
    EVP_PKEY *key;
    EVP_PKEY_CTX *context;
    EVP_MD_CTX *digest_context;
    EVP_SIGNATURE *signature;
    EVP_KEYMGMT *keymgmt;
} run;

static void free_one(char what)
{
    switch (what) {
    case 'k':
        EVP_PKEY_free(run.key);
        break;
    case 'c':
        EVP_MD_CTX_free(run.digest_context);
        EVP_PKEY_CTX_free(run.context);
        break;
    case 's':
        OSSL_STORE_close(run.store);
        break;
    case 'm':
        EVP_SIGNATURE_free(run.signature);
        EVP_KEYMGMT_free(run.keymgmt);
        break;
    case 'p':
        for (int i = 0; i < 2; i++)
            if (run.providers[i] != NULL)
                OSSL_PROVIDER_unload(run.providers[i]);
        break;
    case 'l':
        OSSL_LIB_CTX_free(run.libctx);
        break;
    case 'x':
        if (run.clean_up == EXIT)
            exit(0);
        OPENSSL_cleanup();
    }
}

static void free_the_rest(void)
{
    while (*run.order != '\0')
        free_one(*run.order++);
}

/* A process that makes all of it, signs, and frees it. */
static void live(const char *order, enum clean_up clean_up, const char *uri, int is_software)
{
    unsigned char signature[512];
    size_t length = sizeof(signature);
    int has_libctx = strchr(order, 'l') != NULL;

    run.order = order;
    run.clean_up = clean_up;
    CHECK(atexit(free_the_rest) == 0);
    if (has_libctx)
        CHECK((run.libctx = OSSL_LIB_CTX_new()) != NULL);
    CHECK((run.providers[0] = OSSL_PROVIDER_load(run.libctx, "default")) != NULL);
    if (!is_software)
        CHECK((run.providers[1] = OSSL_PROVIDER_load(run.libctx, "akv_provider")) != NULL);
    run.key = load_key(run.libctx, uri, OSSL_STORE_INFO_PKEY);
    run.store = OSSL_STORE_open_ex(uri, run.libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    CHECK(run.store != NULL);
    CHECK((run.digest_context = EVP_MD_CTX_new()) != NULL);
    CHECK(EVP_DigestSignInit_ex(run.digest_context, NULL, "SHA256", run.libctx, NULL, run.key, NULL) == 1);
    CHECK(EVP_DigestSign(run.digest_context, signature, &length, (const unsigned char *)"m", 1) == 1);
    CHECK((run.context = EVP_PKEY_CTX_new_from_pkey(run.libctx, run.key, NULL)) != NULL);
    CHECK(EVP_PKEY_sign_init(run.context) == 1);
    run.signature = EVP_SIGNATURE_fetch(run.libctx, "ECDSA", is_software ? NULL : "provider=akv_provider");
    run.keymgmt = EVP_KEYMGMT_fetch(run.libctx, "EC", is_software ? NULL : "provider=akv_provider");
    CHECK(run.signature != NULL && run.keymgmt != NULL);
    while (*run.order != '\0')
        free_one(*run.order++);
    exit(0);
}

/* Whether a process ends well. */
static int ends_well(const char *order, enum clean_up clean_up, const char *uri, int is_software)
{
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0)
        live(order, clean_up, uri, is_software);
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static const char *uri, *file;
static int step = 1, first, number, tried, wrong, failed;

static void try_order(const char *order)
{
    if (number++ % step != first)
        return;
    for (enum clean_up clean_up = CALLED; clean_up <= EXIT; clean_up++) {
        if (!ends_well(order, clean_up, file, 1)) {
            wrong++;
        } else if (ends_well(order, clean_up, uri, 0)) {
            tried++;
        } else {
            fprintf(stderr, "%s, clean-up by %s: does not end well\n", order, clean_up == EXIT ? "exit" : "a call");
            failed++;
        }
    }
}

/* All orders of the letters from `from` on. */
static void permute(char *letters, size_t from)
{
    if (letters[from] == '\0') {
        try_order(letters);
        return;
    }
    for (size_t i = from; letters[i] != '\0'; i++) {
        char letter = letters[i];

        memmove(letters + from + 1, letters + from, i - from);
        letters[from] = letter;
        permute(letters, from + 1);
        memmove(letters + from, letters + from + 1, i - from);
        letters[i] = letter;
    }
}

int main(int argc, char **argv)
{
    CHECK(argc >= 3 && argc <= 5);
    uri = argv[1];
    file = argv[2];
    if (argc > 3)
        step = atoi(argv[3]);
    if (argc > 4)
        first = atoi(argv[4]);
    CHECK(step > 0 && first >= 0 && first < step);
    for (size_t i = 0; i < sizeof(all_orders) / sizeof(*all_orders); i++) {
        char letters[16];

        strcpy(letters, all_orders[i]);
        permute(letters, 0);
    }
    printf("%d orders tried, %d failed, %d are wrong with any provider\n", tried, failed, wrong);
    return failed != 0 || tried == 0;
}
