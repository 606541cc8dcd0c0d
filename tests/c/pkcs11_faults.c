/* pkcs11_faults threads|children NEW-KEY MODULE: what `faults` does with the provider, by the PKCS#11 module, which is MODULE: the same
 * talk, the same keys, those operations that this front end has. In children the sessions and the keys are the parent's. */
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
    CKM_SHA256_RSA_PKCS = 0x40,
    CKM_SHA256_RSA_PKCS_PSS = 0x43,
    CKM_SHA256 = 0x250,
    CKG_MGF1_SHA256 = 2,
    CKM_EC_KEY_PAIR_GEN = 0x1040,
    CKM_ECDSA_SHA256 = 0x1044,
};

/* The module's own interface, of the name "AKV 1.0". */
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
} pkcs1 = {"pkcs1", {0}}, pss = {"pss", {0}}, ec = {"ec", {0}}, ml_dsa = {"ml-dsa", {0}};

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
    {"load", do_load}, {"pkcs1", do_pkcs1}, {"pss", do_pss}, {"ec", do_ec}, {"ml-dsa", do_ml_dsa}, {"random", do_random}, {"create", do_create},
};

enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

static CK_SESSION_HANDLE first;

static int find_keys(void)
{
    for (struct key **key = (struct key *[]){&pkcs1, &pss, &ec, &ml_dsa, NULL}; *key != NULL; key++)
        for (int half = 0; half < 2; half++)
            if (find(first, (*key)->label, half == 0 ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY, &(*key)->handles[half]) != DONE)
                return FAILED;
    return DONE;
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
    CHECK(get_list(&p11) == CKR_OK && get_interface("AKV 1.0", NULL, &interface, 0) == CKR_OK);
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
