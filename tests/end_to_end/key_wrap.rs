//! AES keys in the HSM: wrapping and unwrapping keys with `pkeyutl`, and `EVP_SKEY` where OpenSSL
//! has it.

use crate::support::{AES_256, Hsm, LOADINGS, Loading, uri};

/// RFC 3394, sections 4.1, 4.2, 4.3 and 4.6: key (base64url), data and ciphertext.
const VECTORS: [(&str, &str, &str); 4] = [
    (
        "AAECAwQFBgcICQoLDA0ODw",
        "00112233445566778899aabbccddeeff",
        "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
    ),
    (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        "00112233445566778899aabbccddeeff",
        "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d",
    ),
    (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "00112233445566778899aabbccddeeff",
        "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7",
    ),
    (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21",
    ),
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hexadecimal digits"))
        .collect()
}

#[test]
fn keys_of_every_size_wrap_and_unwrap_as_the_rfc_says() {
    let hsm = Hsm::start();
    for (i, (key, data, expected)) in VECTORS.into_iter().enumerate() {
        let name = format!("aes-{i}");
        hsm.import(&name, &format!(r#"{{"kty":"oct-HSM","k":"{key}"}}"#));
        let (plain, wrapped) = (hsm.write("plain", hex(data)), hsm.path("wrapped"));
        for loading in LOADINGS {
            let key = uri(&name);
            let wrap = [
                "pkeyutl", "-encrypt", "-inkey", &key, "-in", &plain, "-out", &wrapped,
            ];
            hsm.openssl(loading, &wrap).succeeds();
            let made = std::fs::read(&wrapped).expect("the wrapped key was written");
            assert_eq!(made, hex(expected), "{loading:?} vector {i}");
            let unwrap = ["pkeyutl", "-decrypt", "-inkey", &key, "-in", &wrapped];
            let outcome = hsm.openssl(loading, &unwrap);
            outcome.succeeds();
            assert_eq!(outcome.bytes(), hex(data), "{loading:?} vector {i}");
        }
    }
}

#[test]
fn the_size_of_a_key_is_found_once_or_told() {
    let mut hsm = Hsm::with_keys(&[
        ("aes", AES_256),
        ("small", r#"{"kty":"oct-HSM","key_size":128}"#),
    ]);
    let plain = hsm.write("plain", [7; 32]);
    for (version, key, expected) in [
        ("7.4", "aes", 1),
        ("7.4", "small", 2),
        ("2026-01-01-preview", "small", 1),
    ] {
        hsm.set("AKV_API_VERSION", version);
        let before = hsm.requests().len();
        let wrap = ["pkeyutl", "-encrypt", "-inkey", &uri(key), "-in", &plain];
        hsm.openssl(Loading::AkvFirst, &wrap).succeeds();
        let requests = hsm.requests().split_off(before);
        let wraps = requests.iter().filter(|request| request.is("wrapkey"));
        assert_eq!(wraps.count(), expected, "{version} {key}");
    }
}

#[test]
fn inputs_that_cannot_be_wrapped_are_refused_before_a_request() {
    let hsm = Hsm::with_keys(&[
        ("aes", AES_256),
        ("unwrapping", r#"{"kty":"oct-HSM","key_ops":["unwrapKey"]}"#),
    ]);
    let (odd, short) = (hsm.write("odd", [1; 17]), hsm.write("short", [1; 8]));
    let (aes, unwrapping) = (uri("aes"), uri("unwrapping"));
    for loading in LOADINGS {
        for (direction, key, input, words) in [
            ("-encrypt", &aes, &odd, &["multiple of 8", "17"][..]),
            ("-encrypt", &aes, &short, &["16", "8"]),
            ("-decrypt", &aes, &odd, &["multiple of 8", "17"]),
            ("-encrypt", &unwrapping, &odd, &["wrapKey", "key_ops"]),
        ] {
            let arguments = ["pkeyutl", direction, "-inkey", key, "-in", input];
            hsm.openssl(loading, &arguments).fails_with(words);
        }
    }
    let requests = hsm.requests();
    assert!(!requests.iter().any(|request| request.is("wrapkey")));
}

#[test]
fn a_damaged_wrapped_key_is_an_error_of_the_service() {
    let hsm = Hsm::with_keys(&[("aes", AES_256)]);
    let damaged = hsm.write("damaged", [9; 40]);
    hsm.openssl(
        Loading::AkvFirst,
        &[
            "pkeyutl",
            "-decrypt",
            "-inkey",
            &uri("aes"),
            "-in",
            &damaged,
        ],
    )
    .fails_with(&["400", "unwrap"]);
}

#[test]
fn secret_keys_wrap_and_encrypt_and_software_ones_work_as_ever() {
    let hsm = Hsm::with_keys(&[("aes", AES_256)]);
    let program = hsm.compile("skey");
    for order in ["akv_provider,default", "default,akv_provider"] {
        if !hsm.run_or_skip(&program, &[&uri("aes"), order]) {
            return;
        }
    }
}

#[test]
fn secret_keys_begin_in_several_steps_as_at_once() {
    let hsm = Hsm::with_keys(&[("aes", AES_256)]);
    let program = hsm.compile("skey_steps");
    for order in ["akv_provider,default", "default,akv_provider"] {
        if !hsm.run_or_skip(&program, &[&uri("aes"), order]) {
            return;
        }
    }
}

#[test]
fn a_secret_key_of_another_size_than_the_ciphers_is_refused_where_the_size_is_told() {
    let mut hsm = Hsm::with_keys(&[("small", r#"{"kty":"oct-HSM","key_size":128}"#)]);
    let program = hsm.compile("skey_size");
    for (version, told) in [("7.4", "untold"), ("2026-01-01-preview", "told")] {
        hsm.set("AKV_API_VERSION", version);
        if !hsm.run_or_skip(&program, &[&uri("small"), told]) {
            return;
        }
    }
}
