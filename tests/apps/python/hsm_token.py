"""Keys of a token by python-pkcs11: found, signed and decrypted with, verified by another library, and made: hsm_token.py MODULE"""

import sys

import pkcs11
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

MESSAGE = b"what is signed"


def both(session, label):
    kinds = [ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY]
    return [session.get_key(label=label, object_class=kind) for kind in kinds]


def outside_rsa(public):
    return serialization.load_der_public_key(encode_rsa_public_key(public))


def try_rsa(private, public):
    outside = outside_rsa(public)
    sha256 = hashes.SHA256()
    for mechanism, param, scheme in [
        (Mechanism.SHA256_RSA_PKCS, None, padding.PKCS1v15()),
        (Mechanism.SHA256_RSA_PKCS_PSS, (Mechanism.SHA256, pkcs11.MGF.SHA256, 32), padding.PSS(padding.MGF1(sha256), 32)),
    ]:
        signature = private.sign(MESSAGE, mechanism=mechanism, mechanism_param=param)
        outside.verify(signature, MESSAGE, scheme, sha256)
        assert public.verify(MESSAGE, signature, mechanism=mechanism, mechanism_param=param)
        assert not public.verify(b"another", signature, mechanism=mechanism, mechanism_param=param)


def try_ec(private, public):
    outside = serialization.load_der_public_key(encode_ec_public_key(public))
    for mechanism, data in [(Mechanism.ECDSA_SHA256, MESSAGE), (Mechanism.ECDSA, digest(MESSAGE))]:
        signature = private.sign(data, mechanism=mechanism)
        half = len(signature) // 2
        numbers = [int.from_bytes(part, "big") for part in (signature[:half], signature[half:])]
        outside.verify(utils.encode_dss_signature(*numbers), MESSAGE, ec.ECDSA(hashes.SHA256()))
        assert public.verify(data, signature, mechanism=mechanism)


def digest(message):
    it = hashes.Hash(hashes.SHA256())
    it.update(message)
    return it.finalize()


def main():
    token = pkcs11.lib(sys.argv[1]).get_token(token_label="hsm")
    with token.open(rw=True) as session:
        private, public = both(session, "rsa")
        try_rsa(private, public)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        sealed = outside_rsa(public).encrypt(b"secret", oaep)
        param = (Mechanism.SHA256, pkcs11.MGF.SHA256, None)
        assert private.decrypt(sealed, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=param) == b"secret"
        try_ec(*both(session, "ec"))

        public, private = session.generate_keypair(KeyType.RSA, 2048, store=True, label="made-rsa")
        try_rsa(private, public)
        curve = encode_named_curve_parameters("secp384r1")
        of = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
        public, private = of.generate_keypair(store=True, label="made-ec")
        try_ec(private, public)
        secret = session.generate_key(KeyType.AES, 256, store=True, label="made-aes")
        iv = session.generate_random(128)
        sealed = secret.encrypt(MESSAGE, mechanism_param=iv)
        assert secret.decrypt(sealed, mechanism_param=iv) == MESSAGE
        names = {key.label for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})}
        assert names == {"rsa", "ec", "ca", "made-rsa", "made-ec"}, names


main()
