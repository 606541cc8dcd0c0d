/* Many messages by one key: which calls belong between which, and what ends a message, or all of them. */
#include "calls.h"

enum { BUFFER_TOO_SMALL = 0x150, ACTIVE = 0x90, NOT_INITIALIZED = 0x91, ARGUMENTS_BAD = 7 };

static struct mechanism hashed = {0x1044, NULL, 0}; /* CKM_ECDSA_SHA256 */
/* How long its signatures are. */
static ulong_t size = 64;
static unsigned char text[20] = "twenty bytes of text", signature[8192], damaged[8192];

static void expect_verdict(int line, ulong_t expected, ulong_t code) {
    if (code != expected) {
        fprintf(stderr, "line %d: 0x%lx\n", line, code);
        exit(1);
    }
}

/* What a signature of the text is, by C_Verify. */
#define VERDICT(expected)                                                                            \
    do {                                                                                             \
        EXPECT(0, C_VerifyInit, session, &hashed, public);                                           \
        expect_verdict(__LINE__, expected, CALL(C_Verify, session, text, 20ul, signature, size));    \
    } while (0)

static void signs(ulong_t session, ulong_t key, ulong_t public) {
    ulong_t len = 0;
    EXPECT(NOT_INITIALIZED, C_SignMessage, session, NULL, 0ul, text, 20ul, signature, &len);
    EXPECT(NOT_INITIALIZED, C_SignMessageBegin, session, NULL, 0ul);
    EXPECT(NOT_INITIALIZED, C_MessageSignFinal, session);
    EXPECT(0x68, C_MessageSignInit, session, &hashed, public);
    EXPECT(0, C_MessageSignInit, session, &hashed, key);
    EXPECT(ACTIVE, C_MessageSignInit, session, &hashed, key);
    /* One after another. */
    for (int i = 0; i < 2; i++) {
        EXPECT(0, C_SignMessage, session, NULL, 0ul, text, 20ul, NULL, &len);
        expect_verdict(__LINE__, size, len);
        len = size - 1;
        EXPECT(BUFFER_TOO_SMALL, C_SignMessage, session, NULL, 0ul, text, 20ul, signature, &len);
        expect_verdict(__LINE__, size, len);
        EXPECT(0, C_SignMessage, session, NULL, 0ul, text, 20ul, signature, &len);
        VERDICT(0);
    }
    /* A message that fails is not the end. */
    EXPECT(ARGUMENTS_BAD, C_SignMessage, session, NULL, 0ul, NULL, 20ul, signature, &len);
    EXPECT(ARGUMENTS_BAD, C_SignMessage, session, NULL, 0ul, text, 20ul, signature, NULL);
    EXPECT(ARGUMENTS_BAD, C_SignMessage, session, NULL, 8ul, text, 20ul, signature, &len);
    EXPECT(0x71, C_SignMessage, session, text, 20ul, text, 20ul, signature, &len);
    EXPECT(NOT_INITIALIZED, C_SignMessageNext, session, NULL, 0ul, text, 20ul, signature, &len);
    /* In parts: the last one has a place for the length. */
    memset(signature, 0, sizeof signature);
    EXPECT(0, C_SignMessageBegin, session, NULL, 0ul);
    EXPECT(ACTIVE, C_SignMessageBegin, session, NULL, 0ul);
    EXPECT(ACTIVE, C_SignMessage, session, NULL, 0ul, text, 20ul, signature, &len);
    EXPECT(0, C_SignMessageNext, session, NULL, 0ul, text, 7ul, NULL, NULL);
    EXPECT(0, C_SignMessageNext, session, NULL, 0ul, text + 7, 13ul, NULL, &len);
    expect_verdict(__LINE__, size, len);
    len = 1;
    EXPECT(BUFFER_TOO_SMALL, C_SignMessageNext, session, NULL, 0ul, text + 7, 13ul, signature, &len);
    EXPECT(0, C_SignMessageNext, session, NULL, 0ul, text + 7, 13ul, signature, &len);
    VERDICT(0);
    EXPECT(NOT_INITIALIZED, C_SignMessageNext, session, NULL, 0ul, text, 1ul, signature, &len);
    /* Parts that fail are the end of the message alone. */
    EXPECT(0, C_SignMessageBegin, session, NULL, 0ul);
    EXPECT(ARGUMENTS_BAD, C_SignMessageNext, session, NULL, 0ul, NULL, 7ul, NULL, NULL);
    EXPECT(NOT_INITIALIZED, C_SignMessageNext, session, NULL, 0ul, text, 7ul, NULL, NULL);
    EXPECT(0, C_SignMessage, session, NULL, 0ul, text, 20ul, signature, &len);
    EXPECT(0x180, C_GetOperationState, session, NULL, &len);
    EXPECT(0, C_MessageSignFinal, session);
    EXPECT(NOT_INITIALIZED, C_MessageSignFinal, session);
    /* Others are as they were. */
    EXPECT(NOT_INITIALIZED, C_SignUpdate, session, text, 1ul);
}

static void verifies(ulong_t session, ulong_t key, ulong_t public) {
    memcpy(damaged, signature, size);
    damaged[9] ^= 1;
    EXPECT(NOT_INITIALIZED, C_VerifyMessage, session, NULL, 0ul, text, 20ul, signature, size);
    EXPECT(0x68, C_MessageVerifyInit, session, &hashed, key);
    EXPECT(0, C_MessageVerifyInit, session, &hashed, public);
    EXPECT(0, C_VerifyMessage, session, NULL, 0ul, text, 20ul, signature, size);
    EXPECT(0xc0, C_VerifyMessage, session, NULL, 0ul, text, 20ul, damaged, size);
    EXPECT(0xc1, C_VerifyMessage, session, NULL, 0ul, text, 20ul, signature, size - 1);
    EXPECT(0xc0, C_VerifyMessage, session, NULL, 0ul, text, 19ul, signature, size);
    EXPECT(0x71, C_VerifyMessage, session, text, 20ul, text, 20ul, signature, size);
    EXPECT(NOT_INITIALIZED, C_VerifyMessageNext, session, NULL, 0ul, text, 20ul, signature, size);
    for (int i = 0; i < 2; i++) {
        EXPECT(0, C_VerifyMessageBegin, session, NULL, 0ul);
        EXPECT(ACTIVE, C_VerifyMessage, session, NULL, 0ul, text, 20ul, signature, size);
        EXPECT(0, C_VerifyMessageNext, session, NULL, 0ul, text, 5ul, NULL, 0ul);
        EXPECT(i == 0 ? 0 : 0xc0, C_VerifyMessageNext, session, NULL, 0ul, text + 5, 15ul,
               i == 0 ? signature : damaged, size);
    }
    EXPECT(0, C_MessageVerifyFinal, session);
    EXPECT(NOT_INITIALIZED, C_VerifyMessageBegin, session, NULL, 0ul);
    /* Ended by no mechanism, and by C_SessionCancel. */
    EXPECT(0, C_MessageVerifyInit, session, &hashed, public);
    EXPECT(0, C_MessageVerifyInit, session, NULL, 0ul);
    EXPECT(NOT_INITIALIZED, C_MessageVerifyFinal, session);
    EXPECT(0, C_MessageVerifyInit, session, &hashed, public);
    EXPECT(0, C_MessageSignInit, session, &hashed, key);
    EXPECT(0, C_SessionCancel, session, 8ul);
    EXPECT(NOT_INITIALIZED, C_MessageSignFinal, session);
    EXPECT(0, C_SessionCancel, session, 0x10ul);
    EXPECT(NOT_INITIALIZED, C_MessageVerifyFinal, session);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    if (argc > 2) {
        hashed.type = 0x1d; /* CKM_ML_DSA, of the second parameter set */
        size = 3309;
    }
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), key = find_key(session), public = find_object(session, 2);
    signs(session, key, public);
    verifies(session, key, public);
    struct mechanism raw = {3, NULL, 0}, digest = {0x250, NULL, 0}; /* CKM_RSA_X_509, CKM_SHA256 */
    EXPECT(0x70, C_MessageSignInit, session, &digest, key);
    EXPECT(0x70, C_MessageVerifyInit, session, &digest, public);
    /* Raw RSA is no operation of the HSM, and is not offered for the public key alone. */
    EXPECT(0x70, C_SignInit, session, &raw, key);
    EXPECT(0x70, C_DecryptInit, session, &raw, key);
    EXPECT(0x70, C_VerifyInit, session, &raw, public);
    EXPECT(0x70, C_VerifyRecoverInit, session, &raw, public);
    EXPECT(0x70, C_EncryptInit, session, &raw, public);
    EXPECT(0, C_Finalize, NULL);
    EXPECT(0x190, C_MessageSignInit, session, &hashed, key);
    return 0;
}
