/* compared MODULE: sequences of calls that only depend on numbers that look random and are the same each time. Each is
   written as a line with its code, and the size or the number that it gives, so that what two modules answer can be
   compared. Handles are places in arrays, and what is random in a result isn't written. */
#include "calls.h"

enum { BUFFER_TOO_SMALL = 0x150, SEQUENCES = 60, CALLS = 10 };

static unsigned long long number = 0x9e3779b97f4a7c15;

static unsigned next(unsigned below) {
    number ^= number << 13;
    number ^= number >> 7;
    number ^= number << 17;
    return (unsigned)(number >> 33) % below;
}

#define CHOOSE(array) (array)[next(sizeof(array) / sizeof(*(array)))]

/* A call's name with what it was passed, and its code. */
#define TELL(code, ...)                                                                                     \
    do {                                                                                                    \
        printf(__VA_ARGS__);                                                                                \
        printf(": 0x%lx\n", code);                                                                          \
    } while (0)

/* The same with a size, where there is one. */
#define TELL_SIZE(code, size, ...)                                                                          \
    do {                                                                                                    \
        printf(__VA_ARGS__);                                                                                \
        if ((code) == 0 || (code) == BUFFER_TOO_SMALL)                                                      \
            printf(": 0x%lx %ld\n", code, (long)(size));                                                    \
        else                                                                                                \
            printf(": 0x%lx\n", code);                                                                      \
    } while (0)

static ulong_t slot, rsa_public, rsa_private, ec_public, ec_private, aes, own;
static unsigned char zeros[16], data[600], output[600], ciphertexts[3][256];
static ulong_t ciphertext_lens[3];

static const char true_[1] = {1}, false_[1] = {0};
#define ATTRIBUTE(type, value) {type, (void *)(value), sizeof(value)}
#define NUMBER(type, value) {type, &(ulong_t){value}, sizeof(ulong_t)}

/* --- what both have --------------------------------------------------------------------------------------------- */

/* A new token where the module makes such, which then has another slot. */
static ulong_t login(void) {
    ulong_t slots[8], count = 8, session = 0;
    unsigned char label[32];
    memset(label, ' ', sizeof label);
    memcpy(label, "reference", 9);
    EXPECT(0, C_GetSlotList, 1, slots, &count);
    slot = slots[0];
    int is_made = CALL(C_InitToken, slot, "1234", 4ul, label) == 0;
    count = 8;
    EXPECT(0, C_GetSlotList, 1, slots, &count);
    slot = slots[0];
    EXPECT(0, C_OpenSession, slot, 6ul, NULL, NULL, &session);
    if (is_made) {
        EXPECT(0, C_Login, session, 0ul, "1234", 4ul);
        EXPECT(0, C_InitPIN, session, "1234", 4ul);
        EXPECT(0, C_Logout, session);
    }
    EXPECT(0, C_Login, session, 1ul, "1234", 4ul);
    return session;
}

static void make_keys(ulong_t session) {
    static const char label[4] = "pair", exponent[3] = {1, 0, 1};
    static const unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct attribute private[] = {ATTRIBUTE(1, true_),     ATTRIBUTE(2, true_),     ATTRIBUTE(3, label),
                                  ATTRIBUTE(0x108, true_), ATTRIBUTE(0x103, true_), ATTRIBUTE(0x105, true_),
                                  ATTRIBUTE(0x107, true_)};
    struct attribute of_rsa[] = {ATTRIBUTE(1, true_),     ATTRIBUTE(3, label),     ATTRIBUTE(0x10a, true_),
                                 NUMBER(0x121, 2048),     ATTRIBUTE(0x122, exponent), ATTRIBUTE(0x104, true_),
                                 ATTRIBUTE(0x106, true_)};
    struct attribute of_ec[] = {ATTRIBUTE(1, true_), ATTRIBUTE(3, label), ATTRIBUTE(0x10a, true_), ATTRIBUTE(0x180, p256)};
    struct attribute of_aes[] = {ATTRIBUTE(1, true_),     ATTRIBUTE(3, label),     NUMBER(0x161, 32),      ATTRIBUTE(0x104, true_),
                                 ATTRIBUTE(0x105, true_), ATTRIBUTE(0x106, true_), ATTRIBUTE(0x107, true_)};
    struct attribute of_own[] = {NUMBER(0, 4), NUMBER(0x100, 0x1f), ATTRIBUTE(0x11, zeros), ATTRIBUTE(0x103, false_),
                                 ATTRIBUTE(0x162, true_)};
    struct mechanism rsa_gen = {0, NULL, 0}, ec_gen = {0x1040, NULL, 0}, aes_gen = {0x1080, NULL, 0};
    EXPECT(0, C_GenerateKeyPair, session, &rsa_gen, of_rsa, 7ul, private, 7ul, &rsa_public, &rsa_private);
    EXPECT(0, C_GenerateKeyPair, session, &ec_gen, of_ec, 4ul, private, 5ul, &ec_public, &ec_private);
    EXPECT(0, C_GenerateKey, session, &aes_gen, of_aes, 7ul, &aes);
    EXPECT(0, C_CreateObject, session, of_own, 5ul, &own);
}

/* --- sizes ------------------------------------------------------------------------------------------------------ */

/* A buffer of some size, or none: what is passed as a size then doesn't matter. */
struct room {
    unsigned char *place;
    ulong_t len;
};

static struct room some_room(void) {
    static const ulong_t lens[] = {0, 1, 15, 16, 20, 24, 31, 32, 40, 63, 64, 255, 256, 512};
    struct room room = {next(3) == 0 ? NULL : output, CHOOSE(lens)};
    return room;
}

static const char *shown(struct room room) {
    static char text[32];
    if (room.place == NULL)
        return "?";
    snprintf(text, sizeof text, "%lu", room.len);
    return text;
}

static void sign(ulong_t session) {
    static const struct mechanism mechanisms[] = {{1, NULL, 0}, {0x40, NULL, 0}, {0x1041, NULL, 0}, {0x42, NULL, 0}};
    static const ulong_t lens[] = {32, 5, 0, 300};
    struct mechanism mechanism = CHOOSE(mechanisms);
    struct room room = some_room();
    ulong_t len = room.len, data_len = CHOOSE(lens), code;
    switch (next(5)) {
    case 0:
    case 1:
        code = CALL(C_SignInit, session, &mechanism, mechanism.type == 0x1041 ? ec_private : rsa_private);
        TELL(code, "C_SignInit %lx", mechanism.type);
        return;
    case 2:
        code = CALL(C_Sign, session, data, data_len, room.place, &len);
        TELL_SIZE(code, len, "C_Sign %lu %s", data_len, shown(room));
        return;
    case 3:
        TELL(CALL(C_SignUpdate, session, data, data_len), "C_SignUpdate %lu", data_len);
        return;
    default:
        code = CALL(C_SignFinal, session, room.place, &len);
        TELL_SIZE(code, len, "C_SignFinal %s", shown(room));
    }
}

static void digest(ulong_t session) {
    static const struct mechanism mechanisms[] = {{0x220, NULL, 0}, {0x250, NULL, 0}, {0x270, NULL, 0}};
    struct mechanism mechanism = CHOOSE(mechanisms);
    struct room room = some_room();
    ulong_t len = room.len, data_len = next(40), code;
    switch (next(5)) {
    case 0:
    case 1:
        TELL(CALL(C_DigestInit, session, &mechanism), "C_DigestInit %lx", mechanism.type);
        return;
    case 2:
        code = CALL(C_Digest, session, data, data_len, room.place, &len);
        TELL_SIZE(code, len, "C_Digest %lu %s", data_len, shown(room));
        return;
    case 3:
        TELL(CALL(C_DigestUpdate, session, data, data_len), "C_DigestUpdate %lu", data_len);
        return;
    default:
        code = CALL(C_DigestFinal, session, room.place, &len);
        TELL_SIZE(code, len, "C_DigestFinal %s", shown(room));
    }
}

static struct mechanism ciphers[] = {{1, NULL, 0}, {0x1082, zeros, 16}, {0x1085, zeros, 16}};

static void make_ciphertexts(ulong_t session) {
    for (int i = 0; i < 3; i++) {
        ciphertext_lens[i] = sizeof ciphertexts[i];
        EXPECT(0, C_EncryptInit, session, &ciphers[i], i == 0 ? rsa_public : aes);
        EXPECT(0, C_Encrypt, session, data, i == 1 ? 32ul : 20ul, ciphertexts[i], &ciphertext_lens[i]);
    }
}

static void encrypt(ulong_t session) {
    static const ulong_t lens[] = {16, 32, 20, 0};
    unsigned which = next(3);
    struct room room = some_room();
    ulong_t len = room.len, data_len = CHOOSE(lens), code;
    switch (next(5)) {
    case 0:
    case 1:
        code = CALL(C_EncryptInit, session, &ciphers[which], which == 0 ? rsa_public : aes);
        TELL(code, "C_EncryptInit %lx", ciphers[which].type);
        return;
    case 2:
    case 3:
        code = CALL(C_Encrypt, session, data, data_len, room.place, &len);
        TELL_SIZE(code, len, "C_Encrypt %lu %s", data_len, shown(room));
        return;
    default:
        code = CALL(C_EncryptUpdate, session, data, data_len, room.place, &len);
        TELL_SIZE(code, len, "C_EncryptUpdate %lu %s", data_len, shown(room));
    }
}

static void decrypt(ulong_t session) {
    unsigned which = next(3), of = next(3);
    struct room room = some_room();
    ulong_t len = room.len, code;
    switch (next(5)) {
    case 0:
    case 1:
        code = CALL(C_DecryptInit, session, &ciphers[which], which == 0 ? rsa_private : aes);
        TELL(code, "C_DecryptInit %lx", ciphers[which].type);
        return;
    case 2:
    case 3:
        code = CALL(C_Decrypt, session, ciphertexts[of], ciphertext_lens[of], room.place, &len);
        TELL_SIZE(code, len, "C_Decrypt %lu %s", ciphertext_lens[of], shown(room));
        return;
    default:
        code = CALL(C_DecryptUpdate, session, ciphertexts[of], ciphertext_lens[of], room.place, &len);
        TELL_SIZE(code, len, "C_DecryptUpdate %lu %s", ciphertext_lens[of], shown(room));
    }
}

static void wrap(ulong_t session) {
    static const ulong_t mechanisms[] = {0x2109, 0x210a, 1};
    struct mechanism mechanism = {CHOOSE(mechanisms), NULL, 0};
    struct room room = some_room();
    ulong_t len = room.len, by = mechanism.type == 1 ? rsa_public : aes, key = next(4) == 0 ? rsa_private : own;
    ulong_t code = CALL(C_WrapKey, session, &mechanism, by, key, room.place, &len);
    TELL_SIZE(code, len, "C_WrapKey %lx %s %s", mechanism.type, key == own ? "own" : "rsa", shown(room));
}

/* Attributes that each has, and some that it hasn't, in buffers of all sizes. */
static void attributes(ulong_t session) {
    static const ulong_t types[] = {0, 1, 2, 3, 0x100, 0x103, 0x108, 0x11, 0x120, 0x121, 0x123, 0x180, 0x161, 0x162, 0x7777};
    ulong_t objects[] = {rsa_public, rsa_private, ec_public, ec_private, aes, own}, count = 1 + next(3), object = next(6);
    struct attribute template[3];
    char asked[100] = "";
    for (ulong_t i = 0; i < count; i++) {
        struct room room = some_room();
        template[i] = (struct attribute){CHOOSE(types), room.place == NULL ? NULL : output + 200 * i, room.len % 200};
        room.len = template[i].len;
        snprintf(asked + strlen(asked), sizeof asked - strlen(asked), " %lx/%s", template[i].type, shown(room));
    }
    ulong_t code = CALL(C_GetAttributeValue, session, objects[object], template, count);
    printf("C_GetAttributeValue %lu%s: 0x%lx", object, asked, code);
    for (ulong_t i = 0; i < count; i++)
        printf(" %ld", (long)template[i].len);
    printf("\n");
}

/* What has no operation: lists, random bytes. */
static void others(ulong_t session) {
    struct room room = some_room();
    ulong_t slots[8], count = next(4), mechanisms[200], many = next(2) == 0 ? 200 : next(3), code;
    switch (next(5)) {
    case 0:
        TELL(CALL(C_GenerateRandom, session, room.place, room.len), "C_GenerateRandom %s %lu", shown(room), room.len);
        return;
    case 1:
        TELL(CALL(C_SeedRandom, session, data, room.len), "C_SeedRandom %lu", room.len);
        return;
    case 2:
        printf("C_GetSlotList %s %lu", room.place == NULL ? "?" : "", count);
        code = CALL(C_GetSlotList, 1, room.place == NULL ? NULL : slots, &count);
        TELL(code, " ");
        return;
    case 3:
        printf("C_GetMechanismList %s %lu", room.place == NULL ? "?" : "", many);
        code = CALL(C_GetMechanismList, slot, room.place == NULL ? NULL : mechanisms, &many);
        TELL(code, " ");
        return;
    default:
        code = CALL(C_GetMechanismInfo, slot, CHOOSE(((ulong_t[]){1, 0x250, 0x7777})), mechanisms);
        TELL(code, "C_GetMechanismInfo");
    }
}

/* --- sessions --------------------------------------------------------------------------------------------------- */

struct session_info {
    ulong_t slot, state, flags, device_error;
};

enum { SESSIONS = 4 };

static ulong_t sessions[SESSIONS];

static void session_call(ulong_t unused) {
    (void)unused;
    unsigned place = next(SESSIONS);
    ulong_t session = sessions[place], code, found = 0, count = 0;
    struct session_info info = {0};
    switch (next(11)) {
    case 0:
    case 1:
    case 2: {
        ulong_t flags = CHOOSE(((ulong_t[]){4, 6, 4, 6, 2, 0})), of = next(8) == 0 ? 77 : slot, opened = 0;
        code = CALL(C_OpenSession, of, flags, NULL, NULL, &opened);
        if (code == 0)
            sessions[place] = opened;
        TELL(code, "C_OpenSession %s %lu as %u", of == slot ? "slot" : "none", flags, place);
        return;
    }
    case 3:
        TELL(CALL(C_CloseSession, session), "C_CloseSession %u", place);
        return;
    case 4:
        TELL(CALL(C_CloseAllSessions, slot), "C_CloseAllSessions");
        return;
    case 5:
    case 6:
        code = CALL(C_GetSessionInfo, session, &info);
        printf("C_GetSessionInfo %u: 0x%lx", place, code);
        if (code == 0)
            printf(" state %lu flags %lu", info.state, info.flags);
        printf("\n");
        return;
    case 7:
        TELL(CALL(C_Login, session, 1ul, "1234", 4ul), "C_Login %u", place);
        return;
    case 8:
        TELL(CALL(C_Login, session, CHOOSE(((ulong_t[]){2, 9})), "1234", 4ul), "C_Login other %u", place);
        return;
    case 9:
        TELL(CALL(C_Logout, session), "C_Logout %u", place);
        return;
    default:
        /* An operation is that of its session. */
        code = CALL(C_FindObjects, session, &found, 1ul, &count);
        TELL_SIZE(code, count, "C_FindObjects %u", place);
    }
}

/* --- searches --------------------------------------------------------------------------------------------------- */

static void find_call(ulong_t session) {
    static const char pair[4] = "pair", other[5] = "other", half[2] = "pa";
    static char four[4] = {3};
    const struct attribute criteria[] = {
        NUMBER(0, 2),       NUMBER(0, 3),         NUMBER(0, 4),        NUMBER(0, 1),   NUMBER(0, 0x7777),
        ATTRIBUTE(3, pair), ATTRIBUTE(3, other),  ATTRIBUTE(3, half),  {3, NULL, 0},   NUMBER(0x100, 0),
        NUMBER(0x100, 3),   NUMBER(0x100, 0x1f),  ATTRIBUTE(1, true_), ATTRIBUTE(1, false_), ATTRIBUTE(0x108, true_),
        NUMBER(0x121, 2048), ATTRIBUTE(2, true_), ATTRIBUTE(0, four),  {0x102, NULL, 0}, NUMBER(0x7777, 1),
        ATTRIBUTE(0x11, zeros),
    };
    enum { ALL = sizeof criteria / sizeof *criteria };
    ulong_t found[9], count = 0, code, wanted = next(4);
    switch (next(6)) {
    case 0:
    case 1: {
        unsigned first = next(ALL), second = next(ALL);
        ulong_t len = next(3);
        struct attribute template[] = {criteria[first], criteria[second]};
        code = CALL(C_FindObjectsInit, session, template, len);
        printf("C_FindObjectsInit by");
        for (ulong_t i = 0; i < len; i++)
            printf(" %u", i == 0 ? first : second);
        TELL(code, " ");
        return;
    }
    case 2:
    case 3:
    case 4:
        code = CALL(C_FindObjects, session, found, wanted, &count);
        TELL_SIZE(code, count, "C_FindObjects %lu", wanted);
        return;
    default:
        TELL(CALL(C_FindObjectsFinal, session), "C_FindObjectsFinal");
    }
}

/* --- templates -------------------------------------------------------------------------------------------------- */

static const char other_label[5] = "other", some_id[2] = {7, 9}, number_of_4[4] = {3}, flag_2[1] = {2};

/* What a template of a secret key may say, good or bad. */
static const struct attribute of_secret[] = {
    NUMBER(0, 4),            NUMBER(0, 3),            NUMBER(0x100, 0x1f),    NUMBER(0x100, 0x10),     NUMBER(0x100, 3),
    ATTRIBUTE(1, false_),    ATTRIBUTE(2, true_),     ATTRIBUTE(2, false_),   ATTRIBUTE(3, other_label), ATTRIBUTE(0x102, some_id),
    ATTRIBUTE(0x103, true_), ATTRIBUTE(0x103, false_), ATTRIBUTE(0x162, true_), ATTRIBUTE(0x162, false_), ATTRIBUTE(0x104, true_),
    ATTRIBUTE(0x163, true_), NUMBER(0x7777, 1),       {3, NULL, 5},           ATTRIBUTE(0, number_of_4), ATTRIBUTE(0x104, flag_2),
    ATTRIBUTE(1, number_of_4), NUMBER(0x121, 2048),
};

/* Numbers that templates of all sequences lead to. */
static ulong_t secret_key = 4, of_aes_kind = 0x1f, value_lens[] = {16, 32, 5};

static ulong_t some_template(struct attribute *template, const struct attribute *from, unsigned count, char *shown) {
    ulong_t len = next(3);
    shown[0] = 0;
    for (ulong_t i = 0; i < len; i++) {
        unsigned which = next(count);
        template[i] = from[which];
        sprintf(shown + strlen(shown), " %u", which);
    }
    return len;
}

static void template_call(ulong_t session) {
    enum { ALL = sizeof of_secret / sizeof *of_secret };
    struct attribute template[8];
    char shown[64];
    ulong_t made = 0, code, len = some_template(template, of_secret, ALL, shown);
    struct mechanism generation = {0x1080, NULL, 0};
    switch (next(3)) {
    case 0: {
        ulong_t *value_len = &CHOOSE(value_lens), has_length = next(6) != 0;
        if (has_length)
            template[len++] = (struct attribute){0x161, value_len, sizeof *value_len};
        code = CALL(C_GenerateKey, session, &generation, template, len, &made);
        TELL(code, "C_GenerateKey%s%s", shown, !has_length ? "" : *value_len == 5 ? " 5" : " good");
        break;
    }
    default: {
        unsigned lacks = next(8);
        if (lacks != 0)
            template[len++] = (struct attribute){0, &secret_key, sizeof secret_key};
        if (lacks != 1)
            template[len++] = (struct attribute){0x100, &of_aes_kind, sizeof of_aes_kind};
        if (lacks != 2)
            template[len++] = (struct attribute){0x11, zeros, lacks == 3 ? 7 : 16};
        code = CALL(C_CreateObject, session, template, len, &made);
        TELL(code, "C_CreateObject%s lacks %u", shown, lacks < 4 ? lacks : 9);
        break;
    }
    }
    if (code == 0)
        EXPECT(0, C_DestroyObject, session, made);
}

/* What can be changed, and what can't. */
static void change_call(ulong_t session) {
    const struct attribute changes[] = {
        ATTRIBUTE(3, other_label), ATTRIBUTE(0x102, some_id), NUMBER(0, 3),        NUMBER(0x100, 3),   ATTRIBUTE(1, false_),
        ATTRIBUTE(0x103, false_),  ATTRIBUTE(0x162, true_),   ATTRIBUTE(0x163, true_), NUMBER(0x7777, 1), {3, NULL, 5},
        ATTRIBUTE(0x108, flag_2),
    };
    static const ulong_t unknown = 0x7fffffff;
    ulong_t objects[] = {rsa_private, ec_public, own, unknown}, which = next(4), size = 0;
    unsigned change = next(sizeof changes / sizeof *changes);
    struct attribute template = changes[change];
    switch (next(4)) {
    case 0:
        TELL(CALL(C_GetObjectSize, session, objects[which], &size), "C_GetObjectSize %lu", which);
        return;
    case 1:
        TELL(CALL(C_DestroyObject, session, unknown), "C_DestroyObject none");
        return;
    default:
        /* The label that searches know stays. */
        if (change == 0)
            template = (struct attribute){3, "pair", 4};
        TELL(CALL(C_SetAttributeValue, session, objects[which], &template, 1ul), "C_SetAttributeValue %lu %u", which, change);
    }
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static void run(const char *family, void (*call)(ulong_t), int sequences, ulong_t flags) {
    for (int i = 0; i < sequences; i++) {
        ulong_t session = 0;
        EXPECT(0, C_OpenSession, slot, flags, NULL, NULL, &session);
        printf("= %s %d\n", family, i);
        fflush(stdout);
        for (int j = 0; j < CALLS; j++)
            call(session);
        EXPECT(0, C_CloseSession, session);
    }
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = login();
    make_keys(session);
    make_ciphertexts(session);
    run("sign", sign, SEQUENCES, 4);
    run("digest", digest, SEQUENCES, 4);
    run("encrypt", encrypt, SEQUENCES, 4);
    run("decrypt", decrypt, SEQUENCES, 4);
    run("wrap", wrap, SEQUENCES / 5, 4);
    run("attributes", attributes, SEQUENCES / 2, 4);
    run("others", others, SEQUENCES / 2, 4);
    run("find", find_call, SEQUENCES * 2, 4);
    run("template", template_call, SEQUENCES, 6);
    run("change", change_call, SEQUENCES / 5, 6);
    run("change read-only", change_call, SEQUENCES / 5, 4);
    /* Without a session that holds the login, which ends with the last one. */
    EXPECT(0, C_CloseAllSessions, slot);
    for (int i = 0; i < SEQUENCES; i++) {
        memset(sessions, 0, sizeof sessions);
        printf("= sessions %d\n", i);
        fflush(stdout);
        for (int j = 0; j < 2 * CALLS; j++)
            session_call(0);
        CALL(C_CloseAllSessions, slot);
    }
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
