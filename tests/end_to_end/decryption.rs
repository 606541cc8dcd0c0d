//! Decryption in the HSM, encryption with the public key here.

use crate::support::{Hsm, LOADINGS, Loading, RSA_2048, uri};

/// Paddings that the HSM has, each as pkeyutl options.
const PADDINGS: [&[&str]; 4] = [
    &["-pkeyopt", "rsa_padding_mode:pkcs1"],
    &["-pkeyopt", "rsa_padding_mode:oaep"],
    &[
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-pkeyopt",
        "rsa_oaep_md:sha256",
    ],
    &[
        "-pkeyopt",
        "rsa_padding_mode:oaep",
        "-pkeyopt",
        "rsa_oaep_md:sha256",
        "-pkeyopt",
        "rsa_mgf1_md:sha256",
    ],
];

#[test]
fn the_hsm_decrypts_what_plain_openssl_or_the_provider_encrypts() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let uri = uri("rsa");
    let plain = hsm.write("plain", "a secret\n");
    let sealed = hsm.path("sealed");
    for loading in LOADINGS {
        let public = hsm.public_key(loading, &uri);
        for padding in PADDINGS {
            for (by, key) in [(Loading::Plain, public.as_str()), (loading, uri.as_str())] {
                let encrypt = [
                    "pkeyutl", "-encrypt", "-pubin", "-inkey", key, "-in", &plain,
                ];
                let arguments = [&encrypt[..], padding, &["-out", &sealed]].concat();
                hsm.openssl(by, &arguments).succeeds();
                let decrypt = ["pkeyutl", "-decrypt", "-inkey", &uri, "-in", &sealed];
                let opened = hsm.openssl(loading, &[&decrypt[..], padding].concat());
                assert_eq!(opened.succeeds(), "a secret\n", "{loading:?} {padding:?}");
            }
        }
    }
    let requests = hsm.requests();
    let count = |operation| {
        requests
            .iter()
            .filter(|request| request.is(operation))
            .count()
    };
    assert_eq!(count("decrypt"), LOADINGS.len() * PADDINGS.len() * 2);
    assert_eq!(count("encrypt"), 0, "encryption needs no request");
}

#[test]
fn cms_and_smime_messages_are_decrypted() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let uri = uri("rsa");
    let plain = hsm.write("plain", "a secret message\n");
    let sealed = hsm.path("sealed");
    for loading in LOADINGS {
        let certificate = hsm.certificate(loading, &uri, "rsa");
        let recipient = ["-recip", &certificate];
        let oaep = ["-keyopt", "rsa_padding_mode:oaep"];
        let oaep_256 = [
            "-keyopt",
            "rsa_padding_mode:oaep",
            "-keyopt",
            "rsa_oaep_md:sha256",
        ];
        for (command, options) in [
            ("cms", &[][..]),
            ("cms", &oaep[..]),
            ("cms", &oaep_256[..]),
            ("smime", &[][..]),
        ] {
            let encrypt = [
                command, "-encrypt", "-aes256", "-in", &plain, "-out", &sealed,
            ];
            let arguments = match command {
                "smime" => [&encrypt[..], &[certificate.as_str()]].concat(),
                _ => [&encrypt[..], &recipient, options].concat(),
            };
            hsm.openssl(Loading::Plain, &arguments).succeeds();
            let decrypt = [command, "-decrypt", "-in", &sealed, "-inkey", &uri];
            let opened = hsm.openssl(loading, &[&decrypt[..], &recipient].concat());
            assert!(
                opened.succeeds().starts_with("a secret message"),
                "{loading:?} {command} {options:?}"
            );
        }
    }
}

#[test]
fn what_the_hsm_cannot_decrypt_is_refused_before_a_request() {
    let hsm = Hsm::with_keys(&[
        ("rsa", RSA_2048),
        ("signing", r#"{"kty":"RSA-HSM","key_ops":["sign"]}"#),
    ]);
    let input = hsm.write("input", [0x5a; 256]);
    let short = hsm.write("short", [0x5a; 255]);
    let (rsa, signing) = (uri("rsa"), uri("signing"));
    let oaep = "rsa_padding_mode:oaep";
    let cases: [(&str, &str, &[&str], &[&str]); 7] = [
        (
            &rsa,
            &input,
            &[oaep, "rsa_oaep_md:sha512"],
            &["OAEP", "SHA512", "SHA256"],
        ),
        (
            &rsa,
            &input,
            &[oaep, "rsa_oaep_md:sha256", "rsa_mgf1_md:sha1"],
            &["MGF1", "SHA1", "both"],
        ),
        (&rsa, &input, &[oaep, "rsa_oaep_label:00ff"], &["label"]),
        (
            &rsa,
            &input,
            &["rsa_padding_mode:none"],
            &["padding", "none"],
        ),
        (&rsa, &input, &["rsa_padding_mode:x931"], &["padding"]),
        (&rsa, &short, &[], &["256", "255"]),
        (&signing, &input, &[], &["decrypt", "key_ops", "signing"]),
    ];
    for loading in LOADINGS {
        for (key, input, options, words) in cases {
            let decrypt = ["pkeyutl", "-decrypt", "-inkey", key, "-in", input];
            let options = options.iter().flat_map(|option| ["-pkeyopt", option]);
            let arguments: Vec<&str> = decrypt.into_iter().chain(options).collect();
            hsm.openssl(loading, &arguments).fails_with(words);
        }
    }
    let requests = hsm.requests();
    assert!(!requests.iter().any(|request| request.is("decrypt")));
}

#[test]
fn a_ciphertext_for_another_key_is_an_error_of_the_service() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let input = hsm.write("input", [0x5a; 256]);
    let text = hsm
        .openssl(
            Loading::AkvFirst,
            &["pkeyutl", "-decrypt", "-inkey", &uri("rsa"), "-in", &input],
        )
        .fails_with(&["400", "rsa", "request id"]);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let long = hsm.write("long", [1; 246]);
    for loading in LOADINGS {
        hsm.openssl(
            loading,
            &["pkeyutl", "-encrypt", "-inkey", &uri("rsa"), "-in", &long],
        )
        .fails_with(&["245", "246"]);
    }
}
