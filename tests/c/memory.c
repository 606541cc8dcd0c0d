/* memory URI CIPHERTEXT NEEDLE…: signs and decrypts with a key, unloads the provider, and looks through all memory that this
 * process can write for each needle. A needle is a file whose bytes are flipped (xor 0x5a), so that this program's own copy
 * isn't found. Prints for each the number of copies while the provider is loaded, and after. The environment counts for nothing. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <sys/uio.h>
#include "check.h"

#define FLIP 0x5a
#define PAGE 4096

extern char **environ;

struct needle {
    unsigned char flipped[4096];
    size_t length;
};

static size_t read_file(const char *path, unsigned char *into, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t length;

    CHECK(file != NULL);
    length = fread(into, 1, room, file);
    CHECK(length > 0 && length < room);
    fclose(file);
    return length;
}

static int is_environment(const unsigned char *at)
{
    for (char **variable = environ; *variable != NULL; variable++)
        if ((const char *)at >= *variable && (const char *)at <= *variable + strlen(*variable))
            return 1;
    return 0;
}

static int copies_between(const unsigned char *at, const unsigned char *end, const struct needle *needle)
{
    const unsigned char first = needle->flipped[0] ^ FLIP;
    int found = 0;

    for (; at + needle->length <= end; at++) {
        size_t i = 1;

        at = memchr(at, first, (size_t)(end - at) - needle->length + 1);
        if (at == NULL)
            break;
        while (i < needle->length && (at[i] ^ FLIP) == needle->flipped[i])
            i++;
        if (i == needle->length && !is_environment(at))
            found++;
    }
    return found;
}

/* Whether a page can be read: the guards of stacks are within mappings that can, with newer C libraries. */
static int is_readable(uintptr_t page)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)page, 1};

    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1;
}

/* Only this thread runs while the memory is looked through, as far as mappings go. */
static int copies(const struct needle *needle)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    int found = 0;

    CHECK(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t from, to;
        char access[5];

        CHECK(sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access) == 3);
        if (strncmp(access, "rw", 2) != 0)
            continue;
        while (from < to) {
            uintptr_t end = from;

            while (end < to && is_readable(end))
                end += PAGE;
            if (end > from)
                found += copies_between((const unsigned char *)from, (const unsigned char *)end, needle);
            from = end + PAGE;
        }
    }
    fclose(maps);
    return found;
}

static void decrypt(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *path)
{
    unsigned char ciphertext[4096], plain[4096];
    size_t length = read_file(path, ciphertext, sizeof(ciphertext)), plain_length = sizeof(plain);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    CHECK(context != NULL && EVP_PKEY_decrypt_init(context) == 1);
    CHECK(EVP_PKEY_CTX_ctrl_str(context, "rsa_padding_mode", "oaep") == 1);
    CHECK(EVP_PKEY_decrypt(context, plain, &plain_length, ciphertext, length) == 1);
    CHECK(plain_length > 0);
    OPENSSL_cleanse(plain, sizeof(plain));
    EVP_PKEY_CTX_free(context);
}

int main(int argc, char **argv)
{
    static struct needle needles[8];
    int loaded[8], count = argc - 3;
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *akv, *standard;
    EVP_PKEY *key, *public_key;

    CHECK(count >= 1 && count <= 8);
    for (int i = 0; i < count; i++)
        needles[i].length = read_file(argv[3 + i], needles[i].flipped, sizeof(needles[i].flipped));
    CHECK((standard = OSSL_PROVIDER_load(libctx, "default")) != NULL);
    CHECK((akv = OSSL_PROVIDER_load(libctx, "akv_provider")) != NULL);
    key = load_key(libctx, argv[1], 0);
    public_key = public_copy(libctx, key);
    for (int i = 0; i < 3; i++) {
        sign_and_verify(libctx, key, public_key, "a message");
        decrypt(libctx, key, argv[2]);
    }
    for (int i = 0; i < count; i++)
        loaded[i] = copies(&needles[i]);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(key);
    CHECK(OSSL_PROVIDER_unload(akv) == 1);
    CHECK(OSSL_PROVIDER_unload(standard) == 1);
    /* What was fetched from a provider keeps it until then. */
    OSSL_LIB_CTX_free(libctx);
    for (int i = 0; i < count; i++)
        printf("%d %d\n", loaded[i], copies(&needles[i]));
    return 0;
}
