"""The `openssl` program as a second opinion on what the HSM made, and keys that the HSM did not make."""

import pathlib
import subprocess
import tempfile

from azure.keyvault.keys import JsonWebKey
from cryptography.hazmat.primitives import keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

CURVES = {
    "P-256": ec.SECP256R1(),
    "P-256K": ec.SECP256K1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}


def number(data):
    return int.from_bytes(data, "big")


def public_key(jwk):
    if jwk.crv:
        return ec.EllipticCurvePublicNumbers(number(jwk.x), number(jwk.y), CURVES[jwk.crv]).public_key()
    return rsa.RSAPublicNumbers(number(jwk.e), number(jwk.n)).public_key()


def pem(jwk):
    return public_key(jwk).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def openssl(files, *arguments):
    """Runs the program in a folder of its own with these files in it."""
    with tempfile.TemporaryDirectory() as folder:
        for file, contents in files.items():
            pathlib.Path(folder, file).write_bytes(contents)
        return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True)


def verifies(jwk, algorithm, digest, signature):
    """Whether the program takes this for the digest's signature; algorithm and signature are as the service has them."""
    if algorithm.startswith("ES"):
        half = len(signature) // 2
        signature = utils.encode_dss_signature(number(signature[:half]), number(signature[half:]))
    pss = ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]
    done = openssl(
        {"key.pem": pem(jwk), "digest": digest, "signature": signature},
        *"pkeyutl -verify -pubin -inkey key.pem -in digest -sigfile signature".split(),
        *["-pkeyopt", f"digest:sha{len(digest) * 8}"],
        *(pss if algorithm.startswith("PS") else []),
    )
    return done.returncode == 0 and b"Signature Verified Successfully" in done.stdout


PADDINGS = {
    "RSA1_5": "-pkeyopt rsa_padding_mode:pkcs1",
    "RSA-OAEP": "-pkeyopt rsa_padding_mode:oaep",
    "RSA-OAEP-256": "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256",
}


def encrypted(jwk, algorithm, plain):
    done = openssl(
        {"key.pem": pem(jwk), "plain": plain},
        *"pkeyutl -encrypt -pubin -inkey key.pem -in plain".split(),
        *PADDINGS[algorithm].split(),
    )
    done.check_returncode()
    return done.stdout


def hmac(key, name_of_hash, message):
    arguments = ["-digest", name_of_hash, "-macopt", f"hexkey:{key.hex()}", "-in", "message", "-binary", "HMAC"]
    done = openssl({"message": message}, "mac", *arguments)
    done.check_returncode()
    return done.stdout


def aes_unwrapped(key, algorithm, wrapped):
    if algorithm == "CKM_AES_KEY_WRAP_PAD":
        return keywrap.aes_key_unwrap_with_padding(key, wrapped)
    return keywrap.aes_key_unwrap(key, wrapped)


def padded(value, bits):
    return value.to_bytes((bits + 7) // 8, "big")


def new_rsa(size):
    """A private key, as a JSON Web Key to import."""
    private = rsa.generate_private_key(65537, size).private_numbers()
    public = private.public_numbers
    numbers = {
        "n": public.n,
        "e": public.e,
        "d": private.d,
        "p": private.p,
        "q": private.q,
        "dp": private.dmp1,
        "dq": private.dmq1,
        "qi": private.iqmp,
    }
    values = {member: padded(value, value.bit_length()) for member, value in numbers.items()}
    return JsonWebKey(kty="RSA", key_ops=["sign", "verify", "decrypt"], **values)


def new_ec(curve):
    private = ec.generate_private_key(CURVES[curve])
    numbers, bits = private.private_numbers(), private.key_size
    public = numbers.public_numbers
    return JsonWebKey(
        kty="EC",
        crv=curve,
        key_ops=["sign", "verify"],
        x=padded(public.x, bits),
        y=padded(public.y, bits),
        d=padded(numbers.private_value, bits),
    )
