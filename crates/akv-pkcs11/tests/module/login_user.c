/* C_LoginUser: the application is told apart from its secret. Arguments: the module, then a code that is expected, a name and a
   secret, as often as wanted. */
#include "calls.h"

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    alarm(120);
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session();
    for (char **next = argv + 2; next + 2 < argv + argc; next += 3) {
        ulong_t expected = strtoul(next[0], NULL, 16);
        EXPECT(expected, C_LoginUser, session, 1ul, next[2], strlen(next[2]), next[1], strlen(next[1]));
        if (expected == 0)
            EXPECT(0, C_Logout, session);
    }
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
