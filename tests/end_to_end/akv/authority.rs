//! `akv cert sign` and `akv cert crl`: a CA in the HSM, judged by OpenSSL.

use std::fs;

use super::{RSA_2048, json as answer};
use crate::support::{EC_P256, Hsm, Loading};

/// An HSM with a CA's key, and its certificate as `ca.pem`.
fn with_authority() -> (Hsm, String) {
    let hsm = Hsm::with_keys(&[("ca", EC_P256), ("web", RSA_2048), ("other", EC_P256)]);
    let ca = hsm.path("ca.pem");
    let line =
        "cert self-signed managedhsm:MyHSM:ca --subject CN=Example-CA,O=Example --ca --days 3650";
    hsm.akv_line(&format!("{line} --out {ca}")).succeeds();
    (hsm, ca)
}

/// A request of a key of OpenSSL's own.
fn request(hsm: &Hsm, name: &str, options: &str) -> String {
    let (key, request) = (
        hsm.path(&format!("{name}.key")),
        hsm.path(&format!("{name}.csr")),
    );
    let line = format!("req -new -newkey rsa:2048 -nodes -keyout {key} -out {request} {options}");
    hsm.openssl_line(Loading::Plain, &line).succeeds();
    request
}

#[test]
fn a_ca_in_the_hsm_signs_what_openssl_verifies_for_its_purpose() {
    let (hsm, ca) = with_authority();
    let names = "-subj /CN=www.example.com -addext subjectAltName=DNS:www.example.com,IP:192.0.2.1";
    let theirs = request(&hsm, "theirs", names);
    let own = hsm.path("own.csr");
    let line =
        "cert csr managedhsm:MyHSM:web --subject CN=www.example.com --san DNS:www.example.com";
    hsm.akv_line(&format!("{line} --out {own}")).succeeds();
    let mut serials = Vec::new();
    for (request, profile, purpose, usage) in [
        (
            &theirs,
            "server",
            "sslserver",
            "TLS Web Server Authentication",
        ),
        (
            &own,
            "server",
            "sslserver",
            "Digital Signature, Key Encipherment",
        ),
        (&own, "client", "sslclient", "TLS Web Client Authentication"),
        (
            &theirs,
            "peer",
            "sslclient",
            "TLS Web Server Authentication, TLS Web Client",
        ),
        (&own, "email", "smimesign", "E-mail Protection"),
        (&own, "code-signing", "any", "Code Signing"),
    ] {
        let out = hsm.path("made.pem");
        let line = format!(
            "cert sign managedhsm:MyHSM:ca {request} --ca {ca} --profile {profile} --days 30 \
             --crl http://ca.example/ca.crl --out {out} --force"
        );
        let told = answer(&hsm, &line);
        assert_eq!(told["subject"], "CN=www.example.com");
        serials.push(told["serial"].as_str().expect("a number").to_owned());
        let verify = format!("verify -x509_strict -purpose {purpose} -CAfile {ca} {out}");
        hsm.openssl_line(Loading::Plain, &verify).succeeds();
        let text = hsm
            .openssl_line(Loading::Plain, &format!("x509 -in {out} -noout -text"))
            .succeeds();
        for words in [
            usage,
            "CA:FALSE",
            "DNS:www.example.com",
            "URI:http://ca.example/ca.crl",
        ] {
            assert!(text.contains(words), "{profile}: {words}: {text}");
        }
    }
    serials.dedup();
    assert_eq!(serials.len(), 6);

    // A CA below, whose key is in the HSM too, and what it signs.
    let (below, leaf) = (hsm.path("below.pem"), hsm.path("leaf.pem"));
    let asked = hsm.path("below.csr");
    let line = "cert csr managedhsm:MyHSM:other --subject CN=Below,O=Example";
    hsm.akv_line(&format!("{line} --out {asked}")).succeeds();
    hsm.akv_line(&format!(
        "cert sign managedhsm:MyHSM:ca {asked} --ca {ca} --profile ca --path-length 0 --days 365 --out {below}"
    ))
    .succeeds();
    hsm.akv_line(&format!(
        "cert sign managedhsm:MyHSM:other {theirs} --ca {below} --san DNS:a.example \
         --eku 1.3.6.1.5.5.7.3.9 --subject CN=a.example --out {leaf}"
    ))
    .succeeds();
    let line = format!(
        "verify -x509_strict -purpose sslserver -verify_hostname a.example -CAfile {ca} -untrusted {below} {leaf}"
    );
    hsm.openssl_line(Loading::Plain, &line).succeeds();
    // Its list names its own key, and not that of the CA above.
    let list = hsm.path("below.crl");
    hsm.akv_line(&format!(
        "cert crl managedhsm:MyHSM:other --ca {below} --out {list}"
    ))
    .succeeds();
    let line = format!(
        "verify -x509_strict -crl_check -CRLfile {list} -CAfile {ca} -untrusted {below} {leaf}"
    );
    hsm.openssl_line(Loading::Plain, &line).succeeds();
}

#[test]
fn what_a_ca_must_not_sign_is_refused() {
    let (hsm, ca) = with_authority();
    let good = request(
        &hsm,
        "good",
        "-subj /CN=a.example -addext subjectAltName=DNS:a.example",
    );
    let nameless = request(&hsm, "nameless", "-subj /CN=a.example");
    // A request whose signature is somebody else's.
    let der = hsm.path("good.der");
    let line = format!("req -in {good} -outform DER -out {der}");
    hsm.openssl_line(Loading::Plain, &line).succeeds();
    let mut damaged = fs::read(&der).expect("a request");
    *damaged.last_mut().expect("it is not empty") ^= 1;
    let damaged = hsm.write("damaged.der", damaged);
    let leaf = hsm.path("leaf.pem");
    let sign = |rest: &str| hsm.akv_line(&format!("cert sign managedhsm:MyHSM:ca {rest}"));
    sign(&format!("{good} --ca {ca} --out {leaf}")).succeeds();
    for (rest, status, words) in [
        (format!("{damaged} --ca {ca}"), 7, "not that of the key"),
        (format!("{nameless} --ca {ca}"), 2, "--san"),
        (format!("{good} --ca {leaf}"), 7, "it is no CA's"),
        (format!("{ca} --ca {ca}"), 7, "holds no certificate request"),
        (format!("{good} --ca {good}"), 7, "holds no certificate"),
        (
            format!("{good} --ca {ca} --days 36500"),
            2,
            "the CA's certificate ends at",
        ),
        (
            format!("{good} --ca {ca} --path-length 1"),
            2,
            "--profile ca",
        ),
        (format!("{good} --ca /no/such/file"), 3, "/no/such/file"),
    ] {
        let refused = sign(&rest);
        assert_eq!(refused.code(), Some(status), "{rest}: {}", refused.text());
        refused.fails_with(&[words]);
    }
    hsm.akv_line(&format!(
        "cert sign managedhsm:MyHSM:other {good} --ca {ca}"
    ))
    .fails_with(&["for another key than managedhsm:MyHSM:other"]);
}

#[test]
fn a_list_of_revoked_certificates_is_followed() {
    let (hsm, ca) = with_authority();
    let csr = request(
        &hsm,
        "a",
        "-subj /CN=a.example -addext subjectAltName=DNS:a.example",
    );
    let make = |name: &str| {
        let out = hsm.path(name);
        let line = format!("cert sign managedhsm:MyHSM:ca {csr} --ca {ca} --out {out}");
        let serial = answer(&hsm, &line)["serial"].as_str().map(str::to_owned);
        (out, serial.expect("a number"))
    };
    let ((bad, serial), (good, _)) = (make("bad.pem"), make("good.pem"));
    let list = hsm.path("ca.crl");
    let line = format!("cert crl managedhsm:MyHSM:ca --ca {ca} --out {list} --force");
    let check = |certificate: &str| {
        let line =
            format!("verify -x509_strict -crl_check -CRLfile {list} -CAfile {ca} {certificate}");
        hsm.openssl_line(Loading::Plain, &line)
    };
    let first = answer(&hsm, &line);
    check(&bad).succeeds();
    let revoked =
        format!("{line} --revoked {serial}:keyCompromise:2026-11-01 --number 18446744073709551615");
    let second = answer(&hsm, &revoked);
    assert!(
        second["number"].as_u64() > first["number"].as_u64(),
        "{second}"
    );
    assert_eq!(second["revoked"], 1);
    check(&bad).fails_with(&["certificate revoked"]);
    check(&good).succeeds();
    let text = hsm
        .openssl_line(
            Loading::Plain,
            &format!("crl -in {list} -noout -text -verify -CAfile {ca}"),
        )
        .succeeds();
    for words in [
        "Key Compromise",
        "Nov  1 00:00:00 2026 GMT",
        "CN=Example-CA",
    ] {
        assert!(text.replace(" = ", "=").contains(words), "{text}");
    }
    hsm.akv_line(&format!("{line} --revoked nothing"))
        .fails_with(&["serial number in hexadecimal"]);
}
