/* broken_pipe URI TIMES: asks TIMES times for a key whose server answers nonsense and breaks the connection off. Each time it is an
 * error, and none of them is a signal that ends the process: SIGPIPE is what it is by default. */
#include <signal.h>
#include "check.h"

int main(int argc, char **argv)
{
    OSSL_PROVIDER *akv, *standard;
    struct sigaction action;
    sigset_t blocked;

    CHECK(argc == 3);
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK((standard = OSSL_PROVIDER_load(NULL, "default")) != NULL);
    CHECK((akv = OSSL_PROVIDER_load(NULL, "akv_provider")) != NULL);
    for (int i = 0; i < atoi(argv[2]); i++) {
        OSSL_STORE_CTX *store = OSSL_STORE_open_ex(argv[1], NULL, NULL, NULL, NULL, NULL, NULL, NULL);

        CHECK(store != NULL);
        CHECK(OSSL_STORE_load(store) == NULL);
        CHECK(ERR_peek_error() != 0);
        ERR_clear_error();
        OSSL_STORE_close(store);
        CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGPIPE) == 0);
    }
    CHECK(OSSL_PROVIDER_unload(akv) == 1);
    CHECK(OSSL_PROVIDER_unload(standard) == 1);
    return 0;
}
