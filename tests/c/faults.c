/* faults threads|children|jobs NEW-KEY: does each operation once, all at the same time: in threads, in forked children, or in
 * asynchronous jobs of one thread. The keys are named for the operations; NEW-KEY is the one that is made.
 * It talks with whoever sets the faults: prints "ready" when all is prepared and waits for a line, does the operations, prints what
 * became of each ("NAME ok MILLISECONDS", "NAME failed MILLISECONDS ERRORS TEXT", "NAME wrong …", "NAME crashed …") and "done", waits for a
 * line, does each again until it succeeds, and prints "well".
 *
 * faults repeat NEW-KEY ROUNDS: does all but creation one after the other, ROUNDS times, and prints after each round
 * "round DESCRIPTORS THREADS". */
#include "check.h"
#include "campaign.h"

#include <openssl/async.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <poll.h>

static const char message[] = "signed in spite of all";
static const unsigned char secret[32] = "0123456789abcdef0123456789abcde";

static EVP_PKEY *pkcs1, *pss, *ec, *decrypt, *wrap, *unwrap;
static EVP_PKEY *public_pkcs1, *public_pss, *public_ec;
static unsigned char sealed[512], wrapped[64];
static size_t sealed_length = sizeof(sealed), wrapped_length;
static EVP_RAND *generator;

/* In the place of a padding: there is no digest. */
enum { ML_DSA = -1 };

static const char *digest(int padding) { return padding == ML_DSA ? NULL : "SHA256"; }

static int set_padding(EVP_PKEY_CTX *context, int padding)
{
    return padding <= 0 || EVP_PKEY_CTX_set_rsa_padding(context, padding) == 1;
}

static int sign_with(EVP_PKEY *key, EVP_PKEY *public_key, int padding)
{
    const unsigned char *data = (const unsigned char *)message;
    /* The stack of a job has no room for it. */
    size_t length = EVP_PKEY_get_size(key);
    unsigned char *signature = OPENSSL_malloc(length);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options = NULL;
    int result = FAILED;

    if (EVP_DigestSignInit_ex(context, &options, digest(padding), NULL, NULL, key, NULL) == 1 && set_padding(options, padding)
        && EVP_DigestSign(context, signature, &length, data, sizeof(message)) == 1)
        result = DONE;
    EVP_MD_CTX_free(context);
    if (result != DONE) {
        OPENSSL_free(signature);
        return result;
    }
    context = EVP_MD_CTX_new();
    CHECK(EVP_DigestVerifyInit_ex(context, &options, digest(padding), NULL, NULL, public_key, NULL) == 1);
    CHECK(set_padding(options, padding));
    if (EVP_DigestVerify(context, signature, length, data, sizeof(message)) != 1)
        result = WRONG;
    EVP_MD_CTX_free(context);
    OPENSSL_free(signature);
    return result;
}

static int do_load(void)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open("managedhsm:MyHSM:load", NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info = store == NULL ? NULL : OSSL_STORE_load(store);
    int result = info != NULL ? DONE : FAILED;

    if (info != NULL && OSSL_STORE_INFO_get_type(info) != OSSL_STORE_INFO_PKEY)
        result = WRONG;
    OSSL_STORE_INFO_free(info);
    if (store != NULL)
        OSSL_STORE_close(store);
    return result;
}

static int do_pkcs1(void) { return sign_with(pkcs1, public_pkcs1, RSA_PKCS1_PADDING); }
static int do_pss(void) { return sign_with(pss, public_pss, RSA_PKCS1_PSS_PADDING); }
static int do_ec(void) { return sign_with(ec, public_ec, 0); }
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
static EVP_PKEY *ml_dsa, *public_ml_dsa;

static int do_ml_dsa(void) { return sign_with(ml_dsa, public_ml_dsa, ML_DSA); }
#endif

static int encrypt_secret(EVP_PKEY *key, unsigned char *out, size_t *length)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int result = EVP_PKEY_encrypt_init(context) == 1 && EVP_PKEY_encrypt(context, out, length, secret, sizeof(secret)) == 1;

    EVP_PKEY_CTX_free(context);
    return result ? DONE : FAILED;
}

/* Decrypts what has to be the secret. */
static int decrypt_secret(EVP_PKEY *key, const unsigned char *in, size_t in_length)
{
    unsigned char out[512];
    size_t length = sizeof(out);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int result = EVP_PKEY_decrypt_init(context) == 1 && EVP_PKEY_decrypt(context, out, &length, in, in_length) == 1;

    EVP_PKEY_CTX_free(context);
    if (result && (length != sizeof(secret) || memcmp(out, secret, length) != 0))
        return WRONG;
    return result ? DONE : FAILED;
}

static int do_decrypt(void) { return decrypt_secret(decrypt, sealed, sealed_length); }
static int do_unwrap(void) { return decrypt_secret(unwrap, wrapped, wrapped_length); }

static int do_wrap(void)
{
    unsigned char out[512];
    size_t length = sizeof(out);

    if (encrypt_secret(wrap, out, &length) != DONE)
        return FAILED;
    return length == wrapped_length && memcmp(out, wrapped, length) == 0 ? DONE : WRONG;
}

static int do_random(void)
{
    unsigned char bytes[32] = {0}, zeros[32] = {0};
    EVP_RAND_CTX *context = EVP_RAND_CTX_new(generator, NULL);
    int result = FAILED;

    if (EVP_RAND_instantiate(context, 128, 0, NULL, 0, NULL) == 1
        && EVP_RAND_generate(context, bytes, sizeof(bytes), 128, 0, NULL, 0) == 1)
        result = memcmp(bytes, zeros, sizeof(bytes)) == 0 ? WRONG : DONE;
    EVP_RAND_CTX_free(context);
    return result;
}

static int do_create(void)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", "provider=akv_provider");
    EVP_PKEY *key = NULL;
    char uri[300];

    snprintf(uri, sizeof(uri), "managedhsm:MyHSM:%s", new_key);
    CHECK(context != NULL && EVP_PKEY_keygen_init(context) == 1);
    CHECK(EVP_PKEY_CTX_ctrl_str(context, "ec_paramgen_curve", "P-256") == 1);
    CHECK(EVP_PKEY_CTX_ctrl_str(context, "uri", uri) == 1);
    EVP_PKEY_generate(context, &key);
    EVP_PKEY_CTX_free(context);
    if (key == NULL)
        return FAILED;
    EVP_PKEY_free(key);
    return DONE;
}

static int do_list(void)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open("managedhsm:MyHSM", NULL, NULL, NULL, NULL);
    int found = 0, failed = store == NULL;

    while (!failed && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        failed = info == NULL && ERR_peek_error() != 0;
        found += info != NULL;
        /* OpenSSL 3.5 leaves errors of its own behind each name that it has taken. */
        if (info != NULL)
            ERR_clear_error();
        OSSL_STORE_INFO_free(info);
    }
    if (store != NULL)
        OSSL_STORE_close(store);
    return failed ? FAILED : found >= 7 ? DONE : WRONG;
}

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
static EVP_SKEY *skey;
static unsigned char encrypted[48];
static int encrypted_length;

/* Encrypts 32 bytes. Returns how many there are then, or -1. */
static int cbc(unsigned char *out)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", "provider=akv_provider");
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    unsigned char iv[16] = {7};
    int length = 0, last = 0, done;

    CHECK(cipher != NULL);
    done = EVP_CipherInit_SKEY(context, cipher, skey, iv, sizeof(iv), 1, NULL) == 1
           && EVP_CipherUpdate(context, out, &length, secret, sizeof(secret)) == 1
           && EVP_CipherFinal_ex(context, out + length, &last) == 1;
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
    return done ? length + last : -1;
}

static int encrypt_first(void)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("uri", "managedhsm:MyHSM:encrypt", 0), OSSL_PARAM_construct_end()};

    if (skey == NULL)
        skey = EVP_SKEY_import(NULL, "AES", "provider=akv_provider", OSSL_SKEYMGMT_SELECT_ALL, params);
    if (skey == NULL || (encrypted_length = cbc(encrypted)) < 0)
        return FAILED;
    return encrypted_length == 48 ? DONE : WRONG;
}

static int do_encrypt(void)
{
    unsigned char out[64];
    int length = cbc(out);

    if (length < 0)
        return FAILED;
    return length == encrypted_length && memcmp(out, encrypted, length) == 0 ? DONE : WRONG;
}
#endif

static const struct operation operations[] = {
    {"load", do_load}, {"pkcs1", do_pkcs1}, {"pss", do_pss}, {"ec", do_ec}, {"decrypt", do_decrypt}, {"wrap", do_wrap},
    {"unwrap", do_unwrap}, {"random", do_random}, {"list", do_list}, {"create", do_create},
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
    {"encrypt", do_encrypt}, {"ml-dsa", do_ml_dsa},
#endif
};

enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

/* Empties the error queue into a text of one line. Returns how many of the errors are the provider's. */
static int take_errors(char *text)
{
    unsigned long code;
    const char *data;
    int flags, count = 0;
    size_t used = 0;

    text[0] = 0;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        const char *library = ERR_lib_error_string(code), *reason = ERR_reason_error_string(code);

        if (library == NULL || strstr(library, "akv_provider") == NULL)
            continue;
        count++;
        used += snprintf(text + used, TEXT - used, "%s%s: %s", count > 1 ? " | " : "", reason == NULL ? "" : reason,
                         (flags & ERR_TXT_STRING) != 0 ? data : "");
        if (used >= TEXT)
            used = TEXT - 1;
    }
    for (char *c = text; *c != 0; c++)
        if (*c == '\n')
            *c = ' ';
    return count;
}

static int in_job(void *operation)
{
    perform(*(const struct operation **)operation);
    return 1;
}

static void in_jobs(void)
{
    struct {
        ASYNC_JOB *job;
        ASYNC_WAIT_CTX *context;
        int is_done;
    } works[OPERATIONS] = {0};
    int unfinished = OPERATIONS;

    for (int i = 0; i < OPERATIONS; i++)
        CHECK((works[i].context = ASYNC_WAIT_CTX_new()) != NULL);
    for (int first = 1; unfinished > 0; first = 0) {
        struct pollfd waiting[OPERATIONS * 4];
        int count = 0;

        for (int i = 0; i < OPERATIONS; i++) {
            const struct operation *operation = &operations[i];
            OSSL_ASYNC_FD fds[4];
            size_t number = 0;
            int is_ready = first, result = 0;

            if (works[i].is_done)
                continue;
            if (!first) {
                CHECK(ASYNC_WAIT_CTX_get_all_fds(works[i].context, NULL, &number) && number <= 4);
                CHECK(ASYNC_WAIT_CTX_get_all_fds(works[i].context, fds, &number));
                for (size_t k = 0; k < number; k++) {
                    struct pollfd one = {.fd = fds[k], .events = POLLIN};

                    is_ready |= poll(&one, 1, 0) > 0;
                }
                if (number == 0)
                    is_ready = 1;
            }
            if (is_ready) {
                switch (ASYNC_start_job(&works[i].job, works[i].context, &result, in_job, &operation, sizeof(operation))) {
                case ASYNC_PAUSE:
                    break;
                case ASYNC_FINISH:
                    works[i].is_done = 1;
                    unfinished--;
                    continue;
                default:
                    CHECK(!"the job could not be started");
                }
            }
            CHECK(ASYNC_WAIT_CTX_get_all_fds(works[i].context, NULL, &number) && number <= 4);
            CHECK(ASYNC_WAIT_CTX_get_all_fds(works[i].context, fds, &number));
            for (size_t k = 0; k < number; k++)
                waiting[count++] = (struct pollfd){.fd = fds[k], .events = POLLIN};
        }
        if (unfinished > 0 && count > 0)
            CHECK(poll(waiting, count, 90000) > 0);
    }
    for (int i = 0; i < OPERATIONS; i++)
        ASYNC_WAIT_CTX_free(works[i].context);
    ASYNC_cleanup_thread();
}

static int load_keys(void)
{
    static const struct {
        EVP_PKEY **key;
        const char *uri;
    } keys[] = {
        {&pkcs1, "managedhsm:MyHSM:pkcs1"},     {&pss, "managedhsm:MyHSM:pss"},   {&ec, "managedhsm:MyHSM:ec"},
        {&decrypt, "managedhsm:MyHSM:decrypt"}, {&wrap, "managedhsm:MyHSM:wrap"}, {&unwrap, "managedhsm:MyHSM:wrap"},
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
        {&ml_dsa, "managedhsm:MyHSM:ml-dsa"},
#endif
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (*keys[i].key == NULL && (*keys[i].key = try_key(NULL, keys[i].uri, 0)) == NULL)
            return FAILED;
    return DONE;
}

static int wrap_first(void)
{
    wrapped_length = sizeof(wrapped);
    return encrypt_secret(wrap, wrapped, &wrapped_length);
}

/* There is no fault yet, but little time for each operation: enough only where the machine doesn't stand still. */
static void prepare(void)
{
    long deadline = milliseconds() + PATIENCE_SECONDS * 1000L;
    EVP_PKEY *public_decrypt;

    CHECK(insist(load_keys, deadline) == DONE);
    public_pkcs1 = public_copy(NULL, pkcs1);
    public_pss = public_copy(NULL, pss);
    public_ec = public_copy(NULL, ec);
    public_decrypt = public_copy(NULL, decrypt);
    CHECK(encrypt_secret(public_decrypt, sealed, &sealed_length) == DONE);
    EVP_PKEY_free(public_decrypt);
    CHECK(insist(wrap_first, deadline) == DONE);
    CHECK((generator = EVP_RAND_fetch(NULL, "AKV-RANDOM", NULL)) != NULL);
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
    CHECK(insist(encrypt_first, deadline) == DONE);
    public_ml_dsa = public_copy(NULL, ml_dsa);
#endif
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *standard, *akv;

    CHECK(argc >= 3);
    alarm(115);
    snprintf(new_key, sizeof(new_key), "%s", argv[2]);
    CHECK((standard = OSSL_PROVIDER_load(NULL, "default")) != NULL);
    CHECK((akv = OSSL_PROVIDER_load(NULL, "akv_provider")) != NULL);
    prepare();
    if (strcmp(argv[1], "repeat") == 0) {
        char text[TEXT];

        CHECK(argc == 4);
        for (int round = 0; round < atoi(argv[3]); round++) {
            for (int i = 0; i < OPERATIONS; i++)
                if (operations[i].run != do_create && operations[i].run() == FAILED)
                    take_errors(text);
            printf("round %d %d\n", entries("/proc/self/fd"), entries("/proc/self/task"));
        }
    } else {
        CHECK(write(STDOUT_FILENO, "ready\n", 6) == 6);
        wait_for_line();
        if (strcmp(argv[1], "threads") == 0)
            in_threads(operations, OPERATIONS);
        else if (strcmp(argv[1], "children") == 0)
            in_children(operations, OPERATIONS);
        else if (strcmp(argv[1], "jobs") == 0)
            in_jobs();
        else
            CHECK(!"a process model");
        CHECK(write(STDOUT_FILENO, "done\n", 5) == 5);
        wait_for_line();
        recover(operations, OPERATIONS);
        CHECK(write(STDOUT_FILENO, "well\n", 5) == 5);
    }
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
    EVP_SKEY_free(skey);
    EVP_PKEY_free(ml_dsa);
    EVP_PKEY_free(public_ml_dsa);
#endif
    EVP_RAND_free(generator);
    for (EVP_PKEY **key = (EVP_PKEY *[]){pkcs1, pss, ec, decrypt, wrap, unwrap, public_pkcs1, public_pss, public_ec, NULL}; *key != NULL;
         key++)
        EVP_PKEY_free(*key);
    CHECK(OSSL_PROVIDER_unload(akv) == 1);
    CHECK(OSSL_PROVIDER_unload(standard) == 1);
    return 0;
}
