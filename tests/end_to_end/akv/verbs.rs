//! What `akv` does with keys beside signing: public parts, rotation policies, random bytes,
//! encryption, digests, attestation and release; each looked at with another program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::ec::EcKey;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::{Value, json};

use super::{AES_256, RSA_2048, json as answer};
use crate::support::{EC_P256, Hsm, Loading, skip, uri};

#[test]
fn a_public_part_is_what_openssl_and_openssh_read() {
    let p384 = r#"{"kty":"EC-HSM","crv":"P-384"}"#;
    let k256 = r#"{"kty":"EC-HSM","crv":"P-256K"}"#;
    let keys = [
        ("rsa", RSA_2048),
        ("ec", EC_P256),
        ("p384", p384),
        ("k256", k256),
    ];
    let hsm = Hsm::with_keys(&keys);
    hsm.create("aes", AES_256);
    for (key, _) in keys {
        let public = hsm.akv(&["keys", "public", &uri(key)]).succeeds();
        let expected = fs::read_to_string(hsm.public_key(Loading::AkvFirst, &uri(key)));
        assert_eq!(public, expected.expect("PEM"), "{key}");
        let pem = PKey::public_key_from_pem(public.as_bytes()).expect("PEM");
        let file = hsm.path(&format!("{key}.der"));
        hsm.akv(&[
            "key",
            "public",
            &uri(key),
            "--format",
            "der",
            "--out",
            &file,
        ])
        .succeeds();
        assert_eq!(
            fs::read(file).expect("DER"),
            pem.public_key_to_der().expect("DER")
        );
        let jwk: Value = serde_json::from_str(
            &hsm.akv(&["keys", "public", &uri(key), "-f", "JWK"])
                .succeeds(),
        )
        .expect("JSON");
        let number = |name: &str| {
            let text = jwk[name].as_str().unwrap_or_else(|| panic!("{jwk}"));
            URL_SAFE_NO_PAD.decode(text).expect("base64url")
        };
        if key == "rsa" {
            let rsa: Rsa<_> = pem.rsa().expect("an RSA key");
            assert_eq!(
                (number("n"), number("e")),
                (rsa.n().to_vec(), rsa.e().to_vec())
            );
        } else {
            let ec: EcKey<_> = pem.ec_key().expect("an EC key");
            let mut context = openssl::bn::BigNumContext::new().expect("a context");
            let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
            let point = ec.public_key().to_bytes(ec.group(), form, &mut context);
            let own = [vec![4], number("x"), number("y")].concat();
            assert_eq!(own, point.expect("a point"), "{key}");
        }
        let told = answer(&hsm, &format!("keys public {} --format jwk", uri(key)));
        assert_eq!(told["jwk"], jwk);
    }
    hsm.akv_line("keys public managedhsm:MyHSM:k256 -f openssh")
        .fails_with(&["or none in this form"]);
    hsm.akv_line("keys public managedhsm:MyHSM:aes")
        .fails_with(&["aes", "symmetric"]);
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skip("ssh-keygen is not installed: keys for OpenSSH are not read by it");
    }
    for key in ["rsa", "ec", "p384"] {
        let line = hsm
            .akv(&["keys", "public", &uri(key), "-f", "openssh"])
            .succeeds();
        assert!(line.ends_with(&format!(" MyHSM-{key}\n")), "{line}");
        let file = hsm.write(&format!("{key}.pub"), line);
        let output = Command::new("ssh-keygen")
            .args(["-e", "-m", "PKCS8", "-f", &file])
            .output()
            .expect("it runs");
        let public = hsm.akv(&["keys", "public", &uri(key)]).succeeds();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            public,
            "{output:?}"
        );
    }
}

#[test]
fn a_rotation_policy_is_set_shown_and_followed() {
    let hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let run = |line: &str| hsm.akv_line(line).succeeds();
    let none = answer(&hsm, "keys rotation-policy show managedhsm:MyHSM:k");
    assert_eq!(
        (&none["actions"], &none["expires_after"]),
        (&json!([]), &Value::Null)
    );
    assert!(run("keys rotation-policy show managedhsm:MyHSM:k").contains("none: akv keys"));
    // What the refusal says to type, typed.
    hsm.akv_line("keys rotate managedhsm:MyHSM:k")
        .fails_with(&["akv keys rotation-policy set"]);
    let set = "keys rotation-policy set managedhsm:MyHSM:k --rotate-after 90d --expires-after P1Y";
    let policy = answer(&hsm, set);
    let expected = json!([{"action": "Rotate", "after_creation": "P90D", "before_expiry": null}]);
    assert_eq!(
        policy["actions"].as_array().map(Vec::len),
        Some(1),
        "{policy}"
    );
    assert_eq!(
        policy["actions"][0]["after_creation"],
        expected[0]["after_creation"]
    );
    assert_eq!(policy["expires_after"], "P1Y");
    let shown = run("keys rotation-policy get managedhsm:MyHSM:k");
    assert!(shown.contains("P90D after a version was made"), "{shown}");
    let before = answer(&hsm, "keys show managedhsm:MyHSM:k");
    let rotated = answer(&hsm, "keys rotate managedhsm:MyHSM:k");
    assert_ne!(rotated["version"], before["version"]);
    assert!(rotated["expires"].is_string(), "{rotated}");
    // As Azure's own tool takes it.
    let file = hsm.write(
        "policy.json",
        r#"{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Rotate"}}],
            "attributes":{"expiryTime":"P2Y"}}"#,
    );
    let policy = answer(
        &hsm,
        &format!("keys rotation-policy set managedhsm:MyHSM:k {file}"),
    );
    assert_eq!(policy["actions"][0]["before_expiry"], "P30D");
    let misspelt = hsm.write("misspelt.json", r#"{"lifetimeAction":[]}"#);
    for (line, words) in [
        ("", &["--rotate-after"][..]),
        (&misspelt, &["holds no policy", "lifetimeAction"]),
        ("--rotate-after 1h", &["P90D"]),
        ("--rotate-after 1d", &["28 days"]),
        ("--rotate-before-expiry 30d", &["--expires-after"]),
        ("/dev/null", &["holds no policy"]),
    ] {
        hsm.akv_line(&format!(
            "keys rotation-policy set managedhsm:MyHSM:k {line}"
        ))
        .fails_with(words);
    }
}

#[test]
fn random_bytes_are_as_many_as_asked_for() {
    let hsm = Hsm::start();
    let run = |line: &str| hsm.akv_line(line).succeeds();
    let one = run("random managedhsm:MyHSM");
    assert_eq!(STANDARD.decode(one.trim()).expect("base64").len(), 32);
    assert_ne!(run("random managedhsm:MyHSM"), one);
    assert_eq!(
        run("random managedhsm:MyHSM --count 5 --hex").trim().len(),
        10
    );
    let file = hsm.path("random");
    run(&format!("random managedhsm:MyHSM --bytes 300 --out {file}"));
    let data = fs::metadata(&file).expect("it is there");
    assert_eq!(
        (data.len(), data.permissions().mode() & 0o777),
        (300, 0o600)
    );
    let told = answer(&hsm, "random managedhsm:MyHSM --bytes 16");
    let value = URL_SAFE_NO_PAD.decode(told["value"].as_str().expect("a text"));
    assert_eq!(value.expect("base64url").len(), 16);
    hsm.akv_line("random keyvault:MyVault")
        .fails_with(&["is a key vault"]);
    hsm.akv_line("random managedhsm:MyHSM --bytes 0")
        .fails_with(&["1..=65536"]);
}

#[test]
fn what_was_encrypted_is_decrypted_with_what_was_told() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("aes", AES_256), ("ec", EC_P256)]);
    let plain = hsm.write("plain", "attack at dawn!!");
    for (key, options) in [
        ("rsa", ""),
        ("rsa", "--algorithm RSA-OAEP"),
        ("aes", "--algorithm A256GCM --aad 0a0b"),
        ("aes", "--algorithm A256CBCPAD"),
        (
            "aes",
            "--algorithm A256CBC --iv 000102030405060708090a0b0c0d0e0f",
        ),
    ] {
        let (file, out) = (hsm.path("encrypted"), hsm.path("decrypted"));
        let line = format!(
            "encrypt {} {plain} {options} --out {file} --force",
            uri(key)
        );
        let told = answer(&hsm, &line);
        let algorithm = told["algorithm"].as_str().expect("a name");
        let mut back = format!("decrypt {} {file} --algorithm {algorithm}", uri(key));
        for name in ["iv", "aad", "tag"] {
            if let Some(digits) = told[name].as_str() {
                back += &format!(" --{name} {digits}");
            }
        }
        hsm.akv_line(&format!("{back} --out {out} --force"))
            .succeeds();
        assert_eq!(
            fs::read(&out).expect("it is there"),
            b"attack at dawn!!",
            "{line}"
        );
        let mode = fs::metadata(&out)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(told["tag"].is_string(), algorithm == "A256GCM");
    }
    // What the public key encrypts doesn't leave the machine.
    let wrapped = hsm.path("wrapped");
    hsm.akv_line(&format!("wrap {} {plain} --out {wrapped}", uri("rsa")))
        .succeeds();
    let requests = hsm.requests();
    let mut by_rsa = requests.iter().filter(|one| one.path.contains("/rsa/"));
    assert!(!by_rsa.any(|one| one.is("encrypt") || one.is("wrapkey")));
    assert!(requests.iter().any(|one| one.is("encrypt")));
    // A person sees what to give for decryption, and the ciphertext as base64.
    let line = format!("encrypt managedhsm:MyHSM:aes {plain} --algorithm A256GCM");
    let told = hsm.akv_line(&line).succeeds();
    for word in ["--iv ", "--tag ", "Ciphertext "] {
        assert!(told.contains(word), "{told}");
    }
    let refused = |line: &str, words: &[&str]| hsm.akv_line(line).fails_with(words);
    refused(
        &format!("encrypt managedhsm:MyHSM:aes {plain}"),
        &["name the --algorithm"],
    );
    refused(
        &format!("encrypt managedhsm:MyHSM:ec {plain}"),
        &["can't encrypt", "P-256"],
    );
    // What would be lost, or left out.
    for (options, words) in [
        (
            "aes {} --algorithm A256GCM --out -",
            "name a file with --out",
        ),
        (
            "aes {} --algorithm A256CBCPAD --out -",
            "name a file with --out",
        ),
        (
            "aes {} --algorithm A256GCM --iv 00",
            "--iv is not for A256GCM",
        ),
        (
            "aes {} --algorithm A256CBCPAD --aad 00",
            "--aad is not for A256CBCPAD",
        ),
        ("rsa {} --iv 00", "--iv is not for RSA-OAEP-256"),
    ] {
        let options = options.replace("{}", &plain);
        refused(&format!("encrypt managedhsm:MyHSM:{options}"), &[words]);
    }
    refused(
        &format!("decrypt managedhsm:MyHSM:rsa {plain} --tag 00 --out -"),
        &["--tag is not for RSA-OAEP-256"],
    );
}

#[test]
fn a_digest_is_signed_and_verified_in_the_place_of_a_file() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let message = hsm.write("message", "hello");
    for (key, algorithm, hash) in [("rsa", "PS384", "sha384"), ("ec", "ES256", "sha256")] {
        let line = format!("dgst -{hash} -r {message}");
        let digits = hsm.openssl_line(Loading::Plain, &line).succeeds();
        let digits = digits.split(' ').next().expect("digits");
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits"))
            .collect();
        let signature = hsm.path(key);
        for digest in [digits, &STANDARD.encode(&bytes)] {
            let digest = format!("--digest={digest}");
            let common = [&uri(key), "--algorithm", algorithm];
            let sign = [
                &["sign"],
                &common[..],
                &[&digest, "--out", &signature, "--force"],
            ];
            hsm.akv(&sign.concat()).succeeds();
            let verify = [&["verify"], &common[..], &["--signature", &signature]].concat();
            hsm.akv(&[&verify[..], &[&message]].concat()).succeeds();
            hsm.akv(&[&verify[..], &[&digest]].concat()).succeeds();
            let other = format!("--digest={}", "00".repeat(bytes.len()));
            let refuted = hsm.akv(&[&verify[..], &[&other]].concat());
            assert_eq!(refuted.code(), Some(1), "{}", refuted.text());
        }
    }
    hsm.akv_line("sign managedhsm:MyHSM:ec --digest 0a0b")
        .fails_with(&["not one for ES256", "32 bytes"]);
    hsm.akv_line(&format!("sign managedhsm:MyHSM:ec {message} --digest 0a"))
        .fails_with(&["cannot be used with"]);
    hsm.akv_line("sign managedhsm:MyHSM:ec")
        .fails_with(&["<FILE>"]);
}

#[test]
fn a_key_is_attested_and_the_statement_is_the_attesters() {
    let hsm = Hsm::with_keys(&[("web", EC_P256)]);
    let told = answer(&hsm, "keys attestation managedhsm:MyHSM:web");
    let file = hsm.path("attestation.json");
    hsm.akv_line(&format!(
        "keys get-attestation managedhsm:MyHSM:web --out {file}"
    ))
    .succeeds();
    let saved: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    for attestation in [&told["attestation"], &saved] {
        let decoded = |name: &str| {
            let text = attestation[name]
                .as_str()
                .unwrap_or_else(|| panic!("{attestation}"));
            URL_SAFE_NO_PAD.decode(text).expect("base64url")
        };
        let certificates = openssl::x509::X509::stack_from_pem(&decoded("certificatePemFile"));
        assert!(!certificates.expect("PEM").is_empty());
        let statement = String::from_utf8(decoded("privateKeyAttestation")).expect("a token");
        let payload = statement.split('.').nth(1).expect("three parts");
        let payload: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url"))
                .expect("JSON");
        let kid = payload["key"]["kid"].as_str().expect("an id");
        assert!(kid.contains("/keys/web/"), "{payload}");
    }
    let key = told["key"].as_str().expect("a URI");
    assert!(key.starts_with("managedhsm:MyHSM:web?version="), "{key}");
    hsm.akv_line("keys attestation keyvault:MyVault:k")
        .fails_with(&["is a key vault"]);
    hsm.akv_line("keys attestation managedhsm:MyHSM:none")
        .fails_with(&["404"]);
}

#[test]
fn a_key_is_released_to_the_environment_that_its_policy_names() {
    let hsm = Hsm::start();
    let environment = Rsa::generate(2048).expect("a key");
    let (policy, token) = super::secure_wrap::policy_and_token(&hsm, &environment);
    hsm.akv_line(&format!(
        "keys create managedhsm:MyHSM:k --type oct --release-policy {policy}"
    ))
    .succeeds();
    let out = hsm.path("key.jws");
    let line = format!("keys release managedhsm:MyHSM:k --attestation {token}");
    let told = answer(
        &hsm,
        &format!("{line} --algorithm rsa_aes_key_wrap_256 --nonce n1 --out {out}"),
    );
    assert_eq!(told["algorithm"], "RSA_AES_KEY_WRAP_256");
    let jws = fs::read_to_string(&out).expect("a token");
    let payload = jws.trim().split('.').nth(1).expect("three parts");
    let payload: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON");
    assert_eq!(payload["request"]["nonce"], "n1");
    let bundle = payload["response"]["key"]["key"]["key_hsm"].as_str();
    let bundle = URL_SAFE_NO_PAD
        .decode(bundle.expect("a text"))
        .expect("base64url");
    let bundle: Value = serde_json::from_slice(&bundle).expect("JSON");
    assert_eq!(bundle["header"]["enc"], "RSA_AES_KEY_WRAP_256");
    assert!(hsm.akv_line(&line).succeeds().matches('.').count() == 2);
    // Programs get it whole, too.
    let told = answer(&hsm, &line);
    let jws = told["value"].as_str().expect("a token");
    assert_eq!(jws.matches('.').count(), 2, "{jws}");
    // A key without a policy, and a token that is none.
    hsm.create("stays", AES_256);
    let refused = format!("keys release managedhsm:MyHSM:stays --attestation {token}");
    assert_eq!(hsm.akv_line(&refused).code(), Some(4));
    hsm.akv_line("keys release managedhsm:MyHSM:k --attestation /dev/null")
        .fails_with(&["holds no attestation"]);
}

#[test]
fn what_is_there_is_kept_or_written_over_as_it_is_asked_for() {
    let hsm = Hsm::with_keys(&[("web", EC_P256)]);
    let create = |options: &str| format!("keys create managedhsm:MyHSM:{options}");
    let before = answer(&hsm, "keys show managedhsm:MyHSM:web");
    for options in ["--type ec --curve P-256", "--type ec-hsm --curve p-256"] {
        let same = answer(&hsm, &create(&format!("web {options} --if-absent")));
        assert_eq!(same["version"], before["version"]);
    }
    let made = answer(&hsm, &create("new --type rsa --size 3072 --if-absent"));
    assert_eq!(made["bits"], 3072);
    for options in [
        "web --type rsa",
        "web --type ec --curve P-384",
        "new --type rsa --size 2048",
    ] {
        let refused = hsm.akv_line(&create(&format!("{options} --if-absent")));
        assert_eq!(refused.code(), Some(6), "{options}");
        refused.fails_with(&["is there, and of another type"]);
    }
    // Without the option it is a new version, as ever.
    let next = answer(&hsm, &create("web --type ec --curve P-256"));
    assert_ne!(next["version"], before["version"]);

    let out = hsm.write("out", "old");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o644)).expect("it may be changed");
    let backup = ["keys", "backup", "managedhsm:MyHSM:web", "--out", &out];
    hsm.akv(&backup)
        .fails_with(&["out exists already", "--force"]);
    assert_eq!(fs::read(&out).expect("it is there"), b"old");
    hsm.akv(&[&backup[..], &["--force"]].concat()).succeeds();
    let data = fs::metadata(&out).expect("it is there");
    assert_eq!(data.permissions().mode() & 0o777, 0o600);
    assert!(data.len() > 100);
    // No device is replaced.
    let null = [
        "keys",
        "public",
        "managedhsm:MyHSM:web",
        "--out",
        "/dev/null",
        "--force",
    ];
    hsm.akv(&null).fails_with(&["/dev/null"]);
}

#[test]
fn a_command_says_more_when_it_is_asked_to() {
    let hsm = Hsm::with_keys(&[("web", EC_P256)]);
    let quiet = hsm.akv_line("keys public managedhsm:MyHSM:web");
    assert_eq!(quiet.errors(), "");
    let told = hsm.akv_line("keys public managedhsm:MyHSM:web -v");
    assert_eq!(told.succeeds(), quiet.succeeds());
    let log = told.errors();
    assert!(
        log.contains("load key") && log.contains("status=200"),
        "{log}"
    );
    // Also of what Microsoft's client asks for.
    let managed = hsm.akv_line("keys show managedhsm:MyHSM:web -v").errors();
    assert!(
        managed.contains("GET /keys/web") && managed.contains("status=200"),
        "{managed}"
    );
    let missing = hsm.akv_line("keys show managedhsm:MyHSM:none -v").errors();
    assert!(missing.contains("status=404"), "{missing}");
    for option in ["--debug", "-vv", "-vvv"] {
        let more = hsm
            .akv_line(&format!("{option} keys public managedhsm:MyHSM:web"))
            .errors();
        assert!(
            more.len() >= log.len() && more.contains("status=200"),
            "{option}: {more}"
        );
        let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN");
        assert!(
            !more.contains(token.rsplit('.').next().expect("parts")),
            "{more}"
        );
    }
    // Where the settings say.
    let file = hsm.path("log");
    let mut command = hsm.akv_command(&["keys", "public", &uri("web"), "-v"]);
    let output = command
        .env("AKV_LOG_FILE", &file)
        .output()
        .expect("akv runs");
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(
        fs::read_to_string(file)
            .expect("a log")
            .contains("status=200")
    );
}
