/* pkcs11_faults threads|children NEW-KEY MODULE: what `faults` does with the provider, by the PKCS#11 module, which is MODULE: the same
 * talk, the same keys, the same operations but for a listing, which this front end keeps for a while. In children the sessions and
 * the keys are the parent's. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "pkcs11_headers/include/cryptoki.h"

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

#include "campaign.h"

enum {
    CKA_CLASS = 0,
    CKA_TOKEN = 1,
    CKA_LABEL = 3,
    CKA_EC_PARAMS = 0x180,
    CKO_PUBLIC_KEY = 2,
    CKO_PRIVATE_KEY = 3,
    CKO_SECRET_KEY = 4,
    CKA_VALUE = 0x11,
    CKA_KEY_TYPE = 0x100,
    CKA_SENSITIVE = 0x103,
    CKA_EXTRACTABLE = 0x162,
    CKK_AES = 0x1f,
    CKM_RSA_PKCS = 1,
    CKM_AES_CBC_PAD = 0x1085,
    CKM_AES_KEY_WRAP = 0x2109,
    CKM_SHA256_RSA_PKCS = 0x40,
    CKM_SHA256_RSA_PKCS_PSS = 0x43,
    CKM_SHA256 = 0x250,
    CKG_MGF1_SHA256 = 2,
    CKM_EC_KEY_PAIR_GEN = 0x1040,
    CKM_ECDSA_SHA256 = 0x1044,
};

/* The module's own interface, of the name "Vendor akv_provider". */
struct own_functions {
    CK_VERSION version;
    CK_RV (*last_error)(char *text, CK_ULONG *length);
};
struct interface {
    const char *name;
    const struct own_functions *functions;
    CK_FLAGS flags;
};

static CK_BYTE message[] = "signed in spite of all";

static CK_FUNCTION_LIST_PTR p11;
static const struct own_functions *own;

/* A private key and its public one. */
static struct key {
    const char *label;
    CK_OBJECT_HANDLE handles[2];
} pkcs1 = {"pkcs1", {0}}, pss = {"pss", {0}}, ec = {"ec", {0}}, ml_dsa = {"ml-dsa", {0}}, decrypt = {"decrypt", {0}};

/* Keys of AES, a secret that is to be wrapped and unwrapped, and what the HSM makes of it. */
static CK_OBJECT_HANDLE wrap, cipher, secret_key;
static CK_BYTE secret[32] = "0123456789abcdef0123456789abcde", iv[16] = {7};
static CK_BYTE sealed[256], wrapped[64], encrypted[64];
static CK_ULONG sealed_length, wrapped_length, encrypted_length;

static int take_errors(char *text)
{
    CK_ULONG length = TEXT - 1;

    if (own->last_error(text, &length) != CKR_OK || length <= 1)
        return 0;
    /* It comes without a NUL. */
    text[length] = 0;
    for (char *c = text; *c != 0; c++)
        if (*c == '\n')
            *c = ' ';
    return 1;
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session = 0;

    CHECK(p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) == CKR_OK);
    return session;
}

/* How a call is told of that failed: the text of the cause is lost by the next call that fails. */
static int outcome(CK_RV code) { return code == CKR_OK ? DONE : FAILED; }

static int find(CK_SESSION_HANDLE session, const char *label, CK_ULONG class, CK_OBJECT_HANDLE *found)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, (char *)label, strlen(label)}};
    CK_ULONG count = 0;

    if (p11->C_FindObjectsInit(session, template, 2) != CKR_OK)
        return FAILED;
    CHECK(p11->C_FindObjects(session, found, 1, &count) == CKR_OK);
    CHECK(p11->C_FindObjectsFinal(session) == CKR_OK);
    return count == 1 ? DONE : WRONG;
}

static int do_load(void)
{
    CK_SESSION_HANDLE session = open_session();
    CK_OBJECT_HANDLE found;
    int result = find(session, "load", CKO_PRIVATE_KEY, &found);

    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int sign_with(const struct key *key, CK_MECHANISM mechanism)
{
    CK_SESSION_HANDLE session = open_session();
    CK_BYTE signature[8192];
    CK_ULONG length = sizeof(signature);
    int result;

    CHECK(p11->C_SignInit(session, &mechanism, key->handles[0]) == CKR_OK);
    result = outcome(p11->C_Sign(session, message, sizeof(message), signature, &length));
    if (result == DONE) {
        CHECK(p11->C_VerifyInit(session, &mechanism, key->handles[1]) == CKR_OK);
        if (p11->C_Verify(session, message, sizeof(message), signature, length) != CKR_OK)
            result = WRONG;
    }
    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int do_pkcs1(void) { return sign_with(&pkcs1, (CK_MECHANISM){CKM_SHA256_RSA_PKCS, NULL, 0}); }
static int do_ec(void) { return sign_with(&ec, (CK_MECHANISM){CKM_ECDSA_SHA256, NULL, 0}); }

/* A mechanism of PKCS#11 3.2, which the headers of 2.40 lack. */
static int do_ml_dsa(void) { return sign_with(&ml_dsa, (CK_MECHANISM){0x1d, NULL, 0}); }

static int do_pss(void)
{
    CK_ULONG parameter[] = {CKM_SHA256, CKG_MGF1_SHA256, 32};

    return sign_with(&pss, (CK_MECHANISM){CKM_SHA256_RSA_PKCS_PSS, parameter, sizeof(parameter)});
}

static int wrap_secret(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *length)
{
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};

    return outcome(p11->C_WrapKey(session, &mechanism, wrap, secret_key, out, length));
}

static int do_wrap(void)
{
    CK_SESSION_HANDLE session = open_session();
    CK_BYTE out[64];
    CK_ULONG length = sizeof(out);
    int result = wrap_secret(session, out, &length);

    if (result == DONE && (length != wrapped_length || memcmp(out, wrapped, length) != 0))
        result = WRONG;
    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int do_unwrap(void)
{
    CK_SESSION_HANDLE session = open_session();
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_ULONG class = CKO_SECRET_KEY, type = CKK_AES;
    CK_BBOOL no = FALSE, yes = TRUE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_SENSITIVE, &no, sizeof(no)}, {CKA_EXTRACTABLE, &yes, sizeof(yes)}};
    CK_BYTE value[32];
    CK_ATTRIBUTE told = {CKA_VALUE, value, sizeof(value)};
    CK_OBJECT_HANDLE key;
    int result = outcome(p11->C_UnwrapKey(session, &mechanism, wrap, wrapped, wrapped_length, template, 4, &key));

    if (result == DONE) {
        CHECK(p11->C_GetAttributeValue(session, key, &told, 1) == CKR_OK);
        if (told.ulValueLen != sizeof(secret) || memcmp(value, secret, sizeof(secret)) != 0)
            result = WRONG;
    }
    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int do_decrypt(void)
{
    CK_SESSION_HANDLE session = open_session();
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    CK_BYTE out[256];
    CK_ULONG length = sizeof(out);
    int result;

    CHECK(p11->C_DecryptInit(session, &mechanism, decrypt.handles[0]) == CKR_OK);
    result = outcome(p11->C_Decrypt(session, sealed, sealed_length, out, &length));
    if (result == DONE && (length != sizeof(secret) || memcmp(out, secret, length) != 0))
        result = WRONG;
    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int encrypt_secret(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *length)
{
    CK_MECHANISM mechanism = {CKM_AES_CBC_PAD, iv, sizeof(iv)};

    CHECK(p11->C_EncryptInit(session, &mechanism, cipher) == CKR_OK);
    return outcome(p11->C_Encrypt(session, secret, sizeof(secret), out, length));
}

static int do_encrypt(void)
{
    CK_SESSION_HANDLE session = open_session();
    CK_BYTE out[64];
    CK_ULONG length = sizeof(out);
    int result = encrypt_secret(session, out, &length);

    if (result == DONE && (length != encrypted_length || memcmp(out, encrypted, length) != 0))
        result = WRONG;
    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int do_random(void)
{
    CK_SESSION_HANDLE session = open_session();
    CK_BYTE bytes[32] = {0}, zeros[32] = {0};
    int result = outcome(p11->C_GenerateRandom(session, bytes, sizeof(bytes)));

    if (result == DONE && memcmp(bytes, zeros, sizeof(bytes)) == 0)
        result = WRONG;
    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static int do_create(void)
{
    static CK_BYTE p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    CK_SESSION_HANDLE session = open_session();
    CK_BBOOL yes = TRUE;
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, sizeof(yes)}, {CKA_LABEL, new_key, strlen(new_key)}};
    CK_OBJECT_HANDLE keys[2];
    int result = outcome(p11->C_GenerateKeyPair(session, &mechanism, public, 1, private, 2, &keys[0], &keys[1]));

    CHECK(p11->C_CloseSession(session) == CKR_OK);
    return result;
}

static const struct operation operations[] = {
    {"load", do_load}, {"pkcs1", do_pkcs1}, {"pss", do_pss}, {"ec", do_ec}, {"ml-dsa", do_ml_dsa}, {"decrypt", do_decrypt},
    {"wrap", do_wrap}, {"unwrap", do_unwrap}, {"encrypt", do_encrypt}, {"random", do_random}, {"create", do_create},
};

enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

static CK_SESSION_HANDLE first;

static int find_keys(void)
{
    for (struct key **key = (struct key *[]){&pkcs1, &pss, &ec, &ml_dsa, &decrypt, NULL}; *key != NULL; key++)
        for (int half = 0; half < 2; half++)
            if (find(first, (*key)->label, half == 0 ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY, &(*key)->handles[half]) != DONE)
                return FAILED;
    return find(first, "wrap", CKO_SECRET_KEY, &wrap) == DONE && find(first, "encrypt", CKO_SECRET_KEY, &cipher) == DONE ? DONE : FAILED;
}

/* What the HSM makes of the secret while nothing is wrong; the seal is made here. */
static int make_samples(void)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};

    sealed_length = sizeof(sealed), wrapped_length = sizeof(wrapped), encrypted_length = sizeof(encrypted);
    CHECK(p11->C_EncryptInit(first, &mechanism, decrypt.handles[1]) == CKR_OK);
    CHECK(p11->C_Encrypt(first, secret, sizeof(secret), sealed, &sealed_length) == CKR_OK);
    return wrap_secret(first, wrapped, &wrapped_length) == DONE && encrypt_secret(first, encrypted, &encrypted_length) == DONE ? DONE : FAILED;
}

static void bring_secret(void)
{
    CK_ULONG class = CKO_SECRET_KEY, type = CKK_AES;
    CK_BBOOL yes = TRUE;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
                               {CKA_EXTRACTABLE, &yes, sizeof(yes)}, {CKA_VALUE, secret, sizeof(secret)}};

    CHECK(p11->C_CreateObject(first, template, 4, &secret_key) == CKR_OK);
}

static void load_module(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    CK_RV (*get_interface)(const char *, CK_VERSION *, struct interface **, CK_FLAGS);
    CK_C_GetFunctionList get_list;
    struct interface *interface = NULL;

    CHECK(library != NULL);
    get_list = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    *(void **)&get_interface = dlsym(library, "C_GetInterface");
    CHECK(get_list != NULL && get_interface != NULL);
    CHECK(get_list(&p11) == CKR_OK && get_interface("Vendor akv_provider", NULL, &interface, 0) == CKR_OK);
    own = interface->functions;
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    alarm(115);
    snprintf(new_key, sizeof(new_key), "%s", argv[2]);
    load_module(argv[3]);
    CHECK(p11->C_Initialize(NULL) == CKR_OK);
    first = open_session();
    CHECK(insist(find_keys, milliseconds() + PATIENCE_SECONDS * 1000L) == DONE);
    bring_secret();
    CHECK(insist(make_samples, milliseconds() + PATIENCE_SECONDS * 1000L) == DONE);
    CHECK(write(STDOUT_FILENO, "ready\n", 6) == 6);
    wait_for_line();
    if (strcmp(argv[1], "threads") == 0)
        in_threads(operations, OPERATIONS);
    else
        in_children(operations, OPERATIONS);
    CHECK(write(STDOUT_FILENO, "done\n", 5) == 5);
    wait_for_line();
    recover(operations, OPERATIONS);
    CHECK(write(STDOUT_FILENO, "well\n", 5) == 5);
    CHECK(p11->C_Finalize(NULL) == CKR_OK);
    return 0;
}
