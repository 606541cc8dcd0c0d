//! `akv keys`: what it does in the HSM is looked at with `openssl`.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::pkey::PKey;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use super::{json as answer, names};
use crate::support::{EC_P256, Hsm, Loading, uri};

#[test]
fn keys_and_tokens_that_end_after_the_year_9999_are_shown_and_used() {
    let mut hsm = Hsm::start();
    for (name, end) in [("far", 253_402_300_800), ("farther", i64::MAX)] {
        let attributes = format!(r#""attributes":{{"exp":{end}}}"#);
        hsm.create(
            name,
            &format!(r#"{{"kty":"EC-HSM","crv":"P-256",{attributes}}}"#),
        );
        let shown = answer(&hsm, &format!("keys show managedhsm:MyHSM:{name}"));
        assert_eq!(shown["expires"], "9999-12-31T23:59:59Z", "{shown}");
    }
    let listed = names(&answer(&hsm, "keys list managedhsm:MyHSM"), "name");
    assert_eq!(listed, ["far", "farther"]);
    for seconds in [300_000_000_000, i64::MAX / 2] {
        hsm.use_token_expiring_in(seconds);
        let told = hsm.akv(&["token"]).succeeds();
        assert!(told.contains("a time after the year 9999"), "{told}");
        answer(&hsm, "keys show managedhsm:MyHSM:far");
        answer(&hsm, "keys check managedhsm:MyHSM:far");
    }
}

#[test]
fn a_key_is_created_listed_rotated_deleted_and_recovered() {
    let hsm = Hsm::start();
    for (name, options, kind, size) in [
        ("r2", "--type rsa", "RSA", "2048 bits"),
        ("r4", "--type rsa --size 4096", "RSA", "4096 bits"),
        ("e2", "--type ec --curve P-256", "EC", "P-256"),
        ("e5", "--type ec --curve P-521", "EC", "P-521"),
        ("ek", "--type ec --curve P-256K", "EC", "P-256K"),
        ("a1", "--type oct --size 128", "oct", "oct"),
    ] {
        let made = answer(
            &hsm,
            &format!("keys create managedhsm:MyHSM:{name} {options}"),
        );
        assert_eq!(made["type"], kind);
        let shown = hsm.akv(&["keys", "show", &uri(name)]).succeeds();
        assert!(shown.contains(size), "{shown}");
    }
    assert_eq!(
        names(&answer(&hsm, "keys list managedhsm:MyHSM"), "name").len(),
        6
    );

    let first = answer(&hsm, "keys show managedhsm:MyHSM:e2");
    hsm.akv_line("keys rotate managedhsm:MyHSM:e2")
        .fails_with(&["400", "set a key rotation policy first"]);
    hsm.set_rotation_policy("e2");
    let second = answer(&hsm, "keys rotate managedhsm:MyHSM:e2");
    assert_ne!(first["version"], second["version"]);
    let versions = names(&answer(&hsm, "keys list managedhsm:MyHSM:e2"), "version");
    assert_eq!(versions.len(), 2);
    let old = format!("keys show managedhsm:MyHSM:e2?version={}", versions[0]);
    assert_eq!(answer(&hsm, &old)["version"], versions[0].as_str());

    // Nobody is at a terminal here who could be asked.
    hsm.akv_line("keys delete managedhsm:MyHSM:e2")
        .fails_with(&["e2 is not deleted", "--yes"]);
    answer(&hsm, "keys delete managedhsm:MyHSM:e2 --yes");
    hsm.akv_line("keys show managedhsm:MyHSM:e2")
        .fails_with(&["404", "KeyNotFound"]);
    let deleted = answer(&hsm, "keys list managedhsm:MyHSM --deleted");
    assert_eq!(names(&deleted, "name"), ["e2"]);
    hsm.akv_line("keys create managedhsm:MyHSM:e2 --type ec --curve P-256")
        .fails_with(&["409", "e2"]);
    answer(&hsm, "keys recover managedhsm:MyHSM:e2");
    assert_eq!(
        answer(&hsm, "keys show managedhsm:MyHSM:e2")["version"],
        second["version"]
    );
}

#[test]
fn properties_of_a_new_key_reach_the_hsm() {
    let hsm = Hsm::start();
    let made = answer(
        &hsm,
        "keys create managedhsm:MyHSM:k --type rsa --operations sign,verify --disabled --expires 2099-12-31 \
         --not-before 2020-01-01T00:00:00Z --tag owner=me --tag use=tls",
    );
    assert_eq!(made["operations"], serde_json::json!(["sign", "verify"]));
    assert_eq!(made["enabled"], false);
    assert_eq!(made["expires"], "2099-12-31T00:00:00Z");
    assert_eq!(made["not_before"], "2020-01-01T00:00:00Z");
    assert_eq!(made["tags"]["use"], "tls");
    let kept = hsm.key("k");
    assert_eq!(kept["attributes"]["exp"], 4_102_358_400_u64);
    assert_eq!(kept["tags"]["owner"], "me");
}

#[test]
fn a_listing_of_many_pages_is_whole() {
    let hsm = Hsm::start();
    let body = EC_P256;
    for number in 0..60 {
        hsm.create(&format!("key-{number}"), body);
    }
    let mut listed = names(&answer(&hsm, "keys list managedhsm:MyHSM"), "name");
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 60);
    let requests = hsm.requests();
    let pages = requests
        .iter()
        .filter(|request| request.path == "/keys")
        .count();
    assert!(pages > 2, "{pages}");
}

/// What another HSM's tool writes: a key, wrapped for a key of the HSM that the service describes.
fn transfer_blob(exchange_key: &Value, key: &[u8]) -> String {
    let number = |member: &str| {
        let text = exchange_key["key"][member].as_str().expect("a number");
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        BigNum::from_slice(&bytes).expect("a number")
    };
    let public = Rsa::from_public_components(number("n"), number("e")).expect("a key");
    let once = [9; 32];
    let mut ciphertext = vec![0; public.size() as usize];
    public
        .public_encrypt(&once, &mut ciphertext, Padding::PKCS1_OAEP)
        .expect("it is wrapped");
    let cipher = Cipher::fetch(None, "AES-256-WRAP-PAD", None).expect("a cipher");
    let mut context = CipherCtx::new().expect("a context");
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    let begun = context.encrypt_init(Some(&cipher), Some(&once), None);
    begun.expect("it begins");
    let mut room = vec![0; key.len() + 32];
    let len = context.cipher_update(key, Some(&mut room));
    ciphertext.extend_from_slice(&room[..len.expect("it is wrapped")]);
    let blob = json!({
        "schema_version": "1.0.0",
        "header": {
            "kid": exchange_key["key"]["kid"],
            "alg": "dir",
            "enc": "CKM_RSA_AES_KEY_WRAP",
        },
        "ciphertext": URL_SAFE_NO_PAD.encode(&ciphertext),
        "generator": "a test",
    });
    blob.to_string()
}

#[test]
fn an_external_key_is_created_by_its_id_shown_and_used() {
    let mut hsm = Hsm::start();
    let create = "keys create managedhsm:MyHSM:x --external-key ec-7";
    for (line, words) in [
        (format!("{create} --type ec"), &["cannot be used with"][..]),
        (format!("{create} --size 256"), &["cannot be used with"]),
        ("keys create managedhsm:MyHSM:x".to_owned(), &["--type"]),
        (
            format!("{create}_"),
            &["1 to 64 letters, digits and hyphens"],
        ),
        (
            "keys create keyvault:vault:x --external-key a".to_owned(),
            &["a key vault has no external keys"],
        ),
    ] {
        hsm.akv_line(&line).fails_with(words);
    }
    // The stable version that has them needs no setting, but to show what is older than it.
    let made = answer(&hsm, create);
    assert_eq!(
        (&made["type"], &made["external_key"]),
        (&json!("EC"), &json!("ec-7"))
    );
    hsm.set("AKV_API_VERSION", "2026-04-01");
    let shown = hsm.akv_line("keys show managedhsm:MyHSM:x").succeeds();
    assert!(shown.contains("External key  ec-7\n"), "{shown}");
    let (message, signature) = (hsm.write("message", "m"), hsm.path("signature"));
    hsm.akv(&["sign", &uri("x"), &message, "--out", &signature])
        .succeeds();
    hsm.akv(&["verify", &uri("x"), &message, "--signature", &signature])
        .succeeds();
    // Since the same version the size of an AES key is told.
    hsm.akv_line("keys create managedhsm:MyHSM:a --external-key other")
        .succeeds();
    let shown = hsm.akv_line("keys show managedhsm:MyHSM:a").succeeds();
    assert!(shown.contains("oct, 256 bits"), "{shown}");
}

#[test]
fn a_key_of_another_hsm_is_imported_from_its_transfer_blob() {
    let hsm = Hsm::start();
    hsm.akv_line("keys create managedhsm:MyHSM:kek --type rsa --operations import")
        .succeeds();
    let own = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let pkcs8 = own.private_key_to_pkcs8().expect("PKCS#8");
    let file = hsm.write("key.byok", transfer_blob(&hsm.key("kek"), &pkcs8));
    hsm.akv(&["keys", "import", &uri("brought"), &file, "--byok", "rsa"])
        .succeeds();
    let modulus = own.rsa().expect("a key").n().to_vec();
    let modulus = URL_SAFE_NO_PAD.encode(modulus);
    assert_eq!(hsm.key("brought")["key"]["n"], modulus.as_str());
    hsm.akv(&["keys", "import", &uri("x"), &file, "--byok", "ec"])
        .fails_with(&["import key", "no key of the kty"]);
    let other = hsm.write("other", "{}");
    hsm.akv(&["keys", "import", &uri("x"), &other, "--byok", "rsa"])
        .fails_with(&["other", "no key transfer blob"]);
}

#[test]
fn private_keys_are_imported_from_every_kind_of_file() {
    let hsm = Hsm::start();
    let run = |line: &str| hsm.openssl_line(Loading::Plain, line).succeeds();
    let file = |name: &str| hsm.path(name);
    run(&format!("genrsa -out {} 2048", file("rsa8.pem")));
    run(&format!(
        "rsa -in {} -traditional -out {}",
        file("rsa8.pem"),
        file("rsa1.pem")
    ));
    run(&format!(
        "pkey -in {} -outform DER -out {}",
        file("rsa8.pem"),
        file("rsa.der")
    ));
    run(&format!(
        "ecparam -name secp384r1 -genkey -noout -out {}",
        file("ec1.pem")
    ));
    run(&format!(
        "pkcs8 -topk8 -nocrypt -in {} -out {}",
        file("ec1.pem"),
        file("ec8.pem")
    ));
    run(&format!(
        "pkcs8 -topk8 -in {} -out {} -passout pass:secret",
        file("ec1.pem"),
        file("locked.pem")
    ));
    let message = hsm.write("message", "hello");
    for (name, origin) in [
        ("rsa8.pem", "rsa8.pem"),
        ("rsa1.pem", "rsa8.pem"),
        ("rsa.der", "rsa8.pem"),
        ("ec1.pem", "ec1.pem"),
        ("ec8.pem", "ec1.pem"),
    ] {
        let key = uri(&name.replace('.', "-"));
        hsm.akv(&["keys", "import", &key, &file(name)]).succeeds();
        let signature = file(&format!("{name}.sig"));
        hsm.akv(&["sign", &key, &message, "--out", &signature])
            .succeeds();
        let hash = if name.starts_with("ec") {
            "-sha384"
        } else {
            "-sha256"
        };
        let verified = hsm.openssl(
            Loading::Plain,
            &[
                "dgst",
                hash,
                "-prverify",
                &file(origin),
                "-signature",
                &signature,
                &message,
            ],
        );
        assert!(verified.succeeds().contains("Verified OK"));
    }
    hsm.akv(&["keys", "import", &uri("x"), &file("locked.pem")])
        .fails_with(&["locked.pem", "encrypted", "openssl pkey"]);
    hsm.akv(&["keys", "import", &uri("x"), &message])
        .fails_with(&["message", "no private key"]);
    hsm.akv(&["keys", "import", &uri("x"), &message, "--aes"])
        .fails_with(&["message", "16, 24 or 32"]);

    let aes = hsm.write("aes", "0123456789abcdef0123456789abcdef");
    hsm.akv(&["keys", "import", &uri("aes"), &aes, "--aes"])
        .succeeds();
    let (wrapped, plain) = (
        file("wrapped"),
        hsm.write("plain", "a key of twenty-four b.."),
    );
    hsm.akv(&[
        "wrap",
        &uri("aes"),
        &plain,
        "--algorithm",
        "A256KW",
        "--out",
        &wrapped,
    ])
    .succeeds();
    let hex: String = "0123456789abcdef0123456789abcdef"
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let unwrapped = hsm.openssl(
        Loading::Plain,
        &[
            "enc",
            "-d",
            "-id-aes256-wrap",
            "-K",
            &hex,
            "-iv",
            "A6A6A6A6A6A6A6A6",
            "-in",
            &wrapped,
        ],
    );
    // `openssl enc` does key wrap since 3.4 only; what was wrapped can be unwrapped in any case.
    if unwrapped.is_success() {
        assert_eq!(unwrapped.bytes(), b"a key of twenty-four b..");
    }
    let back = file("back");
    hsm.akv(&[
        "unwrap",
        &uri("aes"),
        &wrapped,
        "--algorithm",
        "A256KW",
        "--out",
        &back,
    ])
    .succeeds();
    assert_eq!(
        fs::read(back).expect("it was written"),
        b"a key of twenty-four b.."
    );
}

#[test]
fn what_keeps_a_host_from_being_found_is_said_once() {
    let mut hsm = Hsm::start();
    hsm.set("AZURE_MANAGEDHSM_URL", "https://nobody.invalid");
    for line in [
        "keys list managedhsm:MyHSM",
        "keys list managedhsm:MyHSM:k",
        "keys show managedhsm:MyHSM:k",
        "keys create managedhsm:MyHSM:k --type rsa",
        "keys rotate managedhsm:MyHSM:k",
        "keys delete managedhsm:MyHSM:k --yes",
        "keys recover managedhsm:MyHSM:k",
        "key pem managedhsm:MyHSM:k",
    ] {
        let outcome = hsm.akv_line(line);
        let text = outcome.text();
        outcome.fails_with(&["can't reach https://nobody.invalid: ", "name servers"]);
        assert_eq!(text.matches("nobody.invalid").count(), 1, "{line}: {text}");
        let mut parts: Vec<&str> = text.trim().split(": ").collect();
        let count = parts.len();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), count, "{line}: {text}");
    }
}
