/* loop MODULE ROUNDS: what programs do, again and again, in sessions of their own: to be watched by valgrind. */
#include "calls.h"

static void round_trip(void) {
    unsigned char digest[32] = {7}, signature[64], label[16];
    ulong_t session = open_session(), key = find_key(session), len = sizeof signature, count = 0;
    ulong_t class = 2, public = 0;
    struct attribute of_public[] = {{0, &class, sizeof class}, {3, "k", 1}}, wanted = {3, label, sizeof label};
    EXPECT(0, C_GetAttributeValue, session, key, &wanted, 1ul);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    EXPECT(0, C_FindObjectsInit, session, of_public, 2ul);
    EXPECT(0, C_FindObjects, session, &public, 1ul, &count);
    EXPECT(0, C_FindObjectsFinal, session);
    EXPECT(0, C_VerifyInit, session, &ecdsa, public);
    EXPECT(0, C_Verify, session, digest, 32ul, signature, len);
    /* What fails, and what is left unfinished. */
    signature[7] ^= 1;
    EXPECT(0, C_VerifyInit, session, &ecdsa, public);
    EXPECT(0xc0, C_Verify, session, digest, 32ul, signature, len);
    EXPECT(0x63, C_SignInit, session, &(struct mechanism){1, NULL, 0}, key);
    EXPECT(3, C_OpenSession, 77ul, 4ul, NULL, NULL, &count);
    EXPECT(0, C_SignInit, session, &ecdsa, key);
    EXPECT(0, C_DigestInit, session, &(struct mechanism){0x250, NULL, 0});
    EXPECT(0, C_DigestUpdate, session, digest, 32ul);
    EXPECT(0, C_GenerateRandom, session, digest, 32ul);
    EXPECT(0, C_CloseSession, session);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 2 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    for (int i = 0; i < atoi(argv[2]); i++)
        round_trip();
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
