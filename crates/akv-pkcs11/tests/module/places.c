/* The place for the HSM's initialisation vector of AES-GCM is not what it was any more when the ciphertext comes out, or can't be
   written to from the start. Arguments: the module, and whether a filter refuses to say so (refused). */
#include <sys/mman.h>

#include "calls.h"
#include "refused.h"

enum { PARAMETER_INVALID = 0x71 };

struct gcm_parameters {
    const unsigned char *iv;
    ulong_t iv_len, iv_bits;
    unsigned char *aad;
    ulong_t aad_len, tag_bits;
};

static ulong_t session, key;
static unsigned char text[4] = "text", room[64];

static ulong_t begin(const unsigned char *place) {
    struct gcm_parameters gcm = {place, 12, 96, NULL, 0, 128};
    struct mechanism mechanism = {0x1087, &gcm, sizeof gcm};
    return CALL(C_EncryptInit, session, &mechanism, key);
}

static void expect(ulong_t expected, ulong_t code, int line) {
    if (code != expected) {
        fprintf(stderr, "line %d: 0x%lx\n", line, code);
        exit(1);
    }
}

/* What becomes of the place after the beginning, and what the end is. `at`: where in the page it is. */
static void after(int protection, size_t at, ulong_t expected) {
    size_t page = sysconf(_SC_PAGESIZE);
    unsigned char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ulong_t len = sizeof room;
    expect(0, begin(pages + at), __LINE__);
    if (protection < 0)
        munmap(pages + (at == 0 ? 0 : page), at == 0 ? 2 * page : page);
    else
        mprotect(pages, page, protection);
    expect(expected, CALL(C_Encrypt, session, text, 4ul, room, &len), __LINE__);
    if (expected == 0 && memcmp(pages, "\0\0\0\0\0\0\0\0\0\0\0", 12) == 0) {
        fprintf(stderr, "nothing was written\n");
        exit(1);
    }
    if (protection >= 0 || at != 0)
        munmap(pages, page);
}

int main(int argc, char **argv) {
    static const unsigned char constant[12];
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    session = open_session();
    key = find_object(session, 4);
    size_t page = sysconf(_SC_PAGESIZE);
    if (argc > 2) {
        unsigned char place[12] = {0};
        refuse(SYS_process_vm_readv);
        ulong_t len = sizeof room;
        expect(0, begin(place), __LINE__);
        EXPECT(PARAMETER_INVALID, C_Encrypt, session, text, 4ul, room, &len);
        refuse(SYS_process_vm_writev);
        expect(PARAMETER_INVALID, begin(place), __LINE__);
        /* Where the place is elsewhere, nobody has to ask. */
        struct gcm_parameters gcm = {NULL, 0, 0, NULL, 0, 128};
        struct mechanism own = {0x80001087, &gcm, sizeof gcm};
        EXPECT(0, C_EncryptInit, session, &own, key);
        len = sizeof room;
        EXPECT(0, C_Encrypt, session, text, 4ul, room, &len);
        return 0;
    }
    expect(PARAMETER_INVALID, begin(constant), __LINE__);
    after(PROT_READ | PROT_WRITE, 0, 0);
    after(PROT_READ, 0, PARAMETER_INVALID);
    after(PROT_NONE, 0, PARAMETER_INVALID);
    after(-1, 0, PARAMETER_INVALID);
    after(-1, page - 5, PARAMETER_INVALID);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
