/* How long a read of an attribute takes, where a program makes as many as p11tool does for nine objects. */
#include "calls.h"
#include <time.h>

enum { READS = 262, ROUNDS = 50, MOST_NANOSECONDS = 2000 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e9 * time.tv_sec + time.tv_nsec;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), objects[16], count = 0;
    EXPECT(0, C_FindObjectsInit, session, NULL, 0ul);
    EXPECT(0, C_FindObjects, session, objects, 16ul, &count);
    EXPECT(0, C_FindObjectsFinal, session);
    if (count != 9) {
        fprintf(stderr, "%lu objects\n", count);
        return 1;
    }
    /* Class, label, id, key type, sensitive, token: all objects here have them but for the certificate. */
    const ulong_t types[] = {0, 3, 0x102, 0x100, 0x103, 1};
    ulong_t (*get)() = function("C_GetAttributeValue");
    double best = 1e12;
    for (int round = 0; round < ROUNDS; round++) {
        double began = now();
        for (int read = 0; read < READS; read++) {
            char value[128];
            struct attribute wanted = {types[read % 6], value, sizeof value};
            ulong_t code = get(session, objects[read % count], &wanted, 1ul);
            /* CKR_ATTRIBUTE_TYPE_INVALID is an answer as well. */
            if (code != 0 && code != 0x12)
                return 1;
        }
        double each = (now() - began) / READS;
        if (each < best)
            best = each;
    }
    printf("%.0f ns\n", best);
    EXPECT(0, C_Finalize, NULL);
    if (best > MOST_NANOSECONDS) {
        fprintf(stderr, "a read takes %.0f ns\n", best);
        return 1;
    }
    return 0;
}
