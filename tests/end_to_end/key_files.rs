//! Key files, for programs that take a key only from a file: with a URI alone, and with the public
//! key as well.

use std::fs;

use openssl::base64;

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, provider_messages, uri};

const KEYS: [(&str, &str); 2] = [("rsa", RSA_2048), ("ec", EC_P256)];

/// Writes key files with plain openssl's own DER encoder: returns the PEM file and the DER file.
fn key_files(hsm: &Hsm, name: &str, version: &str, uri: &str) -> (String, String) {
    let config = format!("asn1=SEQUENCE:file\n[file]\na=VISIBLE:{version}\nb=UTF8:{uri}\n");
    let config = hsm.write(&format!("{name}.cnf"), config);
    let der = hsm.path(&format!("{name}.der"));
    hsm.openssl(
        Loading::Plain,
        &["asn1parse", "-genconf", &config, "-noout", "-out", &der],
    )
    .succeeds();
    let text = hsm
        .openssl(Loading::Plain, &["base64", "-in", &der])
        .succeeds();
    let pem = format!("-----BEGIN AKV PROVIDER URI-----\n{text}-----END AKV PROVIDER URI-----\n");
    (hsm.write(&format!("{name}.pem"), pem), der)
}

/// The content of a key file in PEM, as a file in DER.
fn in_der(hsm: &Hsm, pem: &str) -> String {
    let text = fs::read_to_string(pem).expect("a key file");
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let content = base64::decode_block(&lines.collect::<String>()).expect("base64");
    hsm.write("in.der", content)
}

#[test]
fn a_key_file_with_a_uri_alone_is_loaded_and_signs_by_a_request_each() {
    let hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", "a message to sign\n");
    for (name, _) in KEYS {
        let public = hsm.public_key(Loading::AkvFirst, &uri(name));
        let (pem, der) = key_files(&hsm, name, "AKV Provider URI v1.0", &uri(name));
        for loading in LOADINGS {
            for file in [&pem, &der] {
                let before = hsm.requests().len();
                let signature = hsm.path("signature");
                hsm.openssl(
                    loading,
                    &[
                        "dgst", "-sha256", "-sign", file, "-out", &signature, &message,
                    ],
                )
                .succeeds();
                assert_eq!(hsm.requests().len() - before, 2, "a key and a signature");
                hsm.verifies(&["-sha256"], &public, &signature, &message);
            }
        }
    }
}

#[test]
fn a_program_that_names_a_type_gets_keys_of_no_other() {
    let hsm = Hsm::with_keys(&KEYS);
    let program = hsm.compile("typed_key_files");
    let mut files = Vec::new();
    for (name, _) in KEYS {
        let pem = hsm.akv(&["keys", "pem", &uri(name)]).succeeds();
        let pem = hsm.write(&format!("{name}-public.pem"), pem);
        let public = in_der(&hsm, &pem);
        let der = hsm.path(&format!("{name}-public.der"));
        fs::rename(public, &der).expect("a file with another name");
        let (uri_pem, uri_der) = key_files(&hsm, name, "AKV Provider URI v1.0", &uri(name));
        files.push((name.to_ascii_uppercase(), [pem, der, uri_pem, uri_der]));
    }
    for type_ in ["RSA", "EC", "ED25519", "DH", "RSA-PSS", "X25519"] {
        for (of, files) in &files {
            let names = files.each_ref().map(String::as_str);
            let arguments = [&["akv_provider,default", type_][..], &names].concat();
            let printed = hsm.run(&program, &arguments).succeeds();
            let wanted = if type_ == *of { type_ } else { "none" };
            assert!(printed.lines().count() >= 2 * files.len(), "{printed}");
            for line in printed.lines() {
                let (_, got) = line.split_once(": ").expect("a way and what came of it");
                assert_eq!(got, wanted, "{of} asked for as {type_}: {printed}");
            }
        }
    }
}

/// Each library context has its own HSM, and only that one's credentials go there.
#[test]
fn a_key_file_gives_each_library_context_the_key_of_its_own_hsm() {
    let hsms = [(); 2].map(|()| Hsm::with_keys(&KEYS));
    let configs = hsms.each_ref().map(|hsm| {
        let text = fs::read_to_string(hsm.path("akv.cnf")).expect("a configuration");
        let token = hsm.write("token", hsm.variable("AZURE_CLI_ACCESS_TOKEN"));
        let (endpoint, ca) = (
            hsm.variable("AZURE_MANAGEDHSM_URL"),
            hsm.variable("AKV_CA_FILE"),
        );
        let own = format!("endpoint = {endpoint}\nca-file = {ca}\ntoken-file = {token}\n");
        hsm.write("context.cnf", text + &own)
    });
    let program = hsms[0].compile("two_contexts");
    let (_, der) = key_files(&hsms[0], "ec", "AKV Provider URI v1.0", &uri("ec"));
    let mut command = hsms[0].command(&program);
    for name in [
        "AZURE_MANAGEDHSM_URL",
        "AKV_CA_FILE",
        "AZURE_CLI_ACCESS_TOKEN",
    ] {
        command.env_remove(name);
    }
    let output = command
        .args([&configs[0], &configs[1], &der, &uri("ec")])
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let [first, second] = hsms.each_ref().map(|hsm| {
        let requests = hsm.requests();
        requests.iter().filter(|request| request.is("sign")).count()
    });
    assert_eq!((first, second), (0, 1));
}

#[test]
fn a_signature_with_a_key_file_takes_one_request() {
    let hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", "a message to sign\n");
    for (name, _) in KEYS {
        let public = hsm.public_key(Loading::AkvFirst, &uri(name));
        let [by_akv, by_openssl] = ["akv", "openssl"].map(|by| hsm.path(&format!("{name}-{by}")));
        hsm.akv(&["key", "pem", &uri(name), "--out", &by_akv])
            .succeeds();
        let write = ["pkey", "-in", &uri(name), "-out", &by_openssl];
        hsm.openssl(Loading::AkvFirst, &write).succeeds();
        let read = |path: &str| fs::read_to_string(path).expect("a key file");
        assert_eq!(read(&by_akv), read(&by_openssl));
        let der = in_der(&hsm, &by_akv);
        for loading in LOADINGS {
            for file in [&by_akv, &der] {
                let before = hsm.requests().len();
                let signature = hsm.path("signature");
                let sign = ["dgst", "-sha256", "-sign", file, "-out", &signature];
                hsm.openssl(loading, &[&sign[..], &[&message]].concat())
                    .succeeds();
                let asked = hsm.requests().split_off(before);
                assert!(asked.len() == 1 && asked[0].is_sign(), "{asked:?}");
                hsm.verifies(&["-sha256"], &public, &signature, &message);
            }
        }
    }
}

#[test]
fn a_new_key_is_written_with_its_public_key() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "a message to sign\n");
    for loading in LOADINGS {
        let (file, name) = (hsm.path("new.pem"), format!("new-{loading:?}"));
        let make = [
            "genpkey",
            "-algorithm",
            "EC",
            "-propquery",
            "provider=akv_provider",
            "-pkeyopt",
            &format!("uri:{}", uri(&name)),
            "-out",
            &file,
        ];
        hsm.openssl(loading, &make).succeeds();
        let before = hsm.requests().len();
        let sign = ["dgst", "-sha256", "-sign", &file, "-out", "/dev/null"];
        hsm.openssl(loading, &[&sign[..], &[&message]].concat())
            .succeeds();
        assert_eq!(hsm.requests().len() - before, 1, "{loading:?}");
    }
}

#[test]
fn a_key_file_is_loaded_and_a_server_starts_while_the_hsm_is_away() {
    let mut hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", "a message to sign\n");
    let file = |name: &str| hsm.path(&format!("{name}.pem"));
    let [rsa, ec] = ["rsa", "ec"].map(file);
    let of = |hsm: &Hsm, name: &str, file: &str| {
        hsm.akv(&["key", "pem", &uri(name), "--out", file])
            .succeeds();
        let public = hsm.public_key(Loading::AkvFirst, &uri(name));
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        (fs::read_to_string(public).expect("a key"), certificate)
    };
    let keys = [("rsa", &rsa), ("ec", &ec)].map(|(name, file)| (file, of(&hsm, name, file)));
    hsm.stop();
    let mut servers = Vec::new();
    for (file, (public, certificate)) in &keys {
        for loading in LOADINGS {
            let shown = hsm.openssl(loading, &["pkey", "-in", file, "-pubout"]);
            assert_eq!(&shown.succeeds(), public);
            let text = hsm.openssl(loading, &["pkey", "-in", file, "-text", "-noout"]);
            let text = text.succeeds();
            assert!(text.contains("Version: "), "{text}");
            assert!(!text.contains("Permitted operations"), "{text}");
            let sign = ["dgst", "-sha256", "-sign", file, "-out", "/dev/null"];
            hsm.openssl(loading, &[&sign[..], &[&message]].concat())
                .fails_with(&["akv_provider", "sign with managedhsm:MyHSM:", "can't reach"]);
        }
        let server = hsm.serve_tls(Loading::AkvFirst, &["-cert", certificate, "-key", file]);
        servers.push((server, certificate));
    }
    hsm.restart(&[]);
    for (server, certificate) in &servers {
        let arguments = ["-CAfile", certificate.as_str()];
        let connected = hsm.connect_tls(Loading::Plain, server, &arguments);
        connected.succeeds();
    }
}

/// What the HSM lets a key do isn't in its file, so the HSM says it.
#[test]
fn what_the_hsm_refuses_is_as_clear_with_a_key_file() {
    let verify_only = r#"{"kty":"EC-HSM","crv":"P-256","key_ops":["verify"]}"#;
    let hsm = Hsm::with_keys(&[
        ("verify-only", verify_only),
        ("disabled", EC_P256),
        ("expired", EC_P256),
        ("gone", EC_P256),
        ("encrypt-only", r#"{"kty":"RSA-HSM","key_ops":["encrypt"]}"#),
    ]);
    let message = hsm.write("message", [7; 256]);
    let sign = "dgst -sha256 -out /dev/null -sign";
    let cases = [
        ("verify-only", sign, ["403", "sign", "key_ops"]),
        ("disabled", sign, ["403", "disabled", "attributes"]),
        ("expired", sign, ["403", "exp", "attributes"]),
        ("gone", sign, ["404", "KeyNotFound", "the key's name"]),
        (
            "encrypt-only",
            "pkeyutl -decrypt -out /dev/null -inkey",
            ["403", "decrypt", "key_ops"],
        ),
    ];
    for (name, ..) in &cases {
        let out = hsm.path(name);
        hsm.akv(&["key", "pem", &uri(name), "--out", &out])
            .succeeds();
    }
    hsm.update("disabled", r#"{"attributes":{"enabled":false}}"#);
    hsm.update("expired", r#"{"attributes":{"exp":1000000000}}"#);
    hsm.akv(&["keys", "delete", &uri("gone"), "--yes"])
        .succeeds();
    for (name, command, words) in cases {
        for loading in LOADINGS {
            let mut line: Vec<&str> = command.split(' ').collect();
            let file = hsm.path(name);
            line.push(&file);
            if command.starts_with("pkeyutl") {
                line.push("-in");
            }
            line.push(&message);
            let text = hsm.openssl(loading, &line).fails_with(&words);
            let told = provider_messages(&text);
            let uri = uri(name) + "?version=";
            assert!(told.len() == 1 && told[0].contains(&uri), "{text}");
        }
    }
}

#[test]
fn a_certificate_and_its_key_file_may_share_a_file() {
    let hsm = Hsm::with_keys(&KEYS);
    for (name, _) in KEYS {
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        let (pem, _) = key_files(&hsm, name, "AKV Provider URI v1.0", &uri(name));
        let read = |path: &str| fs::read_to_string(path).expect("a file just written");
        let both = hsm.write(
            "both.pem",
            format!("a comment\n{}\n{}", read(&certificate), read(&pem)),
        );
        for loading in LOADINGS {
            let server = hsm.serve_tls(loading, &["-cert", &both, "-key", &both]);
            hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate])
                .succeeds();
        }
    }
}

#[test]
fn software_keys_in_files_are_read_as_ever() {
    let hsm = Hsm::start();
    let key = hsm.path("software.pem");
    for loading in LOADINGS {
        hsm.openssl(
            Loading::Plain,
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "group:P-256",
                "-out",
                &key,
            ],
        )
        .succeeds();
        hsm.openssl(loading, &["pkey", "-in", &key, "-noout", "-check"])
            .succeeds();
    }
}

#[test]
fn a_key_file_that_is_damaged_says_so_however_it_is_read() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let (pem, der) = key_files(&hsm, "good", "AKV Provider URI v1.0", &uri("ec"));
    let read = |path: &str| fs::read(path).expect("it was written");
    let text = String::from_utf8(read(&pem)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    let content = lines[1..lines.len() - 1].concat();
    let der = read(&der);
    let block = |content: &str| format!("{first}\n{content}\n{last}\n");
    let encoded = |der: &[u8]| base64::encode_block(der);
    for (name, text, words) in [
        ("cut", format!("{first}\n{content}\n"), "END line"),
        (
            "other",
            block(&content).replace(last, "-----END PRIVATE KEY-----"),
            "END line",
        ),
        ("noise", block("this is not base64!"), "base64"),
        (
            "twice",
            block(&encoded(&[&der[..], &der[..]].concat())),
            "none of a key file",
        ),
        (
            "trailing",
            block(&encoded(&[&der[..], b"x"].concat())),
            "none of a key file",
        ),
        ("nothing", block(&encoded(&[0x30, 0])), "none of a key file"),
    ] {
        let file = hsm.write(&format!("{name}.pem"), text);
        for command in ["pkey", "storeutl"] {
            let mut arguments = vec![command, "-noout"];
            arguments.extend(match command {
                "pkey" => vec!["-in", file.as_str()],
                _ => vec![file.as_str()],
            });
            for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
                let outcome = hsm.openssl(loading, &arguments);
                // To storeutl a file with nothing in it is none of its failures.
                let text = match command {
                    "pkey" => outcome.fails_with(&[]),
                    _ => outcome.text(),
                };
                assert!(text.contains(words), "{name}: {text}");
            }
        }
    }
}

#[test]
fn a_key_file_that_cannot_be_used_says_why() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let cases = [
        ("AKV Provider URI v9", uri("ec"), "version 'v9' is unknown"),
        (
            "AKV Provider URI v1.0",
            "managedhsm:My_HSM:ec".to_owned(),
            "vault name 'My_HSM'",
        ),
        ("AKV Provider URI v1.0", uri("nosuchkey"), "KeyNotFound"),
    ];
    for (version, uri, expected) in cases {
        let (pem, der) = key_files(&hsm, "bad", version, &uri);
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", &pem, "-noout"])
            .fails_with(&["akv_provider", expected]);
        // OSSL_STORE drops what decoders of DER say.
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", &der, "-noout"])
            .fails_with(&["Could not "]);
    }
}
