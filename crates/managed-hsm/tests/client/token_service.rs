//! Those who give tokens, and what they do instead: nothing, too late, nonsense, or repeat what
//! they were sent.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use managed_hsm::{Client, CredentialKind, Error, Secret, Settings};

use crate::support::{Hsm, LONG, SmallStacks, load, says, sign, signs, soon, uri};

/// Long enough for any answer that comes at once, also on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// Whether a second token is asked for, which is waited for.
fn asks_again_for_a_token(hsm: &Hsm) -> bool {
    hsm.emulator.requests.wait_until(LONG, |requests| {
        let tokens = requests.iter().filter(|request| request.is("token"));
        tokens.count() >= 2
    })
}

/// The error of a client whose requests for tokens are answered with this body.
fn answered(hsm: &Hsm, settings: Settings, body: &str) -> Error {
    let fault = serde_json::json!({"kind": "other-body", "operation": "token", "body": body});
    hsm.fault(&fault.to_string());
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    assert!(matches!(error, Error::Credential { .. }), "{error}");
    says(&error, &[error.remedy().expect("a remedy")]);
    error
}

/// The same with a refusal that says this.
fn refused(hsm: &Hsm, settings: Settings, text: &str) -> String {
    let body = serde_json::json!({"error": "invalid_client", "error_description": text});
    answered(hsm, settings, &body.to_string()).to_string()
}

fn with_federated_token(hsm: &Hsm, file: &Path) -> Settings {
    let mut settings = hsm.login();
    settings.credentials.selection = vec![CredentialKind::WorkloadIdentity];
    settings.credentials.federated_token_file = Some(file.to_owned());
    settings
}

#[test]
fn a_secret_that_the_token_service_repeats_is_not_shown() {
    let hsm = Hsm::start();
    for (secret, repeated) in [
        ("TOP~SECRET", "TOP~SECRET"),
        ("TOP~SECRET", "TOP%7ESECRET"),
        ("a+/=\"b c", "a%2B%2F%3D%22b+c"),
        ("a+/=\"b c", "a+/=\\\"b c"),
    ] {
        let mut settings = hsm.login();
        settings.credentials.client_secret = Some(Secret::new(secret.to_owned()));
        let text = format!("grant_type=x&client_secret={repeated}&scope=y");
        let told = refused(&hsm, settings, &text);
        assert!(told.contains("&client_secret=…&scope=y"), "{told}");
        hsm.emulator.faults.clear();
    }
}

#[test]
fn a_federated_token_that_the_token_service_repeats_is_not_shown() {
    let hsm = Hsm::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "a~federated/token\n").expect("a file");
    let settings = with_federated_token(&hsm, &file);
    let text = "client_assertion=a%7Efederated%2Ftoken&x=a~federated/token";
    let told = refused(&hsm, settings.clone(), text);
    assert!(told.contains("client_assertion=…&x=…"), "{told}");
    std::fs::write(&file, "\n").expect("a file");
    let error = Client::new(settings).get_key(&uri("k")).expect_err("no");
    says(&error, &["the federated token file", "is empty"]);
}

#[test]
fn an_answer_without_a_token_is_told_with_its_host_and_what_is_wrong() {
    for (body, problem) in [
        (r#"{"access_token":null}"#, "it has no access_token"),
        (
            r#"{"access_token":"a b","expires_in":9}"#,
            "its access_token is",
        ),
        (
            r#"{"access_token":"a","expires_in":"soon"}"#,
            "its expires_in is",
        ),
        ("<html>", "it is no JSON object"),
    ] {
        let hsm = Hsm::start();
        let error = answered(&hsm, hsm.login(), body);
        let host = hsm.emulator.url.trim_end_matches('/');
        says(
            &error,
            &[&format!("the answer of {host} is no use: {problem}")],
        );
        assert_eq!(hsm.count("k"), 0);
    }
}

#[test]
fn a_life_that_is_told_as_a_text_or_with_a_fraction_is_taken() {
    for life in ["\"3599\"", "3599.5"] {
        let hsm = Hsm::start();
        let token = &hsm.emulator.token;
        let body = format!(r#"{{"access_token":"{token}","expires_in":{life}}}"#);
        let fault = serde_json::json!({"kind": "other-body", "operation": "token", "body": body});
        hsm.fault(&fault.to_string());
        load(&Client::new(hsm.login()));
    }
}

#[test]
fn a_request_for_a_token_without_an_answer_is_sent_again() {
    let hsm = Hsm::start();
    hsm.fault("silence,operation=token,count=1");
    let mut settings = hsm.login();
    settings.response_timeout = SHORT;
    soon(|| load(&Client::new(settings)));
    assert_eq!(hsm.count("token"), 2);
}

#[test]
fn a_silent_renewal_stops_no_signature_while_the_old_token_lives() {
    let hsm = Hsm::start();
    hsm.emulator.set_token_lifetime(16);
    let client = Client::new(hsm.login());
    let key = load(&client);
    hsm.fault("silence,operation=token");
    let is_renewed = asks_again_for_a_token(&hsm);
    assert!(is_renewed);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| soon(|| signs(&client, &key)));
        }
    });
}

#[test]
fn whoever_waits_behind_others_without_a_token_is_told_of_the_token_service() {
    for by_io_thread in [false, true] {
        let hsm = Hsm::start();
        hsm.fault("silence,operation=token");
        let mut settings = hsm.login();
        settings.max_connections = 2;
        settings.operation_timeout = SHORT;
        let client = match by_io_thread {
            true => Client::called_by(settings, SmallStacks),
            false => Client::new(settings),
        };
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let error = client.get_key(&uri("k")).expect_err("no token");
                    let is_told = matches!(error, Error::Credential { .. });
                    assert!(is_told, "{by_io_thread}: {error}");
                    says(&error, &["none came within 2.0 s", &hsm.emulator.url]);
                });
            }
        });
        assert_eq!(hsm.count("k"), 0);
    }
}

#[test]
fn a_token_that_one_request_is_refused_with_serves_the_others_until_there_is_another() {
    let hsm = Hsm::start();
    let mut settings = hsm.login();
    settings.response_timeout = SHORT;
    let client = Client::new(settings);
    let key = load(&client);
    hsm.fault("silence,operation=token");
    hsm.fault("claims-challenge,operation=sign,count=1");
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| sign(&client, &key));
        let is_asked_for = asks_again_for_a_token(&hsm);
        assert!(is_asked_for);
        for _ in 0..4 {
            soon(|| signs(&client, &key));
        }
        hsm.emulator.faults.clear();
        assert!(!refused.is_finished());
        refused.join().expect("no panic").expect("a signature");
    });
}

/// A metadata service that gives everybody this token, and how often it was asked.
fn metadata_service(token: &str) -> (url::Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = format!(r#"{{"access_token":"{token}","expires_on":"4000000000"}}"#);
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            counter.fetch_add(1, Ordering::SeqCst);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", body.len());
            let _ = write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    let url = format!("http://{address}").parse();
    (url.expect("a URL"), asked)
}

#[test]
fn a_challenge_that_stays_has_not_each_request_fetch_a_token() {
    let hsm = Hsm::start();
    let client = Client::new(hsm.login());
    let key = load(&client);
    hsm.fault("claims-challenge,operation=sign");
    let began = Instant::now();
    for _ in 0..5 {
        let error = sign(&client, &key).expect_err("no token will do");
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
    // Another one each ten seconds, which a busy machine may take.
    let others = 1 + usize::try_from(began.elapsed().as_secs() / 10).expect("a few");
    let (tokens, signatures) = (hsm.count("token"), hsm.count("sign"));
    assert!((2..=1 + others).contains(&tokens), "{tokens}");
    assert_eq!(signatures, 5 + tokens - 1);
}

#[test]
fn claims_that_a_managed_identity_does_not_send_make_no_difference() {
    let hsm = Hsm::start();
    let (url, asked) = metadata_service(&hsm.emulator.token);
    let client = hsm.client_with(|settings| {
        settings.credentials.access_token = None;
        settings.credentials.selection = vec![CredentialKind::ManagedIdentity];
        settings.credentials.imds_host = Some(url);
    });
    let key = load(&client);
    hsm.fault("claims-challenge,operation=sign");
    for _ in 0..5 {
        let error = sign(&client, &key).expect_err("no token will do");
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
    assert_eq!((asked.load(Ordering::SeqCst), hsm.count("sign")), (2, 5));
}

#[test]
fn a_token_is_fetched_once_for_each_of_several_claims() {
    let hsm = Hsm::start();
    let client = Client::new(hsm.login());
    let key = load(&client);
    let challenge = |wanted: u32| {
        let claims = format!(r#"{{"access_token":{{"nbf":{{"value":"{wanted}"}}}}}}"#);
        let claims = STANDARD.encode(claims);
        let header =
            format!(r#"WWW-Authenticate: Bearer error="insufficient_claims", claims="{claims}""#);
        let fault = serde_json::json!({
            "kind": "claims-challenge", "operation": "sign", "count": 1, "header": header,
        });
        hsm.fault(&fault.to_string());
    };
    for wanted in 0..4 {
        challenge(wanted);
        signs(&client, &key);
    }
    // What was in vain is not tried again, nor is there an end of new wishes.
    for wanted in [0, 3, 4] {
        challenge(wanted);
        let error = sign(&client, &key).expect_err("the token was refused");
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
    assert_eq!(hsm.count("token"), 5);
}

#[test]
fn the_beginning_of_a_token_in_a_file_does_not_replace_a_good_one() {
    let hsm = Hsm::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let write = |token: &str| std::fs::write(&file, token).expect("a file");
    let token = &*hsm.emulator.token;
    write(token);
    let settings = || {
        let mut settings = hsm.settings();
        settings.credentials.access_token = None;
        settings.credentials.selection = vec![CredentialKind::TokenFile];
        settings.credentials.token_file = Some(file.clone());
        settings
    };
    let client = Client::new(settings());
    let key = load(&client);
    let (signed, end) = token.rsplit_once('.').expect("a JWT");
    assert!(!end.is_empty());
    for cut in [&token[..5], &token[..signed.len() / 2], signed] {
        write(cut);
        // So often it is looked at.
        std::thread::sleep(Duration::from_millis(1100));
        signs(&client, &key);
        let error = Client::new(settings()).get_key(&uri("k")).expect_err("no");
        says(
            &error,
            &["holds the beginning of a token only", "token file"],
        );
    }
    write("opaque");
    std::thread::sleep(Duration::from_millis(1100));
    let error = sign(&client, &key).expect_err("the HSM doesn't know it");
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    write(token);
    std::thread::sleep(Duration::from_millis(1100));
    signs(&client, &key);
}
