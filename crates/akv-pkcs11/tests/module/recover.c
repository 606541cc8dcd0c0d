/* Signatures from which what was signed is recovered: of any bytes, where the HSM may be asked to only pad. */
#include "calls.h"

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), key = find_key(session), public = 0, count = 0, class = 2, len = 0;
    struct attribute template[] = {{0, &class, sizeof class}, {3, "k", 1}};
    EXPECT(0, C_FindObjectsInit, session, template, 2ul);
    EXPECT(0, C_FindObjects, session, &public, 1ul, &count);
    EXPECT(0, C_FindObjectsFinal, session);
    struct mechanism pkcs1 = {1, NULL, 0};
    EXPECT(0x70, C_SignRecoverInit, session, &ecdsa, key);
    /* Parameters of PSS, and a byte more. */
    ulong_t parameters[4] = {0x250, 2, 32};
    /* Also lengths that no memory has. */
    ulong_t wrong[] = {3 * sizeof(ulong_t) + 1, 4 * sizeof(ulong_t), 1ul << 40, ~0ul >> 1, ~0ul};
    struct mechanism pss = {0xd, parameters, 0};
    for (int i = 0; i < 5; i++) {
        pss.len = wrong[i];
        EXPECT(0x71, C_SignInit, session, &pss, key);
    }
    pss.len = 3 * sizeof(ulong_t);
    EXPECT(0, C_SignInit, session, &pss, key);
    EXPECT(0, C_SignInit, session, NULL, 0ul);
    /* The handle of nothing is not hashed, and nor is a key of the HSM. */
    struct mechanism sha256 = {0x250, NULL, 0};
    EXPECT(0, C_DigestInit, session, &sha256);
    EXPECT(0x60, C_DigestKey, session, 99999ul);
    EXPECT(0, C_DigestInit, session, &sha256);
    EXPECT(0x67, C_DigestKey, session, key);
    if (argc > 2) {
        /* It is not switched on. */
        EXPECT(0x70, C_SignRecoverInit, session, &pkcs1, key);
        return 0;
    }
    unsigned char signature[256], recovered[256];
    EXPECT(0, C_SignRecoverInit, session, &pkcs1, key);
    EXPECT(0x90, C_SignRecoverInit, session, &pkcs1, key);
    EXPECT(0, C_SignRecover, session, "hello", 5ul, NULL, &len);
    if (len != sizeof signature)
        return 1;
    EXPECT(0, C_SignRecover, session, "hello", 5ul, signature, &len);
    EXPECT(0x91, C_SignRecover, session, "hello", 5ul, signature, &len);
    EXPECT(0x68, C_VerifyRecoverInit, session, &pkcs1, key);
    EXPECT(0, C_VerifyRecoverInit, session, &pkcs1, public);
    EXPECT(0, C_VerifyRecover, session, signature, sizeof signature, NULL, &len);
    len = 4;
    EXPECT(0x150, C_VerifyRecover, session, signature, sizeof signature, recovered, &len);
    EXPECT(0, C_VerifyRecover, session, signature, sizeof signature, recovered, &len);
    if (len != 5 || memcmp(recovered, "hello", 5) != 0)
        return 1;
    signature[9] ^= 1;
    EXPECT(0, C_VerifyRecoverInit, session, &pkcs1, public);
    EXPECT(0xc0, C_VerifyRecover, session, signature, sizeof signature, recovered, &len);
    EXPECT(0, C_VerifyRecoverInit, session, &pkcs1, public);
    EXPECT(0xc1, C_VerifyRecover, session, signature, 9ul, recovered, &len);
    EXPECT(0x91, C_VerifyRecover, session, signature, 9ul, recovered, &len);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
