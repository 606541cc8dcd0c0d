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
    let plain = hsm.path("plain.pem");
    hsm.akv_line(&format!(
        "cert self-signed managedhsm:MyHSM:ca --subject CN=a --out {plain}"
    ))
    .succeeds();
    for (rest, status, words) in [
        (format!("{damaged} --ca {ca}"), 7, "not that of the key"),
        (format!("{nameless} --ca {ca}"), 2, "--san"),
        (
            format!("{good} --ca {leaf}"),
            7,
            "for another key than managedhsm:MyHSM:ca",
        ),
        (format!("{good} --ca {plain}"), 7, "it is no CA's"),
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
    // Nor before the CA's certificate counts, whose first time is its beginning.
    let der = hsm.path("ca.der");
    let convert = format!("x509 -in {ca} -outform DER -out {der}");
    hsm.openssl_line(Loading::Plain, &convert).succeeds();
    let mut early = fs::read(&der).expect("a certificate");
    let at = early.windows(2).position(|two| two == [0x17, 13]);
    let year = at.expect("a time") + 2;
    early[year..year + 2].copy_from_slice(b"49");
    let early = hsm.write("early.der", early);
    for line in [
        format!("cert crl managedhsm:MyHSM:ca --ca {early}"),
        format!("cert sign managedhsm:MyHSM:ca {csr} --ca {early}"),
    ] {
        hsm.akv_line(&line).fails_with(&["it counts from 2049"]);
    }
    // Nobody believes a list once the CA's certificate has ended.
    hsm.akv_line(&format!("{line} --days 3650"))
        .fails_with(&["the CA's certificate ends at", "before the next list comes"]);
    for (revoked, words) in [
        ("nothing", "serial number in hexadecimal"),
        ("0", "positive, and not 0"),
        ("-5a", "a serial number is positive"),
        (&*"ff".repeat(20), "20 octets at most"),
        ("5a --revoked 005A:superseded", "the serial number 5a twice"),
    ] {
        let refused = hsm.akv_line(&format!("{line} --revoked={revoked}"));
        refused.fails_with(&[words]);
        assert_eq!(refused.code(), Some(2), "{revoked}");
    }
}

/// A request with a subjectAltName as its bytes are given.
fn request_with_names(hsm: &Hsm, name: &str, subject: &str, der: &str) -> String {
    let configuration = hsm.write("names.cnf", "[req]\ndistinguished_name = dn\n[dn]\n");
    let names = match der {
        "" => String::new(),
        der => format!("-addext subjectAltName=DER:{der}"),
    };
    request(
        hsm,
        name,
        &format!("-config {configuration} -subj {subject} {names}"),
    )
}

/// RFC 5280, section 4.2.1.6.
#[test]
fn a_name_that_is_not_well_formed_is_not_signed() {
    let (hsm, ca) = with_authority();
    for (der, words) in [
        // DNS names: with a NUL, empty, with a space, with an underscore.
        ("300D820B612E6500782E6261642E63", "DNS:a.e\\0x.bad.c"),
        ("30028200", "DNS: is not well-formed: it is empty"),
        ("30058203612062", "DNS:a b is not well-formed: ' '"),
        ("30058203615F62", "'_' is in it"),
        // Addresses of three octets, and of none.
        (
            "300587030A0000",
            "IP:0a0000 is not well-formed: an address has 4 or 16 octets, and not 3",
        ),
        ("30028700", "and not 0"),
        ("3003810161", "email:a is not well-formed"),
        ("300486022F61", "URI:/a is not well-formed"),
        // http:///a.b/, which a browser takes for http://a.b/.
        ("300E860C687474703A2F2F2F612E622F", "it names no host"),
        // A user principal name without a domain.
        (
            "3013A011060A2B060104018237140203A0030C016D",
            "otherName:1.3.6.1.4.1.311.20.2.3 is not well-formed: 'm' is no user principal name",
        ),
        ("3000", "has no name"),
        ("040161", "subjectAltName can't be read"),
    ] {
        let request = request_with_names(&hsm, "names", "/CN=a.example", der);
        for profile in ["server", "client", "ca"] {
            let line = format!("cert sign managedhsm:MyHSM:ca {request} --ca {ca}");
            let refused = hsm.akv_line(&format!("{line} --profile {profile}"));
            refused.fails_with(&["the request is refused", "subjectAltName", words]);
        }
    }
    // A user principal name as it has to be.
    let der = "301BA019060A2B060104018237140203A00B0C096D40612E6578616D70";
    let request = request_with_names(&hsm, "upn", "/CN=me", der);
    let line = format!("cert sign managedhsm:MyHSM:ca {request} --ca {ca} --profile client");
    hsm.akv_line(&line).succeeds();
    // Nobody is named at all.
    let nobody = request_with_names(&hsm, "nobody", "/", "");
    for (profile, words) in [
        ("client", "it would name nobody"),
        ("email", "it would name nobody"),
        ("ca", "needs a subject"),
        ("server", "--san"),
    ] {
        let line = format!("cert sign managedhsm:MyHSM:ca {nobody} --ca {ca} --profile {profile}");
        let refused = hsm.akv_line(&line);
        refused.fails_with(&[words]);
        assert_eq!(refused.code(), Some(2), "{profile}");
    }
    // A name beside an empty subject is critical.
    let line = format!(
        "cert sign managedhsm:MyHSM:ca {nobody} --ca {ca} --profile client --san email:me@a.example"
    );
    let made = hsm.write("made.pem", hsm.akv_line(&line).succeeds());
    let text = hsm
        .openssl_line(Loading::Plain, &format!("x509 -in {made} -noout -text"))
        .succeeds();
    assert!(text.contains("Alternative Name: critical"), "{text}");
    for (option, words) in [
        ("--san DNS:a_b", "'_' is in it"),
        ("--crl ca.crl", "no scheme"),
        ("--crl http:///ca.crl", "names no host"),
        ("--subject C=CHE", "3 characters"),
    ] {
        hsm.akv_line(&format!(
            "cert sign managedhsm:MyHSM:ca {nobody} --ca {ca} {option}"
        ))
        .fails_with(&[words]);
    }
}

#[test]
fn no_ca_stands_below_one_that_allows_none() {
    let (hsm, ca) = with_authority();
    let (asked, below) = (hsm.path("below.csr"), hsm.path("below.pem"));
    let line = "cert csr managedhsm:MyHSM:other --subject CN=Below";
    hsm.akv_line(&format!("{line} --out {asked}")).succeeds();
    let sign = |key: &str, ca: &str, options: &str| {
        hsm.akv_line(&format!(
            "cert sign managedhsm:MyHSM:{key} {asked} --ca {ca} --profile ca {options}"
        ))
    };
    sign("ca", &ca, &format!("--path-length 0 --out {below}")).succeeds();
    sign("other", &below, "").fails_with(&["no CA may stand below it (pathlen:0)"]);
    sign("ca", &ca, &format!("--path-length 2 --out {below} --force")).succeeds();
    sign("other", &below, "--path-length 2 --days 9").fails_with(&["pathlen:2", "--path-length 1"]);
    sign("other", &below, "--path-length 1 --days 9").succeeds();
    // A purpose that is named twice is in the certificate once.
    let purpose = "1.3.6.1.5.5.7.3.9";
    let made = sign("ca", &ca, &format!("--eku {purpose} --eku {purpose}")).succeeds();
    let made = hsm.write("made.pem", made);
    let text = hsm
        .openssl_line(Loading::Plain, &format!("x509 -in {made} -noout -text"))
        .succeeds();
    assert_eq!(text.matches("OCSP Signing").count(), 1, "{text}");
}

#[test]
fn files_are_taken_as_other_programs_write_them() {
    let (hsm, ca) = with_authority();
    let names = "-subj /CN=a.example -addext subjectAltName=DNS:a.example";
    let pem = |path: &str| fs::read_to_string(path).expect("PEM");
    let good = request(&hsm, "good", names);
    // Text around the block, line ends of Windows, and Microsoft's label.
    let text = format!("0: Certificate request\n{}\nthe end\n", pem(&good));
    let around = hsm.write("around.csr", text.replace('\n', "\r\n"));
    let old = pem(&good).replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    let old = hsm.write("new.csr", old);
    // A chain, with the CA's certificate behind another's.
    let other = hsm.path("other.pem");
    let line = "cert self-signed managedhsm:MyHSM:other --subject CN=Other --ca";
    hsm.akv_line(&format!("{line} --out {other}")).succeeds();
    let chain = hsm.write("chain.pem", format!("{}{}words\n", pem(&other), pem(&ca)));
    for (request, ca) in [(&around, &ca), (&old, &ca), (&good, &chain)] {
        let line = format!("cert sign managedhsm:MyHSM:ca {request} --ca {ca}");
        let made = hsm.write("made.pem", hsm.akv_line(&line).succeeds());
        let line = format!("verify -CAfile {chain} {made}");
        hsm.openssl_line(Loading::Plain, &line).succeeds();
    }
    let again = hsm.path("again.pem");
    let line = "cert self-signed managedhsm:MyHSM:ca --subject CN=Again --ca";
    hsm.akv_line(&format!("{line} --out {again}")).succeeds();
    let both = hsm.write("both.pem", pem(&ca) + &pem(&again));
    let two = hsm.write("two.csr", pem(&good) + &pem(&good));
    let cut = hsm.write("cut.csr", &pem(&good)[..200]);
    for (request, ca, words) in [
        (&good, &other, "for another key than managedhsm:MyHSM:ca"),
        (&good, &other, "CN=Other"),
        (
            &good,
            &both,
            "2 certificates in it are for managedhsm:MyHSM:ca",
        ),
        (&two, &ca, "holds 2 certificate requests"),
        (&cut, &ca, "END line is missing"),
        (&ca, &ca, "no line '-----BEGIN CERTIFICATE REQUEST-----'"),
    ] {
        hsm.akv_line(&format!(
            "cert sign managedhsm:MyHSM:ca {request} --ca {ca}"
        ))
        .fails_with(&[words]);
    }
}

#[test]
fn keys_of_requests_are_taken_or_refused_for_what_they_are() {
    let (hsm, ca) = with_authority();
    let names = "-subj /CN=a.example -addext subjectAltName=DNS:a.example -nodes";
    let make = |algorithm: &str, option: &str| {
        let (key, asked) = (hsm.path("a.key"), hsm.path("a.csr"));
        let line = format!("genpkey -algorithm {algorithm} {option} -out {key}");
        hsm.openssl_line(Loading::Plain, &line).succeeds();
        let line = format!("req -new -key {key} -out {asked} {names}");
        hsm.openssl_line(Loading::Plain, &line).succeeds();
        hsm.akv_line(&format!("cert sign managedhsm:MyHSM:ca {asked} --ca {ca}"))
    };
    for (algorithm, option) in [
        ("RSA", "-pkeyopt rsa_keygen_bits:2048"),
        ("EC", "-pkeyopt ec_paramgen_curve:secp256k1"),
        ("EC", "-pkeyopt ec_paramgen_curve:P-521"),
        ("ED25519", ""),
    ] {
        make(algorithm, option).succeeds();
    }
    for (algorithm, option, words) in [
        (
            "RSA",
            "-pkeyopt rsa_keygen_bits:1024",
            "the modulus has 1024 bits",
        ),
        (
            "RSA",
            "-pkeyopt rsa_keygen_bits:2040",
            "the modulus has 2040 bits",
        ),
        (
            "EC",
            "-pkeyopt ec_paramgen_curve:prime192v1",
            "of a kind that akv does not check",
        ),
    ] {
        let refused = make(algorithm, option);
        let text = refused.fails_with(&["the request is refused", words]);
        assert!(!text.contains("its signature is not"), "{text}");
    }
    // A point in each form that OpenSSL writes.
    let [made, key, asked] = ["made.key", "a.key", "a.csr"].map(|name| hsm.path(name));
    let sign = |form: &str| {
        for line in [
            format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out {made}"),
            format!("ec -in {made} -conv_form {form} -out {key}"),
            format!("req -new -key {key} -out {asked} {names}"),
        ] {
            hsm.openssl_line(Loading::Plain, &line).succeeds();
        }
        hsm.akv_line(&format!("cert sign managedhsm:MyHSM:ca {asked} --ca {ca}"))
    };
    let certificate = sign("compressed").succeeds();
    let certificate = hsm.write("compressed.pem", certificate);
    let line = format!("verify -CAfile {ca} {certificate}");
    hsm.openssl_line(Loading::Plain, &line).succeeds();
    sign("hybrid").fails_with(&["the request is refused", "the point is in hybrid form"]);
}
