//! The HSM's connection to an external key manager.

use openssl::x509::X509;
use serde_json::{Value, json};

use crate::running::{Answer, Emulator, call};

const STABLE: &str = "2026-04-01";
/// The first version with private endpoints.
const NEWEST: &str = "2026-07-01-preview";

/// The emulator's CA, as any other.
fn certificate(emulator: &Emulator) -> String {
    let pem = std::fs::read(emulator.data().join("ca.pem")).unwrap();
    let der = X509::from_pem(&pem).unwrap().to_der().unwrap();
    openssl::base64::encode_block(&der)
}

fn connection(emulator: &Emulator) -> Value {
    json!({
        "host": "ekm-proxy.contoso.com:8443",
        "path_prefix": "/api/v1",
        "server_ca_certificates": [certificate(emulator)],
    })
}

fn refusal(answer: &Answer) -> (u16, String) {
    let (status, code, _) = answer.error();
    (status, code)
}

#[tokio::test]
async fn a_connection_is_made_shown_changed_checked_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let made = connection(&emulator);
    for (method, path, body) in [
        ("GET", "/ekm", None),
        ("PATCH", "/ekm", Some(made.clone())),
        ("DELETE", "/ekm", None),
        ("POST", "/ekm/check", None),
    ] {
        let refused = call(&emulator, method, STABLE, path, body).await;
        assert_eq!(refusal(&refused), (404, "EkmConnectionNotFound".to_owned()));
    }
    // A proxy wants to know it before there is a connection.
    let own = call(&emulator, "GET", STABLE, "/ekm/certificate", None).await;
    let own = own.success();
    let ca = own["ca_certificates"][0].as_str().unwrap();
    assert_eq!(ca, certificate(&emulator));
    assert!(!own["subject_common_name"].as_str().unwrap().is_empty());

    let answer = call(&emulator, "POST", STABLE, "/ekm/create", Some(made.clone())).await;
    assert_eq!(answer.success(), made);
    let again = call(&emulator, "POST", STABLE, "/ekm/create", Some(made.clone())).await;
    assert_eq!(refusal(&again), (409, "Conflict".to_owned()));
    emulator.stop();
    let emulator = Emulator::start(folder.path());
    let found = call(&emulator, "GET", STABLE, "/EKM/", None).await;
    assert_eq!(found.success(), made);
    let proxy = call(&emulator, "POST", STABLE, "/ekm/check", None).await;
    assert!(proxy.success()["ekm_product"].is_string());
    // What a change doesn't name stays.
    let change = json!({"host": "other", "server_subject_common_name": "proxy"});
    let changed = call(&emulator, "PATCH", STABLE, "/ekm", Some(change)).await;
    let mut expected = made.clone();
    expected["host"] = json!("other");
    expected["server_subject_common_name"] = json!("proxy");
    assert_eq!(changed.success(), expected);
    let deleted = call(&emulator, "DELETE", STABLE, "/ekm", None).await;
    assert_eq!(deleted.success(), expected);
    let gone = call(&emulator, "GET", STABLE, "/ekm", None).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn what_is_no_connection_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (member, value, words) in [
        ("host", Value::Null, "'host'"),
        ("host", json!(""), "Invalid EKM proxy host"),
        ("host", json!("a/b"), "'a/b'"),
        ("host", json!(7), "'host'"),
        ("server_ca_certificates", Value::Null, "server_ca_cert"),
        ("server_ca_certificates", json!([]), "server_ca_cert"),
        ("server_ca_certificates", json!([""]), "in DER"),
        ("server_ca_certificates", json!(["*"]), "in DER"),
        ("connectivity_mode", json!("Private"), "'Private'"),
        ("connectivity_mode", json!("PrivateEndpoint"), "no private"),
    ] {
        let mut body = connection(&emulator);
        body[member] = value;
        let refused = call(&emulator, "POST", NEWEST, "/ekm/create", Some(body)).await;
        let (status, _, message) = refused.error();
        assert!([400, 404].contains(&status), "{member}: {message}");
        assert!(message.contains(words), "{member}: {message}");
    }
    for (method, path, status) in [
        ("PUT", "/ekm", 405),
        ("GET", "/ekm/create", 405),
        ("GET", "/ekm/nothing", 404),
    ] {
        let refused = call(&emulator, method, STABLE, path, None).await;
        assert_eq!(refused.status, status, "{method} {path}");
    }
}

/// As the tests of azure-sdk-for-go's `azadmin/ekm` do it, which say what the service does.
#[tokio::test]
async fn a_connection_is_made_with_any_bytes_and_not_checked_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let mut body = connection(&emulator);
    let bytes = openssl::base64::encode_block(b"no certificate");
    body["server_ca_certificates"] = json!([bytes]);
    let made = call(&emulator, "POST", STABLE, "/ekm/create", Some(body)).await;
    assert_eq!(made.success()["server_ca_certificates"], json!([bytes]));
    let refused = call(&emulator, "POST", STABLE, "/ekm/check", None).await;
    assert_eq!(refusal(&refused), (400, "BadParameter".to_owned()));
    let change = json!({"server_ca_certificates": [certificate(&emulator)]});
    let changed = call(&emulator, "PATCH", STABLE, "/ekm", Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let checked = call(&emulator, "POST", STABLE, "/ekm/check", None).await;
    assert_eq!(checked.status, 200, "{}", checked.body);
}

#[tokio::test]
async fn of_many_who_make_the_connection_at_once_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = connection(&emulator);
    let make = || call(&emulator, "POST", STABLE, "/ekm/create", Some(body.clone()));
    let answers = futures_util::future::join_all((0..16).map(|_| make())).await;
    let made = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(made.count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| [200, 409].contains(&answer.status.as_u16()))
    );
}

#[tokio::test]
async fn administrators_connect_and_only_in_hsms_and_newer_versions() {
    let folder = tempfile::tempdir().unwrap();
    let principals = folder.path().join("principals.json");
    let person =
        |id: &str, role: &str| json!({"client_id": id, "object_id": id, "roles": [{"role": role}]});
    let administrator = "33333333-0000-0000-0000-000000000001";
    let user = "33333333-0000-0000-0000-000000000002";
    let list = json!([
        person(administrator, "Managed HSM Administrator"),
        person(user, "Managed HSM Crypto User"),
    ]);
    std::fs::write(&principals, list.to_string()).unwrap();
    let arguments = [
        "--principals",
        principals.to_str().unwrap(),
        "--vault",
        "contoso",
    ];
    let data = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(data.path(), &arguments);
    let path = format!("/ekm/create?api-version={STABLE}");
    for (who, status) in [(user, 403), (administrator, 200)] {
        let token = emulator.token(&["--principal", who]);
        let body = Some(connection(&emulator));
        let answer = emulator.call_with(&token, "POST", &path, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        if status == 403 {
            assert!(answer.body.contains("/managedHsm/ekm/write/action"));
        }
    }
    let early = call(&emulator, "GET", "2025-07-01", "/ekm", None).await;
    assert_eq!(refusal(&early), (400, "NotSupported".to_owned()));
    let early = call(&emulator, "GET", STABLE, "/ekm/privateendpoint", None).await;
    assert_eq!(refusal(&early), (400, "NotSupported".to_owned()));
    let token = emulator.token(&["--audience", "https://vault.azure.net"]);
    let url = format!(
        "{}/ekm?api-version={STABLE}",
        emulator.further["vault contoso"]
    );
    let in_vault = emulator.call_with(&token, "GET", &url, None).await;
    assert_eq!(in_vault.status, 400, "{}", in_vault.body);
}

#[tokio::test]
async fn private_endpoints_are_made_used_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let create = |name: &str| {
        let path = format!("/ekm/privateendpoint/{name}");
        let body = json!({"privateLinkServiceId": "pls.azure.privatelinkservice"});
        let emulator = &emulator;
        async move { call(emulator, "POST", NEWEST, &path, Some(body)).await }
    };
    for name in ["a", "-a", "a-", "a_b", "abcdefghijklmnopqrstuvwxy"] {
        assert_eq!(create(name).await.status, 400, "{name}");
    }
    let begun = create("My-Endpoint").await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let status = begun.headers["azure-asyncoperation"].to_str().unwrap();
    // As clients ask: the URL has no version.
    let done = emulator.get(status).await.success();
    assert_eq!(done["status"], "Succeeded");
    assert_eq!(done["operationType"], "Create");
    assert_eq!(create("my-endpoint").await.status, 409);
    assert_eq!(create("second").await.status, 202);
    assert_eq!(create("third").await.status, 400);
    let listed = call(&emulator, "GET", NEWEST, "/ekm/privateendpoint", None).await;
    let listed = listed.success();
    let names = listed["value"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|endpoint| endpoint["name"].clone()).collect();
    assert_eq!(names, ["My-Endpoint", "second"]);

    let mut by_endpoint = connection(&emulator);
    by_endpoint["connectivity_mode"] = json!("PrivateEndpoint");
    by_endpoint["host"] = json!("My-Endpoint");
    let made = call(&emulator, "POST", NEWEST, "/ekm/create", Some(by_endpoint)).await;
    assert_eq!(made.success()["connectivity_mode"], "PrivateEndpoint");
    let older = call(&emulator, "GET", STABLE, "/ekm", None).await.success();
    assert!(older.get("connectivity_mode").is_none());
    let path = "/ekm/privateendpoint/My-Endpoint";
    let in_use = call(&emulator, "DELETE", NEWEST, path, None).await;
    assert_eq!(refusal(&in_use), (409, "Conflict".to_owned()));
    call(&emulator, "DELETE", NEWEST, "/ekm", None)
        .await
        .success();
    let deleted = call(&emulator, "DELETE", NEWEST, path, None).await;
    assert_eq!(deleted.status, 202);
    assert_eq!(call(&emulator, "GET", NEWEST, path, None).await.status, 404);
    let nothing = "/ekm/privateendpoint/operations/0";
    let unknown = call(&emulator, "GET", NEWEST, nothing, None).await;
    assert_eq!(refusal(&unknown), (404, "JobNotFound".to_owned()));
}
