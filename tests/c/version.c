/* version: prints the version of the headers that it was compiled with and that of the library in this process. */
#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <stdio.h>

int main(void)
{
    printf("headers %s\nlibrary %s\n", OPENSSL_VERSION_TEXT, OpenSSL_version(OPENSSL_VERSION));
    return 0;
}
