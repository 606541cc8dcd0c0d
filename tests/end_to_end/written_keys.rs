//! Keys written by `openssl`: public keys in all their forms, private ones as key files, and texts.

use crate::support::{AES_256, EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

const KEYS: [(&str, &str); 3] = [("rsa", RSA_2048), ("ec", EC_P256), ("aes", AES_256)];

#[test]
fn a_written_key_file_serves_as_the_key() {
    let hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", [7; 32]);
    for loading in LOADINGS {
        for (name, _) in KEYS {
            let file = hsm.path("key.pem");
            hsm.openssl(loading, &["pkey", "-in", &uri(name), "-out", &file])
                .succeeds();
            let text = std::fs::read_to_string(&file).expect("the key file was written");
            assert!(
                text.starts_with("-----BEGIN AKV PROVIDER URI-----\n"),
                "{text}"
            );
            let operation = if name == "aes" { "-encrypt" } else { "-sign" };
            let arguments = ["pkeyutl", operation, "-inkey", &file, "-in", &message];
            let outcome = hsm.openssl(loading, &[&arguments[..], &["-out", "/dev/null"]].concat());
            outcome.succeeds();
        }
    }
}

#[test]
fn akv_writes_key_files_too() {
    let hsm = Hsm::with_keys(&KEYS);
    let akv = |arguments: &[&str]| hsm.akv(arguments);
    let before = hsm.requests().len();
    let plain = akv(&["key", "pem", "--uri-only", &uri("ec")]).succeeds();
    assert_eq!(hsm.requests().len(), before);
    let (file, pinned) = (hsm.write("ec.pem", &plain), hsm.path("pinned.pem"));
    akv(&["key", "pem", &uri("ec"), "--out", &pinned]).succeeds();
    akv(&["key", "pem", &uri("ec"), "--out", &pinned]).fails_with(&["pinned.pem", "exists"]);
    akv(&["key", "pem", "managedhsm:My_HSM:ec"]).fails_with(&["My_HSM"]);
    let old = hsm.public_key(Loading::AkvFirst, &uri("ec"));
    let old = std::fs::read_to_string(old).expect("a public key");
    hsm.rotate("ec");
    for loading in LOADINGS {
        let of = |file: &str| {
            hsm.openssl(loading, &["pkey", "-in", file, "-pubout"])
                .succeeds()
        };
        assert_eq!(of(&pinned), old);
        assert_ne!(of(&file), old);
    }
}

#[test]
fn a_key_file_stays_with_its_version() {
    let hsm = Hsm::with_keys(&KEYS);
    let file = hsm.path("key.pem");
    hsm.openssl(
        Loading::AkvFirst,
        &["pkey", "-in", &uri("rsa"), "-out", &file],
    )
    .succeeds();
    let public = hsm.public_key(Loading::AkvFirst, &uri("rsa"));
    hsm.rotate("rsa");
    let again = hsm
        .openssl(Loading::AkvFirst, &["pkey", "-in", &file, "-pubout"])
        .succeeds();
    assert_eq!(
        again,
        std::fs::read_to_string(public).expect("a public key")
    );
}

#[test]
fn commands_that_want_the_private_key_itself_are_refused() {
    let hsm = Hsm::with_keys(&KEYS);
    let out = hsm.path("out");
    for loading in LOADINGS {
        for (name, _) in [KEYS[0], KEYS[1]] {
            let key = uri(name);
            let cases: [(&[&str], &[&str]); 3] = [
                (
                    &["pkey", "-in", &key, "-outform", "DER", "-out", &out],
                    &["key file"],
                ),
                (
                    &[
                        "pkey", "-in", &key, "-aes256", "-passout", "pass:x", "-out", &out,
                    ],
                    &["no secret", "cipher"],
                ),
                (
                    &[
                        "pkcs12", "-export", "-nocerts", "-inkey", &key, "-out", &out, "-passout",
                        "pass:x",
                    ],
                    &["private key"],
                ),
            ];
            for (arguments, words) in cases {
                let text = hsm.openssl(loading, arguments).fails_with(words);
                assert!(!text.contains("PRIVATE KEY-----"), "{text}");
                let written = std::fs::metadata(&out).map_or(0, |file| file.len());
                assert_eq!(written, 0, "{arguments:?}");
            }
        }
    }
}

#[test]
fn no_command_prints_a_private_key() {
    let hsm = Hsm::with_keys(&KEYS);
    for loading in LOADINGS {
        for name in ["rsa", "ec"] {
            let uri = uri(name);
            for command in [
                format!("pkey -in {uri}"),
                format!("pkey -text -in {uri}"),
                format!("pkey -traditional -in {uri}"),
                format!("pkey -outform DER -in {uri}"),
                format!("pkey -aes256 -passout pass:secret -in {uri}"),
                format!("pkcs8 -topk8 -nocrypt -in {uri}"),
                format!("{name} -in {uri}"),
            ] {
                let text = hsm.openssl_line(loading, &command).text();
                assert!(
                    !text.contains("PRIVATE KEY-----"),
                    "{loading:?} {command}: {text}"
                );
            }
        }
    }
}

#[test]
fn texts_name_the_hsm_the_key_and_the_version() {
    let hsm = Hsm::with_keys(&KEYS);
    for loading in LOADINGS {
        for (name, _) in KEYS {
            let version = hsm.key(name)["key"]["kid"]
                .as_str()
                .and_then(|kid| kid.rsplit('/').next())
                .expect("a version")
                .to_owned();
            let text = hsm
                .openssl(loading, &["pkey", "-in", &uri(name), "-noout", "-text"])
                .succeeds();
            for line in [
                "HSM: MyHSM",
                &format!("Key: {name}"),
                &format!("Version: {version}"),
            ] {
                assert!(text.lines().any(|found| found == line), "{line}: {text}");
            }
        }
    }
}

#[test]
fn public_keys_are_written_as_the_default_provider_writes_them() {
    let curve = |name: &str| format!(r#"{{"kty":"EC-HSM","crv":"{name}"}}"#);
    let curves = ["P-256", "P-384", "P-521", "P-256K"];
    let hsm = Hsm::with_keys(&[
        ("rsa", RSA_2048),
        ("rsa-3", r#"{"kty":"RSA-HSM","public_exponent":3}"#),
    ]);
    for name in curves {
        hsm.create(name, &curve(name));
    }
    let forms: [&[&str]; 5] = [
        &["pkey", "-pubout"],
        &["pkey", "-pubout", "-outform", "DER"],
        &["pkey", "-text_pub", "-noout"],
        &["rsa", "-RSAPublicKey_out"],
        &["ec", "-param_out"],
    ];
    for loading in LOADINGS {
        for name in ["rsa", "rsa-3"].into_iter().chain(curves) {
            let key = uri(name);
            let public = hsm.public_key(loading, &key);
            for form in forms {
                if (form[0] == "rsa" && !name.starts_with("rsa"))
                    || (form[0] == "ec" && name.starts_with("rsa"))
                {
                    continue;
                }
                let ours = hsm.openssl(loading, &[form, &["-in", &key]].concat());
                let input = match form[0] {
                    "rsa" => "-RSAPublicKey_out -pubin",
                    _ => "-pubin",
                };
                let plain: Vec<&str> = form
                    .iter()
                    .copied()
                    .filter(|word| *word != "-RSAPublicKey_out")
                    .chain(input.split(' '))
                    .chain(["-in", &public])
                    .collect();
                let theirs = hsm.openssl(Loading::Plain, &plain);
                ours.succeeds();
                theirs.succeeds();
                assert_eq!(ours.bytes(), theirs.bytes(), "{loading:?} {name} {form:?}");
            }
        }
    }
}
