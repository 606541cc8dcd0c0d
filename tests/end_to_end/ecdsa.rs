//! ECDSA with every hash on every curve (DESIGN.md, decision 8).

use crate::support::{Hsm, Loading, uri};

const CURVES: [&str; 4] = ["P-256", "P-384", "P-521", "P-256K"];
const HASHES: [&str; 11] = [
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha512-224",
    "sha512-256",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
];

fn every_hash_signs_on(curve: &str) {
    let body = format!(r#"{{"kty":"EC-HSM","crv":"{curve}"}}"#);
    let hsm = Hsm::with_keys(&[("ec", &body)]);
    let uri = uri("ec");
    let public = hsm.public_key(Loading::AkvFirst, &uri);
    let message = hsm.write("message", "a message to sign\n");
    let signature = hsm.path("signature");
    for hash in HASHES {
        let hash = format!("-{hash}");
        // ECDSA signatures differ from time to time, and so do their lengths.
        for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
            hsm.openssl(
                loading,
                &["dgst", &hash, "-sign", &uri, "-out", &signature, &message],
            )
            .succeeds();
            for (verifier, key) in [(Loading::Plain, public.as_str()), (loading, uri.as_str())] {
                let verify = [
                    "dgst",
                    &hash,
                    "-verify",
                    key,
                    "-signature",
                    &signature,
                    &message,
                ];
                hsm.openssl(verifier, &verify).succeeds();
            }
        }
    }
}

#[test]
fn every_hash_signs_on_p256() {
    every_hash_signs_on(CURVES[0]);
}

#[test]
fn every_hash_signs_on_p384() {
    every_hash_signs_on(CURVES[1]);
}

#[test]
fn every_hash_signs_on_p521() {
    every_hash_signs_on(CURVES[2]);
}

#[test]
fn every_hash_signs_on_secp256k1() {
    every_hash_signs_on(CURVES[3]);
}

#[test]
fn every_curve_makes_a_self_signed_certificate() {
    let hsm = Hsm::start();
    for curve in CURVES {
        hsm.create(curve, &format!(r#"{{"kty":"EC-HSM","crv":"{curve}"}}"#));
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(curve), curve);
        hsm.is_self_signed(&certificate);
    }
}

#[test]
fn digests_of_any_length_can_be_signed_without_a_name() {
    let hsm = Hsm::start();
    for curve in CURVES {
        hsm.create(curve, &format!(r#"{{"kty":"EC-HSM","crv":"{curve}"}}"#));
        let public = hsm.public_key(Loading::DefaultFirst, &uri(curve));
        let signature = hsm.path("signature");
        for length in [20, 28, 32, 48, 64] {
            let digest = hsm.write("digest", vec![0xc3; length]);
            let uri = uri(curve);
            hsm.openssl(
                Loading::DefaultFirst,
                &[
                    "pkeyutl", "-sign", "-inkey", &uri, "-in", &digest, "-out", &signature,
                ],
            )
            .succeeds();
            hsm.openssl(
                Loading::Plain,
                &[
                    "pkeyutl", "-verify", "-pubin", "-inkey", &public, "-in", &digest, "-sigfile",
                    &signature,
                ],
            )
            .succeeds();
        }
    }
}
