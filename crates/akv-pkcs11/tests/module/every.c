/* every MODULE COUNT [CONFIGURATION]: calls each function of the table of PKCS#11 3.2, of which there are COUNT, with zeros for all
   arguments: before the module starts and after that. With a configuration: starts by that alone, and writes the slot's number. */
#include "calls.h"

enum { OK = 0, GENERAL_ERROR = 5, NOT_INITIALIZED = 0x190, INITIALIZE = 0, FINALIZE = 1, LISTS = 3, CLOSE_ALL_SESSIONS = 14 };

struct functions {
    unsigned char version[2];
    ulong_t (*all[])();
};

static int is_answered_always(int number, int count) {
    /* C_GetFunctionList, and of 3.0 C_GetInterfaceList and C_GetInterface, are there to find the others. */
    return number == LISTS || (count > 68 && (number == 68 || number == 69));
}

static void call_all(const struct functions *functions, int count, int is_started) {
    for (int i = 0; i < count; i++) {
        if (functions->all[i] == NULL) {
            fprintf(stderr, "function %d is not there\n", i);
            exit(1);
        }
        if (i == INITIALIZE || (i == FINALIZE && is_started) || is_answered_always(i, count))
            continue;
        ulong_t code = functions->all[i](0ul, 0ul, 0ul, 0ul, 0ul, 0ul, 0ul, 0ul, 0ul, 0ul, 0ul, 0ul);
        int is_good = is_started ? code != GENERAL_ERROR && code != NOT_INITIALIZED && (code != OK || i == CLOSE_ALL_SESSIONS)
                                 : code == NOT_INITIALIZED;
        if (!is_good) {
            fprintf(stderr, "function %d answers 0x%lx %s\n", i, code, is_started ? "to zeros" : "before C_Initialize");
            exit(1);
        }
    }
}

int main(int argc, char **argv) {
    library = dlopen(argc > 2 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    struct {
        const char *name;
        struct functions *functions;
        ulong_t flags;
    } *interface = NULL;
    unsigned char version[2] = {3, 2};
    EXPECT(0, C_GetInterface, "PKCS 11", version, &interface, 0ul);
    int count = atoi(argv[2]);
    if (argc > 3) {
        struct initialize_args args = {NULL, NULL, NULL, NULL, 0, argv[3]};
        ulong_t slots[4], found = 4;
        EXPECT(0, C_Initialize, strlen(argv[3]) > 0 ? &args : NULL);
        EXPECT(0, C_GetSlotList, 1, slots, &found);
        printf("slot %lu\n", found == 1 ? slots[0] : ~0ul);
        return 0;
    }
    call_all(interface->functions, count, 0);
    EXPECT(0, C_Initialize, NULL);
    call_all(interface->functions, count, 1);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
