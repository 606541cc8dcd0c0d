/* point_forms PROVIDERS HYBRID: makes public keys of points in each form by EVP_PKEY_fromdata. PROVIDERS are parted by a
 * comma, and ours is asked for the keys. HYBRID: whether the hybrid form is `taken` or `refused`. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include "check.h"

/* NULL: it is refused. */
static EVP_PKEY *key_of(int nid, unsigned char *point, size_t length)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", "provider=akv_provider");
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)OBJ_nid2sn(nid), 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, length),
        OSSL_PARAM_construct_end(),
    };

    CHECK(context != NULL && EVP_PKEY_fromdata_init(context) == 1);
    if (EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    return key;
}

static void has_coordinates(EVP_PKEY *key, const BIGNUM *x, const BIGNUM *y)
{
    BIGNUM *own_x = NULL, *own_y = NULL;

    CHECK(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &own_x) == 1);
    CHECK(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &own_y) == 1);
    CHECK(BN_cmp(own_x, x) == 0 && BN_cmp(own_y, y) == 0);
    BN_free(own_x);
    BN_free(own_y);
}

/* The point is one whose y is odd, and then one whose y is even. */
static void try_forms(int nid, const EC_GROUP *group, const EC_POINT *point, int takes_hybrid)
{
    static const point_conversion_form_t forms[] = {
        POINT_CONVERSION_UNCOMPRESSED,
        POINT_CONVERSION_COMPRESSED,
        POINT_CONVERSION_HYBRID,
    };
    BIGNUM *x = BN_new(), *y = BN_new();

    CHECK(EC_POINT_get_affine_coordinates(group, point, x, y, NULL) == 1);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        unsigned char bytes[256];
        size_t length = EC_POINT_point2oct(group, point, forms[i], bytes, sizeof(bytes), NULL);
        int is_taken = forms[i] != POINT_CONVERSION_HYBRID || takes_hybrid;
        EVP_PKEY *key = key_of(nid, bytes, length);

        CHECK(length > 0 && (key != NULL) == is_taken);
        if (key != NULL)
            has_coordinates(key, x, y);
        EVP_PKEY_free(key);
        /* An x beyond the field's prime, and a point that is cut off. */
        CHECK(key_of(nid, bytes, length - 1) == NULL);
        memset(bytes + 1, 0xff, length - 1);
        CHECK(key_of(nid, bytes, length) == NULL);
        ERR_clear_error();
    }
    BN_free(x);
    BN_free(y);
}

int main(int argc, char **argv)
{
    static const int nids[] = {NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1, NID_secp256k1};

    CHECK(argc == 3);
    load_providers(argv[1]);
    for (size_t i = 0; i < sizeof(nids) / sizeof(nids[0]); i++) {
        EC_GROUP *group = EC_GROUP_new_by_curve_name(nids[i]);
        EC_POINT *point;

        CHECK(group != NULL && (point = EC_POINT_dup(EC_GROUP_get0_generator(group), group)) != NULL);
        try_forms(nids[i], group, point, strcmp(argv[2], "taken") == 0);
        CHECK(EC_POINT_invert(group, point, NULL) == 1);
        try_forms(nids[i], group, point, strcmp(argv[2], "taken") == 0);
        EC_POINT_free(point);
        EC_GROUP_free(group);
    }
    return 0;
}
