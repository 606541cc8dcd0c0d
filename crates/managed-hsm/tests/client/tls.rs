//! Whom the client trusts: nobody else gets a request, and with it a token.

use std::time::Duration;

use managed_hsm::{Client, Error, Settings};
use testing::Certificate;
use testing::emulator::{Options, Shown};

use crate::support::{Hsm, load, says, soon, uri};

/// The error where the server shows another certificate.
fn shown(certificate: Shown) -> Error {
    let hsm = Hsm::start();
    let shown = hsm.emulator.show_certificate(certificate);
    shown.expect("a certificate");
    refused(&hsm, hsm.settings())
}

/// The error of a client that opens no connection that will do.
fn refused(hsm: &Hsm, settings: Settings) -> Error {
    let error = soon(|| Client::new(settings).get_key(&uri("k"))).expect_err("no connection");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(hsm.count("k"), 0);
    error
}

#[test]
fn a_server_of_an_unknown_ca_gets_no_request() {
    // The other CA has the same name.
    let error = shown(Shown::OtherAuthority);
    says(&error, &["BadSignature", "its certificate was refused"]);
}

#[test]
fn the_ca_file_of_another_server_does_not_help() {
    let hsm = Hsm::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, Certificate::for_localhost().pem()).expect("a file");
    let settings = Settings {
        ca_file: Some(file),
        ..hsm.settings()
    };
    says(&refused(&hsm, settings), &["UnknownIssuer", "AKV_CA_FILE"]);
}

#[test]
fn a_server_with_another_hosts_certificate_gets_no_request() {
    let error = shown(Shown::OtherHost);
    says(&error, &["not valid for name", "AZURE_MANAGEDHSM_URL"]);
}

#[test]
fn a_server_with_an_expired_certificate_gets_no_request() {
    says(&shown(Shown::Expired), &["expired", "clock"]);
}

#[test]
fn a_renewed_certificate_is_taken() {
    let hsm = Hsm::start();
    let client = hsm.client();
    load(&client);
    let renewed = hsm.emulator.show_certificate(Shown::Renewed);
    renewed.expect("a certificate");
    client.close();
    load(&client);
    assert_eq!(hsm.connections(), 2);
}

#[test]
fn a_name_that_the_certificate_has_is_taken() {
    let hsm = Hsm::start_with(Options {
        tls_server_names: vec!["hsm.localhost".to_owned()],
        ..Options::default()
    });
    let endpoint = hsm.emulator.url.replace("localhost", "127.0.0.1");
    let client =
        hsm.client_with(|settings| settings.endpoint = Some(endpoint.parse().expect("a URL")));
    load(&client);
}

#[test]
fn a_handshake_that_breaks_off_is_an_error_and_no_hang() {
    for fault in ["broken-handshake", "garbage-handshake"] {
        let hsm = Hsm::start();
        hsm.fault(fault);
        let settings = Settings {
            connect_timeout: Duration::from_secs(5),
            max_retries: 2,
            ..hsm.settings()
        };
        refused(&hsm, settings);
    }
}
