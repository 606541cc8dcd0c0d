/* Signals are for the program's own threads, whose handlers may leave by longjmp(3), also while the module loads keys. */
#include <signal.h>
#include <sys/time.h>

#include "calls.h"

static pthread_t own;
static volatile sig_atomic_t here, elsewhere;

static void handle(int unused) {
    (void)unused;
    if (pthread_equal(pthread_self(), own))
        here++;
    else
        elsewhere++;
}

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    own = pthread_self();
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    EXPECT(0, C_Initialize, NULL);
    ulong_t session = open_session(), found[100], count = 0;
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    EXPECT(0, C_FindObjectsInit, session, NULL, 0ul);
    EXPECT(0, C_FindObjects, session, found, 100ul, &count);
    setitimer(ITIMER_REAL, &never, NULL);
    EXPECT(0, C_FindObjectsFinal, session);
    EXPECT(0, C_Finalize, NULL);
    fprintf(stderr, "%lu objects, %d signals here, %d elsewhere\n", count, (int)here, (int)elsewhere);
    return !(count >= 16 && here > 0 && elsewhere == 0);
}
