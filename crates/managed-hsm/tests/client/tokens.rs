//! Tokens: when one is fetched, renewed and replaced.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use managed_hsm::{AccessToken, Client, Cloud, CredentialKind, Error, KeyUri, Secret};
use testing::emulator::{AUDIENCE, VAULT_AUDIENCE};

use crate::support::{Hsm, LONG, load, meeting, says, sign, signs, uri};

/// A fault that asks for a token with claims.
const CLAIMS: &str = "claims-challenge,operation=sign";

#[test]
fn a_token_that_is_there_already_is_used_as_it_is() {
    let hsm = Hsm::start();
    let client = hsm.client();
    signs(&client, &load(&client));
    assert_eq!(hsm.count("token"), 0);
}

#[test]
fn a_token_is_fetched_once_for_all_requests() {
    let hsm = Hsm::start();
    let client = Client::new(hsm.login());
    let key = load(&client);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| signs(&client, &key));
        }
    });
    assert_eq!((hsm.count("token"), hsm.count("sign")), (1, 4));
}

#[test]
fn a_token_is_renewed_in_the_background_before_it_ends() {
    let hsm = Hsm::start();
    hsm.emulator.set_token_lifetime(2);
    let client = Client::new(hsm.login());
    load(&client);
    let sent = hsm.emulator.requests.list().len();
    let is_renewed = hsm.emulator.requests.wait_until(LONG, |requests| {
        let tokens = requests.iter().filter(|request| request.is("token"));
        tokens.count() >= 3
    });
    assert!(is_renewed);
    let since = hsm.emulator.requests.list().split_off(sent);
    assert!(
        since
            .iter()
            .all(|request| request.path.ends_with("/token") || request.method == "GET")
    );
    assert_eq!(hsm.count("k"), 1);
}

#[test]
fn a_token_with_the_claims_that_a_challenge_asks_for_is_fetched() {
    let hsm = Hsm::start();
    let client = Client::new(hsm.login());
    let key = load(&client);
    hsm.fault(&format!("{CLAIMS},count=1"));
    signs(&client, &key);
    assert_eq!((hsm.count("token"), hsm.count("sign")), (2, 2));
}

#[test]
fn a_refused_token_is_replaced_once() {
    let hsm = Hsm::start();
    let client = Client::new(hsm.login());
    let key = load(&client);
    hsm.fault(CLAIMS);
    let error = sign(&client, &key).expect_err("no token will do");
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert_eq!((hsm.count("token"), hsm.count("sign")), (2, 2));
}

#[test]
fn a_token_that_is_refused_without_a_reason_is_replaced_too() {
    let hsm = Hsm::start();
    let client = Client::new(hsm.login());
    let key = load(&client);
    // Within the same second the same token would be given again, which the client knows not to
    // send.
    hsm.emulator.set_token_lifetime(1800);
    hsm.fault(&format!("{CLAIMS},count=1,header=WWW-Authenticate: Bearer"));
    signs(&client, &key);
    assert_eq!((hsm.count("token"), hsm.count("sign")), (2, 2));
}

#[test]
fn a_token_that_can_not_be_renewed_is_not_sent_again() {
    let (hsm, client, key) = meeting(CLAIMS, |_| {});
    let error = sign(&client, &key).expect_err("the token lacks claims");
    says(&error, &["HTTP 401", "AZURE_CLI_ACCESS_TOKEN"]);
    assert_eq!(hsm.count("sign"), 1);
}

#[test]
fn a_token_for_another_service_is_refused_with_what_to_do() {
    let hsm = Hsm::start();
    let mut settings = hsm.settings();
    let token = hsm.emulator.mint(VAULT_AUDIENCE, 600).expect("a token");
    settings.credentials.access_token = AccessToken::new(&token);
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    says(&error, &["--resource https://managedhsm.azure.net --query"]);
    assert!(!error.to_string().contains(&token));
    assert_eq!(hsm.count("k"), 1);
}

#[test]
fn an_expired_token_is_not_sent() {
    let hsm = Hsm::start();
    let mut settings = hsm.settings();
    let token = hsm.emulator.mint(AUDIENCE, -1).expect("a token");
    settings.credentials.access_token = AccessToken::new(&token);
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    assert!(matches!(error, Error::TokenExpired { .. }), "{error}");
    says(&error, &["--resource https://managedhsm.azure.net --query"]);
    assert_eq!((hsm.count("k"), hsm.connections()), (0, 0));
}

#[test]
fn a_wrong_secret_is_an_error_of_the_credential() {
    let hsm = Hsm::start();
    let mut settings = hsm.login();
    settings.credentials.client_secret = Some(Secret::new("wrong".to_owned()));
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    let kind = CredentialKind::ClientSecret;
    assert!(
        matches!(&error, Error::Credential { credential, .. } if *credential == kind),
        "{error}"
    );
    says(&error, &["AADSTS7000215"]);
    assert_eq!(hsm.count("k"), 0);
}

#[test]
fn without_a_credential_nothing_is_sent() {
    let hsm = Hsm::start();
    let mut settings = hsm.settings();
    settings.credentials.access_token = None;
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    assert!(matches!(error, Error::NoCredential { .. }), "{error}");
    assert_eq!(hsm.connections(), 0);
}

#[test]
fn the_token_that_is_to_be_had_is_for_the_service_and_the_cloud_that_wanted_one() {
    let hsm = Hsm::start();
    for (cloud, text, audience) in [
        (None, "managedhsm:MyHSM:k", "https://managedhsm.azure.net"),
        (None, "keyvault:MyVault:k", "https://vault.azure.net"),
        (
            Some(Cloud::China),
            "managedhsm:MyHSM:k",
            "https://managedhsm.azure.cn",
        ),
        (
            Some(Cloud::UsGovernment),
            "keyvault:MyVault:k",
            "https://vault.usgovcloudapi.net",
        ),
    ] {
        let mut settings = hsm.settings();
        settings.credentials.access_token = None;
        settings.cloud = cloud;
        let uri: KeyUri = text.parse().expect("a URI");
        let error = Client::new(settings).get_key(&uri).expect_err("no");
        assert!(matches!(error, Error::NoCredential { .. }), "{error}");
        says(&error, &[&format!("--resource {audience} --query")]);
    }
}

/// The error of a client whose managed identity is asked for at a server that gives every
/// connection this answer, or none.
fn of_metadata_service(answer: Option<&'static str>) -> (Hsm, Error) {
    let hsm = Hsm::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            if let Some(answer) = answer {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
            kept.push(stream);
        }
    });
    let mut settings = hsm.settings();
    settings.credentials.access_token = None;
    settings.credentials.selection = vec![CredentialKind::ManagedIdentity];
    settings.credentials.imds_host = format!("http://{address}").parse().ok();
    settings.operation_timeout = Duration::from_secs(2);
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    (hsm, error)
}

#[test]
fn a_token_service_that_does_not_answer_is_told_and_not_the_hsm() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, told) in [(None, "does not answer"), (Some(busy), "answered HTTP 429")] {
        let (hsm, error) = of_metadata_service(answer);
        let kind = CredentialKind::ManagedIdentity;
        assert!(
            matches!(&error, Error::Credential { credential, .. } if *credential == kind),
            "{error}"
        );
        says(
            &error,
            &["none came within 2.0 s", "http://127.0.0.1", told],
        );
        assert_eq!(hsm.connections(), 0);
    }
}

#[test]
fn a_token_that_has_expired_when_it_is_given_leads_to_the_clock() {
    let token = concat!(
        "HTTP/1.1 200 OK\r\nContent-Length: 57\r\nConnection: close\r\n\r\n",
        r#"{"access_token":"a.b.c","expires_on":"1700000000","x":""}"#
    );
    let (_, error) = of_metadata_service(Some(token));
    assert!(matches!(error, Error::TokenExpired { .. }), "{error}");
    says(&error, &["2023-11-14T22:13:20Z", "this machine's clock"]);
}
