/* Calls that bindings never make: NULL here and there, buffers that are too small, arguments that are none. */
#include "calls.h"

enum {
    ARGUMENTS_BAD = 7,
    BUFFER_TOO_SMALL = 0x150,
    NOT_INITIALIZED = 0x91,
    ACTIVE = 0x90,
    ATTRIBUTE_TYPE_INVALID = 0x12,
    ATTRIBUTE_SENSITIVE = 0x11,
};

/* What there is not answers the same to any arguments, and looks at the module and the session before. */
static void absent(ulong_t expected, ulong_t session) {
    static const struct {
        const char *name;
        ulong_t code;
    } functions[] = {
        {"C_InitPIN", 0x54},
        {"C_SetPIN", 0x54},
        {"C_DigestEncryptUpdate", 0x54},
        {"C_DecryptDigestUpdate", 0x54},
        {"C_SignEncryptUpdate", 0x54},
        {"C_DecryptVerifyUpdate", 0x54},
        {"C_DeriveKey", 0x70},
        {"C_EncapsulateKey", 0x70},
        {"C_DecapsulateKey", 0x70},
        {"C_GetSessionValidationFlags", 0x54},
        {"C_AsyncComplete", 0x54},
        {"C_AsyncGetID", 0x54},
        {"C_AsyncJoin", 0x54},
        {"C_WrapKeyAuthenticated", 0x54},
        {"C_UnwrapKeyAuthenticated", 0x54},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        ulong_t code = ((ulong_t(*)())function(functions[i].name))(session, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        if (code != (expected != 0 ? expected : functions[i].code)) {
            fprintf(stderr, "%s: 0x%lx\n", functions[i].name, code);
            exit(1);
        }
    }
}

static void start(void) {
    int somewhere = 0;
    struct initialize_args args = {&somewhere, NULL, NULL, NULL, 0, NULL};
    EXPECT(ARGUMENTS_BAD, C_Initialize, &args);
    args = (struct initialize_args){NULL, NULL, NULL, NULL, 0, (void *)1};
    EXPECT(ARGUMENTS_BAD, C_Initialize, &args);
    args.reserved = "answer=42";
    EXPECT(6, C_Initialize, &args);
    /* The four kinds of locking: none, the system's, the program's, and either. */
    for (int kind = 0; kind < 4; kind++) {
        void *mutexes = kind & 1 ? &somewhere : NULL;
        args = (struct initialize_args){mutexes, mutexes, mutexes, mutexes, kind & 2, NULL};
        EXPECT(0, C_Initialize, &args);
        EXPECT(0x191, C_Initialize, &args);
        EXPECT(ARGUMENTS_BAD, C_Finalize, &somewhere);
        EXPECT(0, C_Finalize, NULL);
        EXPECT(0x190, C_Finalize, NULL);
    }
    absent(0x190, 0);
    EXPECT(0, C_Initialize, NULL);
}

static void lists(void) {
    ulong_t slots[4], count = 0;
    EXPECT(ARGUMENTS_BAD, C_GetSlotList, 0, slots, NULL);
    EXPECT(0, C_GetSlotList, 1, NULL, &count);
    count = 0;
    EXPECT(BUFFER_TOO_SMALL, C_GetSlotList, 1, slots, &count);
    EXPECT(0, C_GetSlotList, 1, slots, &count);
    EXPECT(ARGUMENTS_BAD, C_GetInfo, NULL);
    EXPECT(ARGUMENTS_BAD, C_GetFunctionList, NULL);
    EXPECT(0xb4, C_OpenSession, 0ul, 2ul, NULL, NULL, &count);
    EXPECT(ARGUMENTS_BAD, C_OpenSession, 0ul, 4ul, NULL, NULL, NULL);
    /* A session for asynchronous calls. */
    EXPECT(0x205, C_OpenSession, 0ul, 12ul, NULL, NULL, &count);
    EXPECT(0x54, C_WaitForSlotEvent, 0ul, &count, NULL);
    EXPECT(8, C_WaitForSlotEvent, 1ul, &count, NULL);
    EXPECT(ARGUMENTS_BAD, C_WaitForSlotEvent, 1ul, NULL, NULL);
    EXPECT(ARGUMENTS_BAD, C_WaitForSlotEvent, 1ul, &count, slots);
}

static void operations(ulong_t session, ulong_t key) {
    unsigned char digest[32] = {7}, signature[64];
    ulong_t len = 0;
    EXPECT(NOT_INITIALIZED, C_Sign, session, digest, 32ul, signature, &len);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(ACTIVE, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, NULL, &len);
    if (len != 64)
        exit(1);
    len = 63;
    EXPECT(BUFFER_TOO_SMALL, C_Sign, session, digest, 32ul, signature, &len);
    if (len != 64)
        exit(1);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    EXPECT(NOT_INITIALIZED, C_Sign, session, digest, 32ul, signature, &len);
    /* Each failure is the end. */
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(ARGUMENTS_BAD, C_Sign, session, NULL, 32ul, signature, &len);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(ARGUMENTS_BAD, C_Sign, session, digest, 32ul, signature, NULL);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(ARGUMENTS_BAD, C_Sign, session, digest, ~0ul, signature, &len);
    /* No mechanism: an end that is asked for. */
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_SignInit, session, NULL, 0ul);
    EXPECT(NOT_INITIALIZED, C_SignFinal, session, signature, &len);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_SessionCancel, session, 0x800ul);
    EXPECT(NOT_INITIALIZED, C_SignFinal, session, signature, &len);
    struct mechanism with_parameter = {0x1041, digest, 32};
    EXPECT(0x71, C_SignInit, session, &with_parameter, key);
    with_parameter.parameter = NULL;
    EXPECT(0x71, C_SignInit, session, &with_parameter, key);
    EXPECT(0x60, C_SignInit, session, &ecdsa, 0ul);
    EXPECT(0xb3, C_SignInit, 0ul, &ecdsa, key);
    EXPECT(0x70, C_EncryptInit, session, &ecdsa, key);
    /* Where the signature comes first, it is looked at last. */
    struct mechanism sha256 = {0x250, NULL, 0};
    ulong_t public = find_object(session, 2);
    EXPECT(0xb3, C_VerifySignatureInit, 0ul, &ecdsa, public, NULL, 64ul);
    EXPECT(0x70, C_VerifySignatureInit, session, &sha256, public, NULL, 64ul);
    EXPECT(0x60, C_VerifySignatureInit, session, &ecdsa, 0ul, NULL, 64ul);
    EXPECT(0x68, C_VerifySignatureInit, session, &ecdsa, key, NULL, 64ul);
    EXPECT(ARGUMENTS_BAD, C_VerifySignatureInit, session, &ecdsa, public, NULL, 64ul);
    EXPECT(NOT_INITIALIZED, C_VerifySignatureFinal, session);
    EXPECT(0xc1, C_VerifySignatureInit, session, &ecdsa, public, signature, 63ul);
    EXPECT(0xc1, C_VerifySignatureInit, session, &ecdsa, public, signature, ~0ul >> 1);
    EXPECT(0, C_VerifyInit, session, &ecdsa, public);
    EXPECT(0, C_VerifyUpdate, session, signature, 32ul);
    EXPECT(0xc1, C_VerifyFinal, session, signature, ~0ul >> 1);
    EXPECT(0, C_VerifySignatureInit, session, &ecdsa, public, signature, 64ul);
    EXPECT(ACTIVE, C_VerifySignatureInit, session, &ecdsa, public, NULL, 64ul);
    EXPECT(0, C_VerifySignatureInit, session, NULL, 0ul, NULL, 64ul);
    EXPECT(NOT_INITIALIZED, C_VerifySignatureFinal, session);
    EXPECT(0x54, C_InitToken, 0ul, NULL, 0ul, NULL);
    EXPECT(3, C_InitToken, 77ul, NULL, 0ul, NULL);
    EXPECT(0x51, C_GetFunctionStatus, session);
    absent(0, session);
    absent(0xb3, 0);
    EXPECT(0xb3, C_LoginUser, 0ul, 1ul, NULL, 0ul, NULL, 5ul);
    EXPECT(ARGUMENTS_BAD, C_LoginUser, session, 1ul, NULL, 0ul, NULL, 5ul);
    EXPECT(NOT_INITIALIZED, C_GetOperationState, session, NULL, &len);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0x180, C_GetOperationState, session, NULL, &len);
}

static void attributes(ulong_t session, ulong_t key) {
    ulong_t class = 0, kind = 9, count = 1, found = 0;
    unsigned char small[1];
    struct attribute template[] = {
        {0, &class, sizeof class}, {0x11, NULL, 0},          {0x12345, &kind, sizeof kind},
        {0x180, small, 1},         {0x100, &kind, sizeof kind}, {3, NULL, 0},
    };
    ulong_t code = CALL(C_GetAttributeValue, session, key, template, 6ul);
    if (code != BUFFER_TOO_SMALL && code != ATTRIBUTE_SENSITIVE && code != ATTRIBUTE_TYPE_INVALID)
        exit(1);
    if (class != 3 || kind != 3 || template[5].len != 1)
        exit(1);
    for (int i = 1; i < 4; i++)
        if (template[i].len != ~0ul)
            exit(1);
    EXPECT(ARGUMENTS_BAD, C_GetAttributeValue, session, key, NULL, 1ul);
    EXPECT(ARGUMENTS_BAD, C_FindObjectsInit, session, NULL, 1ul);
    ulong_t no_class = 0x7777;
    struct attribute of_no_class = {0, &no_class, sizeof no_class};
    EXPECT(0x13, C_CreateObject, session, &of_no_class, 1ul, &found);
    struct attribute no_value = {3, NULL, 5};
    EXPECT(ARGUMENTS_BAD, C_FindObjectsInit, session, &no_value, 1ul);
    EXPECT(NOT_INITIALIZED, C_FindObjects, session, &found, 1ul, &count);
    EXPECT(0, C_FindObjectsInit, session, NULL, 0ul);
    EXPECT(ACTIVE, C_FindObjectsInit, session, NULL, 0ul);
    /* Only its own end ends a search. */
    EXPECT(ARGUMENTS_BAD, C_FindObjects, session, NULL, 1ul, &count);
    EXPECT(ARGUMENTS_BAD, C_FindObjects, session, &found, 1ul, NULL);
    for (int i = 0; i < 2; i++) {
        EXPECT(0, C_FindObjects, session, &found, 1ul, &count);
        if (count != 1)
            exit(1);
    }
    EXPECT(0, C_FindObjects, session, &found, 1ul, &count);
    if (count != 0)
        exit(1);
    EXPECT(0, C_FindObjectsFinal, session);
    EXPECT(NOT_INITIALIZED, C_FindObjectsFinal, session);
    EXPECT(0x82, C_GetAttributeValue, session, 0ul, template, 1ul);
}

static void interfaces(void) {
    struct {
        const char *name;
        unsigned char *functions;
        ulong_t flags;
    } all[8], *one = NULL;
    ulong_t count = 8;
    EXPECT(0, C_GetInterfaceList, all, &count);
    if (count != 4)
        exit(1);
    for (ulong_t i = 0; i < count; i++)
        if (strcmp(all[i].name, i < 3 ? "PKCS 11" : "Vendor akv_provider") != 0 || all[i].flags != 1)
            exit(1);
    for (int i = 0; i < 3; i++) {
        unsigned char versions[3][2] = {{3, 2}, {3, 0}, {2, 40}};
        EXPECT(0, C_GetInterface, "PKCS 11", versions[i], &one, 1ul);
        if (memcmp(one->functions, versions[i], 2) != 0)
            exit(1);
    }
    unsigned char *functions = NULL;
    EXPECT(0, C_GetFunctionList, &functions);
    if (functions != one->functions)
        exit(1);
    unsigned char other[2] = {4, 0};
    EXPECT(6, C_GetInterface, NULL, other, &one, 0ul);
    EXPECT(6, C_GetInterface, "vendor", NULL, &one, 0ul);
    EXPECT(ARGUMENTS_BAD, C_GetInterface, NULL, NULL, NULL, 0ul);
}

/* The module's own interface tells why the last call of this thread failed. */
static void last_error(void) {
    struct {
        const char *name;
        struct {
            unsigned char version[2];
            ulong_t (*last_error)(char *, ulong_t *);
        } *functions;
        ulong_t flags;
    } *own = NULL;
    char text[400] = "";
    ulong_t len = 0, session = 0;
    EXPECT(0, C_GetInterface, "Vendor akv_provider", NULL, &own, 0ul);
    EXPECT(3, C_OpenSession, 77ul, 4ul, NULL, NULL, &session);
    if (own->functions->last_error(NULL, &len) != 0 || len == 0 || len >= sizeof text)
        exit(1);
    if (own->functions->last_error(text, &len) != 0 || strstr(text, "no slot 77") == NULL)
        exit(1);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    interfaces();
    start();
    lists();
    last_error();
    ulong_t session = open_session(), key = find_key(session);
    operations(session, key);
    attributes(session, key);
    EXPECT(0, C_CloseAllSessions, 0ul);
    EXPECT(0xb3, C_CloseSession, session);
    EXPECT(0, C_Finalize, NULL);
    return dlclose(library);
}
