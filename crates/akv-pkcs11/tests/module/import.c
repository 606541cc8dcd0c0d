/* CKM_RSA_AES_KEY_WRAP: a key of the session is wrapped for the key "k" of the HSM, and comes in by that; or
   what a file holds is unwrapped: import MODULE [FILE rsa|ec|aes CODE]. */
#include "calls.h"

enum { PUBLIC = 2, PRIVATE = 3, SECRET = 4, RSA = 0, EC = 3, AES = 0x1f };

struct oaep {
    ulong_t hash, mask, source;
    void *data;
    ulong_t len;
};

struct rsa_aes {
    ulong_t bits;
    struct oaep *oaep;
};

static struct oaep sha1 = {0x220, 1, 1, NULL, 0}, sha256 = {0x250, 2, 1, NULL, 0};
static struct rsa_aes usual = {256, &sha1};
static struct mechanism wraps = {0x1054, &usual, sizeof usual};

static ulong_t unwrap_with(
    ulong_t session, void *wrapped, ulong_t len, ulong_t class, ulong_t type, struct attribute further, ulong_t *key) {
    unsigned char yes = 1;
    struct attribute template[] = {
        {0, &class, sizeof class}, {0x100, &type, sizeof type}, {1, &yes, 1}, {3, "brought", 7}, further};
    return CALL(C_UnwrapKey, session, &wraps, find_object(session, PRIVATE), wrapped, len, template, 5ul, key);
}

static ulong_t unwrap(ulong_t session, void *wrapped, ulong_t len, ulong_t class, ulong_t type, ulong_t *key) {
    struct attribute none = {3, "brought", 7};
    return unwrap_with(session, wrapped, len, class, type, none, key);
}

/* What a template says of a key that only the HSM sees. */
static void contradictions(ulong_t session, void *wrapped, ulong_t len) {
    ulong_t key = 0, lens[] = {16, 24, 48, 1ul << 63};
    for (int i = 0; i < 4; i++) {
        struct attribute value_len = {0x161, &lens[i], sizeof lens[i]};
        if (unwrap_with(session, wrapped, len, SECRET, AES, value_len, &key) != 0x112)
            exit(5);
    }
    /* CKA_VALUE, CKA_MODULUS, CKA_PRIME_1, CKA_EC_PARAMS, CKA_EC_POINT, CKA_PUBLIC_KEY_INFO */
    ulong_t types[] = {0x11, 0x120, 0x124, 0x180, 0x181, 0x129};
    for (int i = 0; i < 6; i++) {
        struct attribute material = {types[i], wrapped, 16};
        if (unwrap_with(session, wrapped, len, SECRET, AES, material, &key) != 0x10)
            exit(6);
        if (unwrap_with(session, wrapped, len, PRIVATE, RSA, material, &key) != 0x10)
            exit(7);
    }
}

static void from_file(ulong_t session, char **arguments) {
    unsigned char wrapped[4096];
    FILE *file = fopen(arguments[0], "rb");
    if (file == NULL)
        exit(2);
    ulong_t len = fread(wrapped, 1, sizeof wrapped, file), key = 0;
    int is_secret = strcmp(arguments[1], "aes") == 0;
    ulong_t type = is_secret ? AES : strcmp(arguments[1], "ec") == 0 ? EC : RSA;
    ulong_t code = unwrap(session, wrapped, len, is_secret ? SECRET : PRIVATE, type, &key);
    if (code != strtoul(arguments[2], NULL, 16)) {
        fprintf(stderr, "C_UnwrapKey of a %s key: 0x%lx\n", arguments[1], code);
        exit(1);
    }
}

static void from_session(ulong_t session) {
    ulong_t class = SECRET, type = AES, own = 0, brought = 0, len = 0, public = find_object(session, PUBLIC);
    unsigned char value[32] = "a key that wraps and is known ok", wrapped[512];
    memcpy(value, "a key that wraps and is known ok", sizeof value);
    struct attribute template[] = {
        {0, &class, sizeof class}, {0x100, &type, sizeof type}, {0x11, value, sizeof value}};
    EXPECT(0, C_CreateObject, session, template, 3ul, &own);
    EXPECT(0, C_WrapKey, session, &wraps, public, own, NULL, &len);
    if (len != 256 + 40)
        exit(3);
    len = 295;
    EXPECT(0x150, C_WrapKey, session, &wraps, public, own, wrapped, &len);
    EXPECT(0, C_WrapKey, session, &wraps, public, own, wrapped, &len);
    contradictions(session, wrapped, len);
    ulong_t told = sizeof value;
    struct attribute value_len = {0x161, &told, sizeof told};
    if (unwrap_with(session, wrapped, len, SECRET, AES, value_len, &brought) != 0)
        exit(4);
    told = 0;
    EXPECT(0, C_GetAttributeValue, session, brought, &value_len, 1ul);
    if (told != sizeof value)
        exit(8);
    /* With other parameters, and for other keys. */
    struct rsa_aes wrong[] = {{192, &sha1}, {256, &sha256}, {256, NULL}};
    for (int i = 0; i < 3; i++) {
        struct mechanism mechanism = {0x1054, &wrong[i], sizeof wrong[i]};
        EXPECT(0x71, C_WrapKey, session, &mechanism, public, own, wrapped, &len);
    }
    struct mechanism bare = {0x1054, NULL, 0};
    EXPECT(0x71, C_WrapKey, session, &bare, public, own, wrapped, &len);
    EXPECT(0x115, C_WrapKey, session, &wraps, brought, own, wrapped, &len);
    EXPECT(0x6a, C_WrapKey, session, &wraps, public, brought, wrapped, &len);
}

int main(int count, char **arguments) {
    library = dlopen(arguments[1], RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = 0;
    EXPECT(0, C_OpenSession, 0ul, 6ul, NULL, NULL, &session);
    if (count > 2)
        from_file(session, arguments + 2);
    else
        from_session(session);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
