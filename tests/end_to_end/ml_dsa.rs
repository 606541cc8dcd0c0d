//! Keys of ML-DSA, which OpenSSL knows since 3.5. Its own implementation judges what the HSM signs.

use std::fs;

use super::forged_key_files::{forged, public};
use crate::support::{EC_P256, Hsm, LOADINGS, Loading, openssl_is_at_least, openssl_version, uri};

const PREVIEW: &str = "2026-05-01-preview";
/// Parameter sets, with the lengths of their signatures.
pub(crate) const SETS: [(&str, usize); 3] = [
    ("ML-DSA-44", 2420),
    ("ML-DSA-65", 3309),
    ("ML-DSA-87", 4627),
];

/// An HSM with a key of each set, which has the set's name.
pub(crate) fn hsm() -> Hsm {
    let mut hsm = Hsm::start();
    for (set, _) in SETS {
        hsm.create(set, &format!(r#"{{"kty":"AKP-HSM","alg":"{set}"}}"#));
    }
    hsm.set("AKV_API_VERSION", PREVIEW);
    hsm
}

/// Arguments of `pkeyutl`, on a message of the test's.
fn pkeyutl<'a>(operation: &'a str, key: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["pkeyutl", operation, "-inkey", key];
    for option in options {
        arguments.extend(["-pkeyopt", option]);
    }
    arguments
}

/// Signs a file with a key of the HSM.
fn sign(hsm: &Hsm, loading: Loading, set: &str, message: &str, options: &[&str]) -> String {
    let signature = hsm.path("signature");
    let key = uri(set);
    let mut arguments = pkeyutl("-sign", &key, options);
    arguments.extend(["-rawin", "-in", message, "-out", &signature]);
    hsm.openssl(loading, &arguments).succeeds();
    signature
}

/// Whether OpenSSL's own implementation takes a signature for the public key's.
fn is_valid(hsm: &Hsm, public: &str, message: &str, signature: &str, options: &[&str]) -> bool {
    let mut arguments = pkeyutl("-verify", public, options);
    arguments.extend(["-pubin", "-rawin", "-in", message, "-sigfile", signature]);
    hsm.openssl(Loading::Plain, &arguments).is_success()
}

#[test]
fn openssl_verifies_what_the_hsm_signs_in_every_way_of_loading() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let message = hsm.write("message", vec![b'm'; 300_000]);
    // pkeyutl signs no empty file.
    let short = hsm.write("short", "s");
    for (set, len) in SETS {
        for loading in LOADINGS {
            let public = hsm.public_key(loading, &uri(set));
            for message in [&message, &short] {
                let signature = sign(&hsm, loading, set, message, &[]);
                assert_eq!(fs::read(&signature).unwrap().len(), len);
                assert!(
                    is_valid(&hsm, &public, message, &signature, &[]),
                    "{set} {loading:?}"
                );
                let key = uri(set);
                let mut own = pkeyutl("-verify", &key, &[]);
                own.extend(["-rawin", "-in", message, "-sigfile", &signature]);
                hsm.openssl(loading, &own).succeeds();
                own.extend(["-pkeyopt", "context-string:x"]);
                hsm.openssl(loading, &own)
                    .fails_with(&["Signature Verification Failure"]);
            }
        }
    }
    let signatures = hsm
        .requests()
        .iter()
        .filter(|request| request.is_sign())
        .count();
    assert_eq!(signatures, SETS.len() * LOADINGS.len() * 2);
}

#[test]
fn keys_tell_all_that_those_of_the_default_provider_tell() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let program = hsm.compile("parameters");
    let keys = SETS.map(|(set, _)| uri(set));
    for order in ["akv_provider,default", "default,akv_provider"] {
        let mut arguments = vec![order];
        arguments.extend(keys.iter().map(String::as_str));
        hsm.run(&program, &arguments).succeeds();
    }
}

#[test]
fn contexts_ready_representatives_and_encoded_messages_are_signed() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let message = hsm.write("message", "a message");
    let mu = hsm.write("mu", [7; 64]);
    // What FIPS 204 puts before a message with the context "ab".
    let encoded = hsm.write("encoded", b"\0\x02aba message");
    let longest = format!("hexcontext-string:{}", "07".repeat(255));
    let loading = Loading::AkvFirst;
    for (set, _) in SETS {
        let public = hsm.public_key(loading, &uri(set));
        for (input, options, as_well) in [
            (&message, &["context-string:x"][..], None),
            (&message, &[longest.as_str()], None),
            (&message, &["context-string:"], Some((&message, &[][..]))),
            (&message, &["deterministic:0"], Some((&message, &[]))),
            (&mu, &["mu:1"], None),
            (
                &encoded,
                &["message-encoding:0"],
                Some((&message, &["context-string:ab"][..])),
            ),
        ] {
            let signature = sign(&hsm, loading, set, input, options);
            assert!(
                is_valid(&hsm, &public, input, &signature, options),
                "{set} {options:?}"
            );
            let (input, options) = as_well.unwrap_or((input, options));
            assert!(
                is_valid(&hsm, &public, input, &signature, options),
                "{set} {options:?}"
            );
        }
    }
    let too_long = format!("hexcontext-string:{}", "07".repeat(256));
    let short = hsm.write("short", [7; 63]);
    let (key, out) = (uri("ML-DSA-65"), hsm.path("none"));
    for (input, option, words) in [
        (
            &message,
            too_long.as_str(),
            "at most 255 bytes, 256 were given",
        ),
        (&short, "mu:1", "has 64 bytes, 63 were given"),
        (&message, "message-encoding:2", "2 is neither 0"),
        (&message, "deterministic:1", "the same each time"),
        (&message, "hextest-entropy:00", "test-entropy"),
    ] {
        let mut arguments = pkeyutl("-sign", &key, &[option]);
        arguments.extend(["-rawin", "-in", input, "-out", &out]);
        hsm.openssl(loading, &arguments).fails_with(&[words]);
    }
    assert!(!hsm.requests().last().unwrap().is_sign() || fs::metadata(&out).is_err());
}

#[test]
fn public_keys_read_and_are_written_as_openssls_own() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    for (set, _) in SETS {
        for loading in LOADINGS {
            let key = uri(set);
            let public = hsm.public_key(loading, &key);
            for options in [
                &["-pubout", "-outform", "DER"][..],
                &["-pubout", "-outform", "PEM"],
                &["-text_pub", "-noout"],
            ] {
                let ours = [&["pkey", "-in", &key], options].concat();
                let theirs = [&["pkey", "-pubin", "-in", &public], options].concat();
                let (ours, theirs) = (
                    hsm.openssl(loading, &ours),
                    hsm.openssl(Loading::Plain, &theirs),
                );
                theirs.succeeds();
                assert_eq!(
                    ours.bytes(),
                    theirs.bytes(),
                    "{set} {loading:?} {options:?}"
                );
            }
            let text = hsm.openssl(loading, &["pkey", "-in", &key, "-text", "-noout"]);
            let text = text.succeeds();
            let title = format!("{set} Private-Key in Azure Managed HSM");
            assert!(text.contains(&title), "{text}");
            // A key file serves as the key.
            let file = hsm.path("key.pem");
            let written = hsm.openssl(loading, &["pkey", "-in", &key, "-out", &file]);
            written.succeeds();
            let again = hsm.openssl(loading, &["pkey", "-in", &file, "-pubout"]);
            assert_eq!(again.succeeds(), fs::read_to_string(&public).unwrap());
        }
    }
}

#[test]
fn a_signature_with_a_key_file_takes_one_request_and_proves_the_public_key() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let mut hsm = hsm();
    let (message, out) = (hsm.write("message", "a message"), hsm.path("out"));
    for (set, _) in SETS {
        hsm.create("other", &format!(r#"{{"kty":"AKP-HSM","alg":"{set}"}}"#));
        let text = hsm.akv(&["key", "pem", &uri(set)]).succeeds();
        let file = hsm.write("key.pem", &text);
        let other = hsm.public_key(Loading::AkvFirst, &uri("other"));
        let forged = forged(&hsm, set, public(&other));
        for loading in LOADINGS {
            let before = hsm.requests().len();
            let mut line = pkeyutl("-sign", &file, &[]);
            line.extend(["-rawin", "-in", &message, "-out", &out]);
            hsm.openssl(loading, &line).succeeds();
            let asked = hsm.requests().split_off(before);
            assert!(asked.len() == 1 && asked[0].is_sign(), "{asked:?}");
            line[3] = &forged;
            for checks in ["yes", "no"] {
                hsm.set("AKV_VERIFY_SIGNATURES", checks);
                hsm.openssl(loading, &line)
                    .fails_with(&["is not that of key", set, "akv key pem"]);
            }
        }
    }
}

#[test]
fn a_key_file_is_refused_without_a_request_by_a_version_of_the_api_without_such_keys() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let mut hsm = hsm();
    let text = hsm.akv(&["key", "pem", &uri("ML-DSA-44")]).succeeds();
    let file = hsm.write("key.pem", text);
    hsm.unset("AKV_API_VERSION");
    let before = hsm.requests().len();
    let load = ["pkey", "-in", &file, "-noout"];
    hsm.openssl(Loading::AkvFirst, &load)
        .fails_with(&["load key", "api-version", PREVIEW]);
    assert_eq!(hsm.requests().len(), before);
}

#[test]
fn certificates_are_made_signed_and_verified() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    for (set, _) in SETS {
        for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
            let key = uri(set);
            let ca = hsm.path("ca.crt");
            let self_signed = [
                "req",
                "-x509",
                "-new",
                "-key",
                &key,
                "-subj",
                "/CN=ca",
                "-out",
                &ca,
                "-addext",
                "basicConstraints=critical,CA:TRUE",
            ];
            hsm.openssl(loading, &self_signed).succeeds();
            let shown = hsm.openssl(Loading::Plain, &["x509", "-in", &ca, "-noout", "-text"]);
            let shown = shown.succeeds();
            let algorithm = format!("Signature Algorithm: {set}");
            assert_eq!(shown.matches(&algorithm).count(), 2, "{shown}");
            hsm.is_self_signed(&ca);
            // A request by the HSM's key, and a certificate of it.
            let (request, leaf) = (hsm.path("leaf.csr"), hsm.path("leaf.crt"));
            let new = [
                "req", "-new", "-key", &key, "-subj", "/CN=leaf", "-out", &request,
            ];
            hsm.openssl(loading, &new).succeeds();
            let verify = ["req", "-verify", "-noout", "-in", &request];
            hsm.openssl(Loading::Plain, &verify).succeeds();
            let issue = [
                "x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &key, "-out", &leaf,
            ];
            hsm.openssl(loading, &issue).succeeds();
            let verify = ["verify", "-CAfile", &ca, &leaf];
            hsm.openssl(Loading::Plain, &verify).succeeds();
        }
    }
}

#[test]
fn a_wrong_signature_is_not_handed_out() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let mut hsm = hsm();
    let message = hsm.write("message", "a message");
    let (key, out) = (uri("ML-DSA-65"), hsm.path("none"));
    for fault in ["wrong-value", "wrong-length"] {
        hsm.stop();
        hsm.restart(&["--fault", &format!("{fault},operation=sign")]);
        hsm.set("AKV_API_VERSION", PREVIEW);
        let mut sign = pkeyutl("-sign", &key, &[]);
        sign.extend(["-rawin", "-in", &message, "-out", &out]);
        hsm.openssl(Loading::AkvFirst, &sign)
            .fails_with(&["is not a signature by that key", "nothing was signed"]);
        assert!(fs::metadata(&out).map_or(true, |file| file.len() == 0));
    }
}

/// Whether a message is signed by CMS, with a digest or with whichever the key says. What is signed
/// is then verified by OpenSSL alone.
fn cms(hsm: &Hsm, loading: Loading, key: &str, certificate: &str, digest: Option<&str>) -> bool {
    let message = hsm.write("message", "a message\n");
    let (signed, out) = (hsm.path("signed.cms"), hsm.path("content"));
    let mut sign = vec!["cms", "-sign", "-binary", "-nodetach"];
    sign.extend(["-in", &message, "-signer", certificate]);
    sign.extend(["-inkey", key, "-out", &signed]);
    if let Some(digest) = digest {
        sign.extend(["-md", digest]);
    }
    if !hsm.openssl(loading, &sign).is_success() {
        return false;
    }
    let mut verify = vec!["cms", "-verify", "-binary", "-in", &signed];
    verify.extend(["-CAfile", certificate, "-out", &out, "-purpose", "any"]);
    hsm.openssl(Loading::Plain, &verify).succeeds();
    assert_eq!(fs::read(&out).unwrap(), b"a message\n");
    true
}

/// Which digests CMS takes with such keys differs between versions of OpenSSL.
#[test]
fn cms_takes_the_digests_that_it_takes_with_software_keys() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    for (set, _) in SETS {
        let software = hsm.path("software.pem");
        let generate = ["genpkey", "-algorithm", set, "-out", &software];
        hsm.openssl(Loading::Plain, &generate).succeeds();
        let theirs = hsm.certificate(Loading::Plain, &software, &format!("software-{set}"));
        let ours = hsm.certificate(Loading::AkvFirst, &uri(set), &format!("cms-{set}"));
        for digest in [
            None,
            Some("sha256"),
            Some("sha384"),
            Some("sha3-512"),
            Some("shake128"),
            Some("shake256"),
        ] {
            let expected = cms(&hsm, Loading::Plain, &software, &theirs, digest);
            assert!(expected || digest != Some("sha256"), "{set}");
            for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
                let found = cms(&hsm, loading, &uri(set), &ours, digest);
                assert_eq!(found, expected, "{set} {loading:?} {digest:?}");
            }
        }
    }
}

#[test]
fn dgst_and_cms_sign_as_with_software_keys() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let message = hsm.write("message", "a message\n");
    for (set, _) in SETS {
        for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
            let key = uri(set);
            let (public, signature) = (hsm.public_key(loading, &key), hsm.path("dgst.sig"));
            let sign = ["dgst", "-sign", &key, "-out", &signature, &message];
            hsm.openssl(loading, &sign).succeeds();
            hsm.verifies(&[], &public, &signature, &message);
            let sign = [
                "dgst", "-sha256", "-sign", &key, "-out", &signature, &message,
            ];
            hsm.openssl(loading, &sign)
                .fails_with(&["signs messages as they are: leave out 'SHA256'"]);
            let certificate = hsm.certificate(loading, &key, &format!("{set}-{loading:?}"));
            let with_sha512 = cms(&hsm, loading, &key, &certificate, Some("sha512"));
            assert!(with_sha512, "{set} {loading:?}");
        }
    }
}

#[test]
fn keys_are_generated_in_the_hsm_where_they_have_a_name_there() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let message = hsm.write("message", "a message");
    for (set, _) in SETS {
        for loading in LOADINGS {
            let name = format!("made-{set}-{loading:?}");
            let option = format!("uri:{}", uri(&name));
            let file = hsm.path("made.pem");
            let mut generate = vec![
                "genpkey",
                "-algorithm",
                set,
                "-pkeyopt",
                &option,
                "-out",
                &file,
            ];
            if loading == Loading::DefaultFirst || loading == Loading::Config {
                generate.extend(["-propquery", "provider=akv_provider"]);
            }
            hsm.openssl(loading, &generate).succeeds();
            assert_eq!(hsm.key(&name)["key"]["alg"], set);
            let public = hsm.public_key(loading, &uri(&name));
            let signature = sign(&hsm, loading, &name, &message, &[]);
            assert!(is_valid(&hsm, &public, &message, &signature, &[]));
            // One of software, whatever stands first.
            let generate = ["genpkey", "-algorithm", set, "-out", &file];
            hsm.openssl(loading, &generate).succeeds();
            let mut arguments = pkeyutl("-sign", &file, &[]);
            arguments.extend(["-rawin", "-in", &message, "-out", &signature]);
            hsm.openssl(loading, &arguments).succeeds();
            let mut arguments = pkeyutl("-verify", &file, &[]);
            arguments.extend(["-rawin", "-in", &message, "-sigfile", &signature]);
            hsm.openssl(loading, &arguments).succeeds();
            hsm.openssl(Loading::Plain, &arguments).succeeds();
        }
    }
    let seed = format!("hexseed:{}", "07".repeat(32));
    let option = format!("uri:{}", uri("seeded"));
    let generate = [
        "genpkey",
        "-algorithm",
        "ML-DSA-44",
        "-pkeyopt",
        &seed,
        "-pkeyopt",
        &option,
    ];
    hsm.openssl(Loading::AkvFirst, &generate)
        .fails_with(&["from a seed of its own: leave it out"]);
}

#[test]
fn programs_sign_and_verify_in_pieces_again_and_with_copies() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let program = hsm.compile("ml_dsa");
    for (set, _) in SETS {
        for providers in ["akv_provider,default", "default,akv_provider"] {
            let arguments = [set, &uri(set), providers];
            hsm.run(&program, &arguments).succeeds();
        }
    }
}

#[test]
fn akv_creates_keys_signs_verifies_and_makes_certificates() {
    let mut hsm = Hsm::start();
    let key = uri("k");
    for (set, len) in SETS {
        let kind = set.to_lowercase();
        hsm.unset("AKV_API_VERSION");
        hsm.akv(&["keys", "create", &key, "--type", &kind])
            .fails_with(&["create key", "AKV_API_VERSION=2026-05-01-preview"]);
        hsm.set("AKV_API_VERSION", PREVIEW);
        let created = hsm.akv(&["keys", "create", &key, "--type", &kind]);
        let created = created.succeeds();
        assert!(created.contains(&format!("AKP, {set}")), "{created}");
        let shown = hsm.akv(&["keys", "show", &key]).succeeds();
        assert!(shown.contains(&format!("AKP, {set}")), "{shown}");
        let message = hsm.write("message", "a message");
        let signature = hsm.path(&format!("{set}.sig"));
        hsm.akv(&["sign", &key, &message, "--out", &signature])
            .succeeds();
        assert_eq!(fs::read(&signature).unwrap().len(), len);
        hsm.akv(&["verify", &key, &message, "--signature", &signature])
            .succeeds();
        let other = hsm.write("other", "another message");
        hsm.akv(&["verify", &key, &other, "--signature", &signature])
            .fails_with(&["NOT valid"]);
        hsm.akv(&["sign", &key, &message, "--algorithm", "ES256"])
            .fails_with(&[&format!("its type is {set}")]);
        sign_with_contexts(&hsm, &key, &message);
        let certificate = hsm.path(&format!("{set}.crt"));
        let arguments = ["cert", "self-signed", &key, "--subject", "CN=k", "--out"];
        hsm.akv(&[&arguments[..], &[&certificate]].concat())
            .succeeds();
        if openssl_version() >= (3, 5) {
            hsm.is_self_signed(&certificate);
        }
    }
    hsm.create("ec", EC_P256);
    let message = hsm.write("message", "a message");
    hsm.akv(&["sign", &uri("ec"), &message, "--context", "x"])
        .fails_with(&["only signatures of ML-DSA have a context"]);
    hsm.akv_line("keys create managedhsm:MyHSM:k --type ml-dsa-44 --size 44")
        .fails_with(&["has no --size"]);
    hsm.akv_line("keys create managedhsm:MyHSM:k --type ml-dsa-44 --curve P-256")
        .fails_with(&["only an EC key has a --curve"]);
}

/// Signs and verifies with `akv` and contexts of every length.
fn sign_with_contexts(hsm: &Hsm, key: &str, message: &str) {
    let run = |verb: &str, signature: &str, context: &[&str]| {
        let option = if verb == "sign" {
            "--out"
        } else {
            "--signature"
        };
        let arguments = [verb, key, message, option, signature];
        hsm.akv(&[&arguments[..], context].concat())
    };
    let (none, longest) = (["--context", ""], ["--hex-context", &"07".repeat(255)]);
    for (index, context) in [&none, &["--context", "x"], &longest].iter().enumerate() {
        let signature = hsm.path(&format!("{}-{index}.sig", key.len()));
        let _ = fs::remove_file(&signature);
        run("sign", &signature, &context[..]).succeeds();
        run("verify", &signature, &context[..]).succeeds();
        let others: [&[&str]; 2] = [&["--context", "y"], &[]];
        for other in others.into_iter().take(if index == 0 { 1 } else { 2 }) {
            run("verify", &signature, other).fails_with(&["NOT valid"]);
        }
    }
    let too_long = ["--hex-context", &"07".repeat(256)];
    for (context, words) in [
        (&too_long[..], "at most 255 bytes, 256 were given"),
        (&["--hex-context", "0"], "pairs of hexadecimal digits"),
        (
            &["--context", "a", "--hex-context", "00"],
            "cannot be used with",
        ),
    ] {
        run("sign", &hsm.path("none"), context).fails_with(&[words]);
    }
}

#[test]
fn messages_of_every_length_are_signed_as_openssl_signs_them() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let program = hsm.compile("ml_dsa_messages");
    for (set, _) in SETS {
        hsm.run(&program, &[set, &uri(set)]).succeeds();
    }
}

#[test]
fn a_version_of_the_api_that_has_no_such_keys_is_named_with_the_setting() {
    let mut hsm = hsm();
    hsm.set("AKV_API_VERSION", "2025-07-01");
    let key = uri("ML-DSA-65");
    let load = ["pkey", "-in", &key, "-pubout"];
    for set in [Some("2025-07-01"), None] {
        match set {
            Some(version) => hsm.set("AKV_API_VERSION", version),
            None => hsm.unset("AKV_API_VERSION"),
        }
        let requests = format!("requests name {}", set.unwrap_or("7.4"));
        hsm.openssl(Loading::AkvFirst, &load).fails_with(&[
            "ML-DSA came with version 2026-05-01-preview",
            &requests,
            "AKV_API_VERSION=2026-05-01-preview",
        ]);
    }
    hsm.set("AKV_API_VERSION", "seven");
    hsm.openssl(Loading::AkvFirst, &load)
        .fails_with(&["AKV_API_VERSION", "'seven' is no version"]);
}

#[test]
fn an_openssl_that_knows_no_such_keys_is_named_with_the_one_that_does() {
    if openssl_version() >= (3, 5) {
        return;
    }
    let hsm = hsm();
    let key = uri("ML-DSA-65");
    let file = hsm.write("key.pem", hsm.akv(&["key", "pem", &key]).succeeds());
    for loading in LOADINGS {
        for key in [&key, &file] {
            hsm.openssl(loading, &["pkey", "-in", key, "-pubout"])
                .fails_with(&["keys of ML-DSA-65 need OpenSSL 3.5 or newer"]);
        }
    }
}
