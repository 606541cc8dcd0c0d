//! What people really run with certificates: pkcs11-tool, p11tool, Java, curl; and which calls the
//! two last ones make, kept as those of `traces` are.

use std::path::Path;

use openssl::x509::X509;
use testing::ReservedPort;

use crate::authority::Authority;
use crate::programs::{ENGINE, configure_engine, hsm, is_there, succeeds};
use crate::servers::{Running, listens, wait_for};
use crate::support::{Hsm, module};
use crate::traces::{self, compare};

fn write(path: &Path, certificates: &[&X509]) {
    let pem = certificates.iter();
    let pem: Vec<u8> = pem.flat_map(|one| one.to_pem().unwrap()).collect();
    std::fs::write(path, pem).unwrap();
}

/// An HSM with two keys, and a token with a certificate for each, that of their CA, and a folder.
fn with_certificates() -> (Hsm, Authority) {
    let mut hsm = hsm();
    let authority = Authority::new();
    let rsa = authority.issue_for(&hsm.rest, "rsa", 100);
    let ec = authority.issue_for(&hsm.rest, "ec", 101);
    write(&hsm.file("chain.pem"), &[&rsa, &authority.certificate]);
    write(&hsm.file("ec.pem"), &[&ec]);
    write(&hsm.file("ca.pem"), &[&authority.certificate]);
    let text = format!(
        r#"{{"tokens":[{{"resourceName":"localhost","certificates":[{:?},{:?}],
            "certificateDirectory":{:?}}}]}}"#,
        hsm.file("chain.pem"),
        hsm.file("ec.pem"),
        hsm.file("written")
    );
    hsm.configure(&text);
    (hsm, authority)
}

/// An HSM with one key, and a token with its certificate and that of its CA.
fn with_certificate(key: &str) -> Hsm {
    let mut hsm = traces::hsm(key);
    let authority = Authority::new();
    let own = authority.issue_for(&hsm.rest, key, 100);
    write(&hsm.file("chain.pem"), &[&own, &authority.certificate]);
    write(&hsm.file("ca.pem"), &[&authority.certificate]);
    let chain = hsm.file("chain.pem");
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost","certificates":[{chain:?}]}}]}}"#
    ));
    hsm
}

fn pkcs11_tool(hsm: &Hsm, args: &[&str]) -> String {
    let module = module();
    let module = module.to_str().expect("the path is text");
    succeeds(hsm, "pkcs11-tool", &[&["--module", module], args].concat())
}

#[test]
fn pkcs11_tool_lists_writes_reads_and_deletes_certificates() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let (hsm, authority) = with_certificates();
    let list = ["--list-objects", "--type", "cert"];
    let listed = pkcs11_tool(&hsm, &list);
    assert_eq!(listed.matches("Certificate Object").count(), 3, "{listed}");
    assert!(listed.contains("label:      rsa"), "{listed}");

    hsm.rest
        .create("third", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    let third = authority.issue_for(&hsm.rest, "third", 102);
    std::fs::write(hsm.file("third.der"), third.to_der().unwrap()).unwrap();
    let write = ["--write-object", "third.der", "--type", "cert"];
    let names = ["--id", "0a0b", "--label", "a third one"];
    pkcs11_tool(&hsm, &[&write[..], &names].concat());
    let listed = pkcs11_tool(&hsm, &list);
    assert_eq!(listed.matches("Certificate Object").count(), 4, "{listed}");
    let label = ["--label", "a third one", "--type", "cert"];
    pkcs11_tool(
        &hsm,
        &[&["--read-object", "-o", "read.der"], &label[..]].concat(),
    );
    let read = std::fs::read(hsm.file("read.der")).unwrap();
    assert_eq!(read, third.to_der().unwrap());
    // It has the id of its key.
    let told = pkcs11_tool(&hsm, &["-O", "--type", "privkey"]);
    let of_key = told.split("label:      third").nth(1).unwrap_or_default();
    let id = of_key
        .split("ID:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let id = id.expect("the key has an id");
    assert!(listed.contains(id), "{id}: {listed}");
    pkcs11_tool(&hsm, &[&["--delete-object"], &label[..]].concat());
    let listed = pkcs11_tool(&hsm, &list);
    assert_eq!(listed.matches("Certificate Object").count(), 3, "{listed}");
}

#[test]
fn gnutls_lists_exports_and_writes_certificates() {
    if !is_there("p11tool") {
        return;
    }
    let (hsm, authority) = with_certificates();
    let module = module();
    let provider = ["--provider", module.to_str().expect("the path is text")];
    let p11tool = |args: &[&str]| succeeds(&hsm, "p11tool", &[&provider[..], args].concat());
    let listed = p11tool(&["--list-all-certs"]);
    assert_eq!(
        listed.matches("Type: X.509 Certificate").count(),
        3,
        "{listed}"
    );
    for name in ["object=rsa;type=cert", "object=ec;type=cert"] {
        assert!(listed.contains(name), "{listed}");
    }
    let told = p11tool(&["--list-privkeys"]);
    assert!(told.contains("object=rsa;type=private"), "{told}");
    let exported = p11tool(&["--export", "pkcs11:token=localhost;object=rsa;type=cert"]);
    let exported = X509::from_pem(exported.as_bytes()).expect("a certificate");
    let expected = std::fs::read(hsm.file("chain.pem")).unwrap();
    assert_eq!(exported, X509::from_pem(&expected).unwrap());
    hsm.rest
        .create("third", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    write(
        &hsm.file("third.pem"),
        &[&authority.issue_for(&hsm.rest, "third", 102)],
    );
    let write = [
        "--write",
        "--load-certificate",
        "third.pem",
        "--label",
        "third",
    ];
    p11tool(&[&write[..], &["--batch", "pkcs11:token=localhost"]].concat());
    let listed = p11tool(&["--list-all-certs"]);
    assert_eq!(
        listed.matches("Type: X.509 Certificate").count(),
        4,
        "{listed}"
    );
}

/// Has Java load the module. Returns what its tools need to be told.
fn configure_java(hsm: &Hsm) -> Vec<String> {
    let text = format!(
        "name = akv\nlibrary = {}\nslotListIndex = 0\n",
        module().display()
    );
    std::fs::write(hsm.file("java.cfg"), text).unwrap();
    let options = "-keystore NONE -storetype PKCS11 -storepass x \
                   -providerClass sun.security.pkcs11.SunPKCS11 -providerArg java.cfg";
    options.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn java_lists_keys_with_their_chains_and_signs_jars() {
    if !is_there("keytool") || !is_there("jarsigner") || !is_there("jar") {
        return;
    }
    let (hsm, _) = with_certificates();
    let store = configure_java(&hsm);
    let store: Vec<&str> = store.iter().map(String::as_str).collect();
    let keytool = |args: &[&str]| succeeds(&hsm, "keytool", &[args, &store].concat());
    let listed = keytool(&["-list", "-v"]);
    assert_eq!(listed.matches("PrivateKeyEntry").count(), 2, "{listed}");
    assert_eq!(
        listed.matches("Certificate chain length: 2").count(),
        2,
        "{listed}"
    );
    for (alias, digest) in [("rsa", "SHA-256"), ("ec", "SHA-512")] {
        succeeds(&hsm, "jar", &["-cf", "signed.jar", "data"]);
        let before = hsm.count("sign");
        let sign = ["-digestalg", digest, "signed.jar", alias];
        succeeds(&hsm, "jarsigner", &[&store[..], &sign].concat());
        assert_eq!(hsm.count("sign") - before, 1);
        let verified = succeeds(
            &hsm,
            "jarsigner",
            &["-verify", "-verbose:all", "-certs", "signed.jar"],
        );
        assert!(verified.contains("jar verified"), "{verified}");
        // With the CA's certificate in it.
        assert!(verified.contains("CN=the test's CA"), "{verified}");
    }
}

/// keytool makes a pair for the session, signs with it, and copies it into the token.
#[test]
fn java_makes_keys_with_certificates_and_deletes_them() {
    if !is_there("keytool") {
        return;
    }
    let (mut hsm, authority) = with_certificates();
    hsm.set("AKV_ALLOW_DELETE", "yes");
    let store = configure_java(&hsm);
    let store: Vec<&str> = store.iter().map(String::as_str).collect();
    let keytool = |args: &[&str]| succeeds(&hsm, "keytool", &[args, &store].concat());
    let made = [
        "-genkeypair",
        "-alias",
        "made",
        "-dname",
        "CN=made",
        "-keyalg",
        "EC",
    ];
    keytool(&[&made[..], &["-groupname", "secp256r1"]].concat());
    let listed = keytool(&["-list"]);
    assert!(listed.contains("made, PrivateKeyEntry"), "{listed}");
    let keys = hsm.rest.call("GET", "/keys", "");
    let keys = keys["value"].as_array().expect("a list").clone();
    assert_eq!(keys.len(), 3, "{keys:?}");
    let adopted = keys.iter().filter(|key| key["tags"].is_object());
    for key in adopted {
        assert!(key["tags"]["p11_session"].is_null(), "{key}");
    }
    // A certificate of a CA takes the place of the one that keytool has made.
    keytool(&["-certreq", "-alias", "made", "-file", "made.csr"]);
    let request = std::fs::read(hsm.file("made.csr")).unwrap();
    let request = openssl::x509::X509Req::from_pem(&request).unwrap();
    let public = request.public_key().unwrap();
    assert!(request.verify(&public).unwrap());
    let issued = authority.issue(&public, "made", 200);
    write(&hsm.file("reply.pem"), &[&issued, &authority.certificate]);
    keytool(&[
        "-importcert",
        "-noprompt",
        "-alias",
        "made",
        "-file",
        "reply.pem",
    ]);
    // Its own certificate, and the request.
    assert_eq!(hsm.count("sign"), 2);
    let listed = keytool(&["-list", "-v", "-alias", "made"]);
    assert!(listed.contains("Certificate chain length: 2"), "{listed}");
    keytool(&["-delete", "-alias", "made"]);
    let listed = keytool(&["-list"]);
    assert!(!listed.contains("made,"), "{listed}");
    let keys = hsm.rest.call("GET", "/keys", "");
    assert_eq!(keys["value"].as_array().expect("a list").len(), 2, "{keys}");
}

/// Of itself keytool makes an RSA key in its own memory, and brings it; by the provider's name it
/// has the HSM make it.
#[test]
fn java_brings_rsa_keys_or_has_the_hsm_make_them() {
    if !is_there("keytool") {
        return;
    }
    let mut hsm = hsm();
    let folder = hsm.file("written");
    let configure = |hsm: &mut Hsm, further: &str| {
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","certificateDirectory":{folder:?}}}]{further}}}"#
        ));
    };
    configure(&mut hsm, "");
    let store = configure_java(&hsm);
    let store: Vec<&str> = store.iter().map(String::as_str).collect();
    let make = |alias: &str, further: &[&str]| {
        let made = [
            "-genkeypair",
            "-alias",
            alias,
            "-dname",
            "CN=made",
            "-keyalg",
            "RSA",
        ];
        [&made[..], &["-keysize", "2048"], further, &store]
            .concat()
            .join(" ")
    };
    let run = |hsm: &Hsm, line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        let output = hsm.command("keytool").args(args).output().expect("it runs");
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        (output.status.success(), told)
    };
    let (succeeds, told) = run(&hsm, &make("brought", &[]));
    assert!(!succeeds && told.contains("allowImport"), "{told}");
    let (succeeds, told) = run(&hsm, &make("born", &["-providerName", "SunPKCS11-akv"]));
    assert!(succeeds, "{told}");
    configure(&mut hsm, r#","allowImport":true"#);
    let (succeeds, told) = run(&hsm, &make("brought", &[]));
    assert!(succeeds, "{told}");
    let (_, listed) = run(&hsm, &[&["-list"][..], &store].concat().join(" "));
    for entry in ["born, PrivateKeyEntry", "brought, PrivateKeyEntry"] {
        assert!(listed.contains(entry), "{listed}");
    }
    let keys = hsm.rest.call("GET", "/keys", "");
    let keys = keys["value"].as_array().expect("a list");
    let brought = keys
        .iter()
        .filter(|key| key["tags"]["p11_pri_CKA_LOCAL"] == "0");
    assert_eq!((keys.len(), brought.count()), (4, 1), "{keys:?}");
    // keytool signs the certificate of its own key itself.
    assert_eq!(hsm.count("sign"), 1);
}

/// A server that wants certificates of its clients, with its port.
fn start_server(hsm: &Hsm) -> (Running, ReservedPort) {
    let server = testing::Certificate::for_localhost();
    std::fs::write(hsm.file("server.pem"), server.pem()).unwrap();
    let key = server.key.private_key_to_pem_pkcs8().unwrap();
    std::fs::write(hsm.file("server.key"), key).unwrap();
    let reserved = ReservedPort::take();
    let port = reserved.number();
    let text = port.to_string();
    let serve = [
        "s_server", "-accept", &text, "-www", "-CAfile", "ca.pem", "-Verify", "2",
    ];
    let own = [
        "-verify_return_error",
        "-cert",
        "server.pem",
        "-key",
        "server.key",
    ];
    let running = Running::start(hsm, "openssl", &[&serve[..], &own].concat());
    wait_for("openssl", || listens(port));
    (running, reserved)
}

/// Has curl ask that server, by certificate and key of the token. Returns what it was told.
fn ask(hsm: &Hsm, server: &ReservedPort, key: &str) -> String {
    let url = format!("https://localhost:{}/", server.number());
    let certificate = format!("pkcs11:token=localhost;object={key};type=cert");
    let private = format!("pkcs11:token=localhost;object={key};type=private");
    let options = "-sS --cacert server.pem --engine pkcs11 --cert-type ENG --key-type ENG";
    let named = ["--cert", &certificate, "--key", &private, &url];
    let args: Vec<&str> = options.split_whitespace().chain(named).collect();
    succeeds(hsm, "curl", &args)
}

/// Certificate and key of a TLS client, both of the token.
#[test]
fn curl_is_a_client_by_certificate_and_key_of_the_token() {
    if !is_there(ENGINE) || !is_there("curl") {
        return;
    }
    let (mut hsm, _) = with_certificates();
    let (_running, server) = start_server(&hsm);
    configure_engine(&mut hsm);
    for name in ["rsa", "ec"] {
        let before = hsm.count("sign");
        // The server shows what it got.
        let told = ask(&hsm, &server, name);
        assert!(told.contains(&format!("CN={name}")), "{told}");
        assert_eq!(hsm.count("sign") - before, 1);
    }
}

#[test]
fn calls_of_curl() {
    if !is_there(ENGINE) || !is_there("curl") {
        return;
    }
    let mut hsm = with_certificate("ec");
    let (_running, server) = start_server(&hsm);
    configure_engine(&mut hsm);
    compare(hsm, "curl", "libengine-pkcs11-openssl", |hsm| {
        ask(hsm, &server, "ec");
    });
}

#[test]
fn calls_of_jarsigner() {
    if !is_there("jarsigner") || !is_there("jar") {
        return;
    }
    let hsm = with_certificate("rsa");
    let store = configure_java(&hsm);
    let store: Vec<&str> = store.iter().map(String::as_str).collect();
    succeeds(&hsm, "jar", &["-cf", "signed.jar", "data"]);
    compare(hsm, "jarsigner", "openjdk-17-jdk-headless", |hsm| {
        succeeds(
            hsm,
            "jarsigner",
            &[&store[..], &["signed.jar", "rsa"]].concat(),
        );
    });
}
