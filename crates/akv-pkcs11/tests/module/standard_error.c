/* After the module was loaded the program closes standard error, and has something else at its number. Arguments: the module, what
   that is, and a file. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "calls.h"

static int fails_to_close;

/* For the module too: Rust panics where a folder can't be closed. */
int closedir(DIR *folder) {
    int (*real)(DIR *) = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");
    int closed = real(folder);
    if (!fails_to_close)
        return closed;
    errno = EIO;
    return -1;
}

/* A failure that the module tells of. */
static void fail(void) {
    static unsigned char none[] = {6, 1, 1};
    static const struct mechanism ec_pair = {0x1040, NULL, 0};
    struct attribute template[] = {{0x180, none, sizeof none}};
    ulong_t session = 0, public = 0, private = 0;
    EXPECT(0, C_OpenSession, 0ul, 6ul, NULL, NULL, &session);
    if (CALL(C_GenerateKeyPair, session, &ec_pair, template, 1ul, NULL, 0ul, &public, &private) == 0)
        _exit(3);
}

static void panic(void) {
    ulong_t session = open_session(), class = 1;
    struct attribute template[] = {{0, &class, sizeof class}};
    fails_to_close = 1;
    if (CALL(C_FindObjectsInit, session, template, 1ul) != 5)
        _exit(4);
    fails_to_close = 0;
}

static void at_its_number(int descriptor) {
    if (descriptor < 0 || dup2(descriptor, STDERR_FILENO) != STDERR_FILENO)
        _exit(5);
}

int main(int argc, char **argv) {
    library = dlopen(argc > 3 ? argv[1] : "", RTLD_NOW);
    if (library == NULL)
        return 2;
    EXPECT(0, C_Initialize, NULL);
    const char *what = argv[2], *file = argv[3];
    int ends[2];
    close(STDERR_FILENO);
    if (strcmp(what, "data") == 0) {
        if (open(file, O_RDWR | O_CREAT, 0600) != STDERR_FILENO)
            return 6;
        panic();
    } else if (strcmp(what, "connection") == 0) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || ends[0] != STDERR_FILENO)
            return 6;
    } else if (strcmp(what, "log") == 0) {
        if (freopen(file, "a", stderr) == NULL)
            return 6;
    } else if (strcmp(what, "appended") == 0) {
        at_its_number(open(file, O_RDWR | O_CREAT | O_APPEND, 0600));
    } else {
        /* Both. */
        int log = open(file, O_RDWR | O_CREAT, 0600);
        at_its_number(log);
        dup2(log, STDOUT_FILENO);
    }
    fail();
    pid_t child = fork();
    if (child == 0) {
        /* A second later it is told again. */
        sleep(1);
        fail();
        _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0)
        return 7;
    EXPECT(0, C_Finalize, NULL);
    EXPECT(0, C_Initialize, NULL);
    fail();
    char told[16];
    if (strcmp(what, "connection") == 0 && recv(ends[1], told, sizeof told, MSG_DONTWAIT) != -1)
        return 8;
    return 0;
}
