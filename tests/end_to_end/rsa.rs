//! RSA: sizes, PSS parameters, and what the HSM can't do.

use crate::support::{Hsm, LOADINGS, Loading, RSA_2048, uri};

#[test]
fn every_size_signs() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "a message to sign\n");
    let signature = hsm.path("signature");
    for size in [2048, 3072, 4096] {
        let name = format!("rsa-{size}");
        hsm.create(&name, &format!(r#"{{"kty":"RSA-HSM","key_size":{size}}}"#));
        let uri = uri(&name);
        let public = hsm.public_key(Loading::AkvFirst, &uri);
        for options in [&[][..], &["-sigopt", "rsa_padding_mode:pss"]] {
            let sign = ["dgst", "-sha256", "-sign", &uri, "-out", &signature];
            hsm.openssl(Loading::AkvFirst, &[&sign, options, &[&message]].concat())
                .succeeds();
            let length = std::fs::metadata(&signature)
                .expect("there is a signature")
                .len();
            assert_eq!(length, size / 8);
            let options = [&["-sha256"], options].concat();
            hsm.verifies(&options, &public, &signature, &message);
        }
    }
}

#[test]
fn pss_salts_as_long_as_the_digest_are_made() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let uri = uri("rsa");
    let public = hsm.public_key(Loading::AkvFirst, &uri);
    let message = hsm.write("message", "a message to sign\n");
    let signature = hsm.path("signature");
    let pss = ["-sigopt", "rsa_padding_mode:pss"];
    for (hash, length) in [("sha256", "32"), ("sha384", "48"), ("sha512", "64")] {
        let digest = format!("-{hash}");
        let exact = format!("rsa_pss_saltlen:{length}");
        let mgf1 = format!("rsa_mgf1_md:{hash}");
        for options in [
            &[][..],
            &["-sigopt", "rsa_pss_saltlen:digest"],
            &["-sigopt", "rsa_pss_saltlen:-1"],
            &["-sigopt", &exact],
            &["-sigopt", &mgf1],
        ] {
            let sign = ["dgst", &digest, "-sign", &uri, "-out", &signature];
            hsm.openssl(
                Loading::AkvFirst,
                &[&sign, &pss[..], options, &[&message]].concat(),
            )
            .succeeds();
            let strict = ["-sigopt", &exact];
            let options = [&[digest.as_str()], &pss[..], &strict].concat();
            hsm.verifies(&options, &public, &signature, &message);
        }
    }
}

#[test]
fn a_digest_info_is_signed_without_a_digest_name() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let uri = uri("rsa");
    let public = hsm.public_key(Loading::AkvFirst, &uri);
    let sha256 = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    let input = hsm.write("digest-info", [&sha256[..], &[0x11; 32]].concat());
    let signature = hsm.path("signature");
    let sign = [
        "pkeyutl", "-sign", "-inkey", &uri, "-in", &input, "-out", &signature,
    ];
    hsm.openssl(Loading::AkvFirst, &sign).succeeds();
    let verify = [
        "pkeyutl", "-verify", "-pubin", "-inkey", &public, "-in", &input, "-sigfile", &signature,
    ];
    hsm.openssl(Loading::Plain, &verify).succeeds();
}

#[test]
fn what_the_hsm_cannot_do_is_refused_before_a_request() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let uri = uri("rsa");
    let message = hsm.write("message", "a message to sign\n");
    let digest = hsm.write("digest", [0x5a; 32]);
    let signature = hsm.path("signature");
    let dgst = |options: &[&'static str]| -> Vec<&str> {
        [
            &["dgst", "-sign", &uri, "-out", &signature][..],
            options,
            &[&message],
        ]
        .concat()
    };
    let pkeyutl = |options: &[&'static str]| -> Vec<&str> {
        [
            &[
                "pkeyutl", "-sign", "-inkey", &uri, "-in", &digest, "-out", &signature,
            ][..],
            options,
        ]
        .concat()
    };
    let pss = |salt: &'static str| {
        [
            "-sha256",
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            salt,
        ]
    };
    let cases: Vec<(Vec<&str>, &[&str])> = vec![
        (dgst(&pss("rsa_pss_saltlen:20")), &["salt", "20"]),
        (dgst(&pss("rsa_pss_saltlen:0")), &["salt", "0"]),
        (dgst(&pss("rsa_pss_saltlen:max")), &["salt"]),
        (dgst(&pss("rsa_mgf1_md:sha512")), &["MGF1", "SHA512"]),
        (
            dgst(&["-sha256", "-sigopt", "rsa_padding_mode:none"]),
            &["padding", "none"],
        ),
        (
            dgst(&["-sha256", "-sigopt", "rsa_padding_mode:x931"]),
            &["padding", "x931"],
        ),
        (dgst(&["-sha1"]), &["SHA1", "not supported"]),
        (dgst(&["-sha224"]), &["SHA224", "not supported"]),
        (dgst(&["-sha3-256"]), &["SHA3-256", "not supported"]),
        (
            pkeyutl(&["-pkeyopt", "rsa_padding_mode:none"]),
            &["padding", "none"],
        ),
        (pkeyutl(&["-pkeyopt", "digest:sha1"]), &["SHA1"]),
        (pkeyutl(&["-pkeyopt", "digest:sha512"]), &["64", "32"]),
        (
            pkeyutl(&["-pkeyopt", "rsa_padding_mode:pss"]),
            &["PSS needs the name of the digest"],
        ),
    ];
    for loading in LOADINGS {
        for (arguments, words) in &cases {
            hsm.openssl(loading, arguments).fails_with(words);
        }
    }
    let signs = hsm
        .requests()
        .iter()
        .filter(|request| request.is_sign())
        .count();
    assert_eq!(signs, 0, "the HSM was asked for a signature");
}
