/* own_allocator MODULE: a program with an allocator of its own, as jemalloc is, that loads the module as pkcs11-provider does. Its
   functions, which AWS-LC would take if it found them, have to be left alone: all of the module's memory is libc's there. */
#define _GNU_SOURCE
#include "calls.h"

static int taken(const char *name) {
    fprintf(stderr, "the module calls the program's %s\n", name);
    abort();
}

void sdallocx(void *block, size_t size, int flags) { taken("sdallocx"); }
void *OPENSSL_memory_alloc(size_t size) { taken("OPENSSL_memory_alloc"); return NULL; }
void OPENSSL_memory_free(void *block) { taken("OPENSSL_memory_free"); }
size_t OPENSSL_memory_get_size(void *block) { return taken("OPENSSL_memory_get_size"); }
void *OPENSSL_memory_realloc(void *block, size_t size) { taken("OPENSSL_memory_realloc"); return NULL; }

int main(int argc, char **argv) {
    library = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    EXPECT(0, C_Initialize, NULL);
    unsigned char digest[32] = {7}, signature[64];
    ulong_t session = open_session(), len = sizeof signature;
    EXPECT(0, C_SignInit, session, &ecdsa, find_key(session));
    EXPECT(0, C_Sign, session, digest, 32ul, signature, &len);
    EXPECT(0, C_Finalize, NULL);
    return 0;
}
