/* What the programs in C share: the module's functions, by their names, and the one key that they use. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long ulong_t;

struct attribute {
    ulong_t type;
    void *value;
    ulong_t len;
};

struct mechanism {
    ulong_t type;
    void *parameter;
    ulong_t len;
};

struct initialize_args {
    void *create, *destroy, *lock, *unlock;
    ulong_t flags;
    void *reserved;
};

static void *library;

static void *function(const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "there is no %s\n", name);
        exit(2);
    }
    return found;
}

#define CALL(name, ...) ((ulong_t(*)())function(#name))(__VA_ARGS__)

#define EXPECT(expected, name, ...)                                                                  \
    do {                                                                                             \
        ulong_t code = CALL(name, __VA_ARGS__);                                                      \
        if (code != (expected)) {                                                                    \
            fprintf(stderr, "line %d: " #name ": 0x%lx\n", __LINE__, code);                          \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

static const struct mechanism ecdsa = {0x1041, NULL, 0};

static inline ulong_t open_session(void) {
    ulong_t session = 0;
    EXPECT(0, C_OpenSession, 0ul, 4ul, NULL, NULL, &session);
    return session;
}

static ulong_t find_object(ulong_t session, ulong_t class) {
    ulong_t key = 0, count = 0;
    struct attribute template[] = {{0, &class, sizeof class}, {3, "k", 1}};
    EXPECT(0, C_FindObjectsInit, session, template, 2ul);
    EXPECT(0, C_FindObjects, session, &key, 1ul, &count);
    EXPECT(0, C_FindObjectsFinal, session);
    if (count != 1) {
        fprintf(stderr, "the key is not found\n");
        exit(1);
    }
    return key;
}

static inline ulong_t find_key(ulong_t session) {
    return find_object(session, 3);
}
