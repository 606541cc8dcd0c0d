/* A failure is told on standard error. Here that is a pipe, which nobody reads any more or which takes no more (full): neither
 * ends the process, nor is waited for. The configuration file is none. */
#include <fcntl.h>

#include "calls.h"

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    int ends[2], is_full = argc > 2 && strcmp(argv[2], "full") == 0;
    static char bytes[4096];
    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) != STDERR_FILENO)
        return 2;
    if (is_full) {
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        while (write(ends[1], bytes, sizeof bytes) > 0)
            ;
        fcntl(ends[1], F_SETFL, 0);
    } else {
        close(ends[0]);
        close(ends[1]);
    }
    return CALL(C_Initialize, NULL) == 6 ? 0 : 1;
}
