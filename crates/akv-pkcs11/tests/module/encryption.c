/* Sizes: what a call asks for, what is too small, and which calls end an operation. */
#include "calls.h"

enum { BUFFER_TOO_SMALL = 0x150, NOT_INITIALIZED = 0x91, ARGUMENTS_BAD = 7 };

#define CHECK(condition)                                                                             \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            fprintf(stderr, "line %d: " #condition "\n", __LINE__);                                  \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

struct gcm_parameters {
    unsigned char *iv;
    ulong_t iv_len, iv_bits;
    unsigned char *aad;
    ulong_t aad_len, tag_bits;
};

struct gcm_message {
    unsigned char *iv;
    ulong_t iv_len, fixed_bits, generator;
    unsigned char *tag;
    ulong_t tag_bits;
};

static unsigned char iv[16] = {5};
static struct mechanism cbc_pad = {0x1085, iv, sizeof iv};

static void encrypts(ulong_t session, ulong_t key) {
    unsigned char text[20] = "twenty bytes of text", room[64];
    ulong_t len = 0;
    EXPECT(NOT_INITIALIZED, C_Encrypt, session, text, 20ul, room, &len);
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0x90, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0, C_Encrypt, session, text, 20ul, NULL, &len);
    CHECK(len == 32);
    len = 31;
    EXPECT(BUFFER_TOO_SMALL, C_Encrypt, session, text, 20ul, room, &len);
    CHECK(len == 32);
    EXPECT(0, C_Encrypt, session, text, 20ul, room, &len);
    EXPECT(NOT_INITIALIZED, C_Encrypt, session, text, 20ul, room, &len);
    /* A question after the size takes no part in. */
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0, C_EncryptUpdate, session, text, 20ul, NULL, &len);
    CHECK(len == 20);
    len = sizeof room;
    EXPECT(0, C_EncryptUpdate, session, text, 20ul, room, &len);
    CHECK(len == 0);
    EXPECT(0, C_EncryptFinal, session, NULL, &len);
    CHECK(len == 32);
    len = 0;
    EXPECT(BUFFER_TOO_SMALL, C_EncryptFinal, session, room, &len);
    EXPECT(0, C_EncryptFinal, session, room, &len);
    CHECK(len == 32);
    EXPECT(NOT_INITIALIZED, C_EncryptFinal, session, room, &len);
    /* A part's output may be as long as the part, so nobody has a buffer of no bytes, which may be NULL. */
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0, C_EncryptUpdate, session, text, 0ul, NULL, &len);
    CHECK(len > 0);
    EXPECT(0, C_SessionCancel, session, 0x100ul);
    /* A question after what an end without parts gives leaves it to be done with a message as a whole. */
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0, C_EncryptFinal, session, NULL, &len);
    len = sizeof room;
    EXPECT(0, C_Encrypt, session, text, 20ul, room, &len);
    CHECK(len == 32);
    /* Failures are the end; so is an end that is asked for. */
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(ARGUMENTS_BAD, C_Encrypt, session, NULL, 20ul, room, &len);
    EXPECT(NOT_INITIALIZED, C_EncryptFinal, session, room, &len);
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(ARGUMENTS_BAD, C_Encrypt, session, text, 20ul, room, NULL);
    EXPECT(NOT_INITIALIZED, C_EncryptFinal, session, room, &len);
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0, C_EncryptInit, session, NULL, 0ul);
    EXPECT(NOT_INITIALIZED, C_EncryptFinal, session, room, &len);
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0x180, C_GetOperationState, session, NULL, &len);
    EXPECT(0, C_SessionCancel, session, 0x100ul);
    EXPECT(NOT_INITIALIZED, C_EncryptFinal, session, room, &len);
    struct mechanism short_iv = {0x1085, iv, 8}, no_iv = {0x1085, NULL, 16};
    EXPECT(0x71, C_EncryptInit, session, &short_iv, key);
    EXPECT(0x71, C_EncryptInit, session, &no_iv, key);
    EXPECT(0x60, C_EncryptInit, session, &cbc_pad, 0ul);
}

/* The longest plaintext is told before the HSM is asked; what fits is enough for the real one. */
static void decrypts(ulong_t session, ulong_t key) {
    unsigned char text[20] = "twenty bytes of text", sealed[32], room[64];
    ulong_t len = sizeof sealed;
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0, C_Encrypt, session, text, 20ul, sealed, &len);
    EXPECT(0, C_DecryptInit, session, &cbc_pad, key);
    EXPECT(0, C_Decrypt, session, sealed, 32ul, NULL, &len);
    CHECK(len == 32);
    len = 19;
    EXPECT(BUFFER_TOO_SMALL, C_Decrypt, session, sealed, 32ul, room, &len);
    CHECK(len == 20);
    EXPECT(0, C_Decrypt, session, sealed, 32ul, room, &len);
    CHECK(len == 20 && memcmp(room, text, 20) == 0);
    EXPECT(NOT_INITIALIZED, C_Decrypt, session, sealed, 32ul, room, &len);
    /* In its own place. */
    EXPECT(0, C_DecryptInit, session, &cbc_pad, key);
    len = 32;
    EXPECT(0, C_Decrypt, session, sealed, 32ul, sealed, &len);
    CHECK(len == 20 && memcmp(sealed, text, 20) == 0);
    EXPECT(0, C_DecryptInit, session, &cbc_pad, key);
    len = 64;
    EXPECT(0x41, C_Decrypt, session, sealed, 20ul, room, &len);
    EXPECT(NOT_INITIALIZED, C_DecryptFinal, session, room, &len);
}

/* A place for the HSM's initialisation vector that has another use by now is left as it is. */
static void overwritten(ulong_t session, ulong_t key) {
    unsigned char place[12] = {0}, text[4] = "text", room[64];
    ulong_t len = sizeof room;
    struct gcm_parameters gcm = {place, 12, 96, NULL, 0, 128};
    struct mechanism mechanism = {0x1087, &gcm, sizeof gcm};
    EXPECT(0, C_EncryptInit, session, &mechanism, key);
    memcpy(place, "other's text", 12);
    EXPECT(0x71, C_Encrypt, session, text, 4ul, room, &len);
    CHECK(memcmp(place, "other's text", 12) == 0);
    EXPECT(NOT_INITIALIZED, C_EncryptFinal, session, room, &len);
}

/* A message of nothing but what it is bound to: the tag is looked at, however large a buffer is asked for. */
static void empty(ulong_t session, ulong_t key) {
    unsigned char aad[4] = "data", forged[16] = {1}, room[16];
    ulong_t len = 0;
    struct gcm_parameters gcm = {iv, 12, 96, aad, sizeof aad, 128};
    struct mechanism mechanism = {0x1087, &gcm, sizeof gcm};
    EXPECT(0, C_DecryptInit, session, &mechanism, key);
    EXPECT(0, C_Decrypt, session, forged, 16ul, NULL, &len);
    CHECK(len > 0);
    EXPECT(0x40, C_Decrypt, session, forged, 16ul, room, &len);
    struct gcm_message message = {iv, 12, 0, 0, forged, 128};
    struct mechanism of_messages = {0x1087, NULL, 0};
    EXPECT(0, C_MessageDecryptInit, session, &of_messages, key);
    EXPECT(0, C_DecryptMessage, session, &message, sizeof message, aad, 4ul, forged, 0ul, NULL, &len);
    CHECK(len > 0);
    EXPECT(0x42, C_DecryptMessage, session, &message, sizeof message, aad, 4ul, forged, 0ul, room, &len);
    EXPECT(0, C_DecryptMessageBegin, session, &message, sizeof message, aad, 4ul);
    EXPECT(0, C_DecryptMessageNext, session, &message, sizeof message, forged, 5ul, NULL, &len, 0ul);
    CHECK(len == 5);
    EXPECT(0, C_MessageDecryptFinal, session);
}

/* A message of which a part was refused has no end without it. */
static void refused_parts(ulong_t session, ulong_t key) {
    static unsigned char part[300000], room[700000];
    unsigned char tag[16], zeros[12] = {0};
    ulong_t len = sizeof room;
    struct gcm_message message = {zeros, 12, 0, 1, tag, 128};
    struct mechanism gcm = {0x1087, NULL, 0};
    EXPECT(0, C_MessageEncryptInit, session, &gcm, key);
    EXPECT(0, C_EncryptMessageBegin, session, &message, sizeof message, NULL, 0ul);
    EXPECT(0, C_EncryptMessageNext, session, &message, sizeof message, part, sizeof part, room, &len, 0ul);
    len = sizeof room;
    EXPECT(0x21, C_EncryptMessageNext, session, &message, sizeof message, part, sizeof part, room, &len, 0ul);
    EXPECT(NOT_INITIALIZED, C_EncryptMessageNext, session, &message, sizeof message, part, 10ul, room, &len, 1ul);
    EXPECT(0, C_MessageEncryptFinal, session);
    EXPECT(0, C_MessageDecryptInit, session, &gcm, key);
    EXPECT(0, C_DecryptMessageBegin, session, &message, sizeof message, NULL, 0ul);
    len = sizeof room;
    EXPECT(0, C_DecryptMessageNext, session, &message, sizeof message, part, sizeof part, room, &len, 0ul);
    len = sizeof room;
    EXPECT(0x41, C_DecryptMessageNext, session, &message, sizeof message, part, sizeof part, room, &len, 0ul);
    EXPECT(NOT_INITIALIZED, C_DecryptMessageNext, session, &message, sizeof message, part, 10ul, room, &len, 1ul);
    EXPECT(0, C_MessageDecryptFinal, session);
    for (int encrypts = 0; encrypts < 2; encrypts++) {
        const char *names[][3] = {{"C_DecryptInit", "C_DecryptUpdate", "C_DecryptFinal"},
                                  {"C_EncryptInit", "C_EncryptUpdate", "C_EncryptFinal"}};
        ulong_t (*begin)() = function(names[encrypts][0]), (*update)() = function(names[encrypts][1]);
        CHECK(begin(session, &cbc_pad, key) == 0);
        for (int number = 0; number < 2; number++) {
            len = sizeof room;
            ulong_t code = update(session, part, sizeof part, room, &len);
            CHECK(code == (number == 0 ? 0 : encrypts ? 0x21 : 0x41));
        }
        len = sizeof room;
        CHECK(((ulong_t(*)())function(names[encrypts][2]))(session, room, &len) == NOT_INITIALIZED);
    }
}

static void parameters(ulong_t session, ulong_t key) {
    struct gcm_parameters gcm = {iv, 12, 96, NULL, 5, 128};
    struct mechanism mechanism = {0x1087, &gcm, sizeof gcm};
    EXPECT(0x71, C_DecryptInit, session, &mechanism, key);
    gcm.aad_len = 0;
    mechanism.len = 40;
    EXPECT(0x71, C_DecryptInit, session, &mechanism, key);
    mechanism.len = sizeof gcm;
    EXPECT(0, C_DecryptInit, session, &mechanism, key);
    EXPECT(0, C_DecryptInit, session, NULL, 0ul);
    gcm.iv = NULL;
    EXPECT(0x71, C_DecryptInit, session, &mechanism, key);
    mechanism.parameter = NULL;
    EXPECT(0x71, C_DecryptInit, session, &mechanism, key);
    unsigned char room[16];
    ulong_t len = sizeof room;
    mechanism.len = 0;
    EXPECT(0, C_MessageEncryptInit, session, &mechanism, key);
    EXPECT(0x71, C_EncryptMessage, session, NULL, 0ul, NULL, 0ul, room, 16ul, room, &len);
    EXPECT(ARGUMENTS_BAD, C_EncryptMessage, session, NULL, 48ul, NULL, 0ul, room, 16ul, room, &len);
    EXPECT(NOT_INITIALIZED, C_EncryptMessageNext, session, NULL, 0ul, room, 1ul, room, &len, 0ul);
    EXPECT(0, C_SessionCancel, session, 2ul);
    EXPECT(NOT_INITIALIZED, C_MessageEncryptFinal, session);
    EXPECT(0x70, C_MessageEncryptInit, session, &cbc_pad, key);
    EXPECT(ARGUMENTS_BAD, C_WrapKey, session, NULL, key, key, room, &len);
    EXPECT(0x113, C_WrapKey, session, &cbc_pad, 0ul, key, room, &len);
    EXPECT(0xf0, C_UnwrapKey, session, &cbc_pad, 0ul, room, 16ul, NULL, 0ul, &key);
    EXPECT(ARGUMENTS_BAD, C_UnwrapKey, session, &cbc_pad, key, room, 16ul, NULL, 0ul, NULL);
    EXPECT(ARGUMENTS_BAD, C_GenerateKey, session, NULL, NULL, 0ul, &key);
}

/* Both names of key wrap with padding, and the default initial values. */
static void wraps(ulong_t session, ulong_t key) {
    unsigned char initial[4] = {0xa6, 0x59, 0x59, 0xa6}, text[5] = "short", sealed[16], opened[8];
    struct mechanism pad = {0x210a, NULL, 0}, kwp = {0x210b, initial, 4}, other = {0x210b, iv, 4};
    ulong_t len = sizeof sealed;
    EXPECT(0, C_EncryptInit, session, &pad, key);
    EXPECT(0, C_Encrypt, session, text, 5ul, sealed, &len);
    CHECK(len == 16);
    EXPECT(0, C_DecryptInit, session, &kwp, key);
    len = sizeof opened;
    EXPECT(0, C_Decrypt, session, sealed, 16ul, opened, &len);
    CHECK(len == 5 && memcmp(opened, text, 5) == 0);
    EXPECT(0x71, C_EncryptInit, session, &other, key);
}

/* Lengths that no memory has are refused before anything is copied. */
static void lengths(ulong_t session, ulong_t key) {
    ulong_t most = ~0ul >> 1, len = 64, class = 4, type = 0x1f, size = 32, made = 0, count = 1;
    unsigned char room[64], zeros[12] = {0}, tag[16];
    struct gcm_message message = {zeros, 12, 0, 1, tag, 128};
    struct mechanism gcm = {0x1087, NULL, 0};
    EXPECT(0, C_MessageEncryptInit, session, &gcm, key);
    ulong_t bits[] = {~0ul, 1ul << 40, 127, 0};
    for (int i = 0; i < 4; i++) {
        message.tag_bits = bits[i];
        EXPECT(0x71, C_EncryptMessage, session, &message, sizeof message, NULL, 0ul, room, 16ul, room, &len);
    }
    message.tag_bits = 128;
    message.iv_len = most;
    EXPECT(0x71, C_EncryptMessage, session, &message, sizeof message, NULL, 0ul, room, 16ul, room, &len);
    message.iv_len = 12;
    EXPECT(ARGUMENTS_BAD, C_EncryptMessage, session, &message, sizeof message, room, most, room, 16ul, room, &len);
    EXPECT(0x21, C_EncryptMessage, session, &message, sizeof message, NULL, 0ul, room, most, room, &len);
    EXPECT(ARGUMENTS_BAD, C_EncryptMessageBegin, session, &message, sizeof message, room, most);
    EXPECT(0, C_EncryptMessageBegin, session, &message, sizeof message, NULL, 0ul);
    EXPECT(0x21, C_EncryptMessageNext, session, &message, sizeof message, room, most, room, &len, 1ul);
    EXPECT(0, C_MessageEncryptFinal, session);
    struct gcm_parameters whole = {zeros, 12, 96, room, most, 128};
    struct mechanism bound = {0x1087, &whole, sizeof whole};
    EXPECT(0x71, C_EncryptInit, session, &bound, key);
    unsigned char *outputs[] = {NULL, room};
    for (int i = 0; i < 2; i++) {
        EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
        EXPECT(0x21, C_Encrypt, session, room, most, outputs[i], &len);
        EXPECT(0, C_DecryptInit, session, &cbc_pad, key);
        EXPECT(0x41, C_Decrypt, session, room, most, outputs[i], &len);
    }
    EXPECT(0, C_EncryptInit, session, &cbc_pad, key);
    EXPECT(0x21, C_EncryptUpdate, session, room, most, room, &len);
    struct attribute secret[] = {{0, &class, sizeof class}, {0x100, &type, sizeof type}, {0x11, room, most}};
    EXPECT(0x112, C_UnwrapKey, session, &cbc_pad, key, room, most, secret, 2ul, &made);
    EXPECT(0x13, C_CreateObject, session, secret, 3ul, &made);
    struct attribute named[] = {{0x161, &size, sizeof size}, {0x102, room, most}};
    struct mechanism generates = {0x1080, NULL, 0};
    EXPECT(0x13, C_GenerateKey, session, &generates, named, 2ul, &made);
    /* No object has such an id. */
    EXPECT(0, C_FindObjectsInit, session, named + 1, 1ul);
    EXPECT(0, C_FindObjects, session, &made, 1ul, &count);
    CHECK(count == 0);
    EXPECT(0, C_FindObjectsFinal, session);
    EXPECT(0xa0, C_Login, session, 1ul, room, most);
    EXPECT(0xa0, C_LoginUser, session, 1ul, room, 4ul, room, most);
    EXPECT(0xa0, C_LoginUser, session, 1ul, room, most, room, 4ul);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), key = find_object(session, 4);
    encrypts(session, key);
    decrypts(session, key);
    overwritten(session, key);
    empty(session, key);
    refused_parts(session, key);
    parameters(session, key);
    wraps(session, key);
    lengths(session, key);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
