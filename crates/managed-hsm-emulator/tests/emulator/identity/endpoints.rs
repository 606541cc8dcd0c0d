//! The paths of the token service: Entra ID's first endpoints, tenants, and what is no endpoint.

use serde_json::{Value, json};

use super::{TENANT, assert_refused, exported};
use crate::running::{Answer, Emulator};

const OWNER: &str = "00000000-0000-0000-0000-000000000002";

async fn post(emulator: &Emulator, path: &str, form: &str) -> Answer {
    emulator
        .send("POST", path, None, Some(form.to_owned()))
        .await
}

#[tokio::test]
async fn the_first_endpoint_gives_a_token_for_a_resource() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--vault", "contoso"]);
    let secret = exported(&emulator, "AZURE_CLIENT_SECRET");
    let form = |more: &str| {
        format!("grant_type=client_credentials&client_id={OWNER}&client_secret={secret}{more}")
    };
    let path = format!("/{TENANT}/oauth2/token");
    let vault = format!("{}/keys?api-version=7.4", emulator.further["vault contoso"]);
    for (resource, url) in [
        ("https://managedhsm.azure.net", "/keys"),
        ("https%3A%2F%2Fmanagedhsm.azure.net%2F", "/keys"),
        ("https%3A%2F%2Fvault.azure.net", vault.as_str()),
    ] {
        let path = format!("{path}?api-version=1.0");
        let answer = post(&emulator, &path, &form(&format!("&resource={resource}"))).await;
        let answer = answer.success();
        // Numbers are texts here.
        for name in ["expires_in", "ext_expires_in", "expires_on", "not_before"] {
            let number = answer[name].as_str().unwrap();
            assert!(number.parse::<i64>().unwrap() > 0, "{name}: {number}");
        }
        assert_eq!(answer["token_type"], "Bearer");
        assert!(answer["resource"].as_str().unwrap().starts_with("https://"));
        let token = answer["access_token"].as_str().unwrap();
        emulator.call_with(token, "GET", url, None).await.success();
    }
    let answer = post(
        &emulator,
        &path,
        &form("&scope=https://vault.azure.net/.default"),
    )
    .await;
    assert_refused(&answer, 400, &["AADSTS900144", "'resource'"]);
    let answer = post(&emulator, &path, &form("&resource=everything")).await;
    assert_refused(&answer, 400, &["AADSTS500011", "everything"]);
}

#[tokio::test]
async fn names_of_several_tenants_are_none_for_an_application() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let secret = exported(&emulator, "AZURE_CLIENT_SECRET");
    let form = format!(
        "grant_type=client_credentials&client_id={OWNER}&client_secret={secret}&scope=https://managedhsm.azure.net/.default&resource=https://managedhsm.azure.net"
    );
    for tenant in ["common", "organizations", "consumers"] {
        for end in ["oauth2/token", "oauth2/v2.0/token"] {
            let answer = post(&emulator, &format!("/{tenant}/{end}"), &form).await;
            assert_refused(&answer, 400, &["AADSTS50059"]);
        }
    }
    let answer = post(&emulator, "/contoso.onmicrosoft.com/oauth2/token", &form).await;
    assert_refused(&answer, 400, &["AADSTS90002", "contoso.onmicrosoft.com"]);
}

#[tokio::test]
async fn unknown_paths_of_the_token_service_get_an_error_of_oauth() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (method, path, status) in [
        ("GET", format!("/{TENANT}/oauth2/v2.0/devicecode"), 404),
        ("POST", format!("/{TENANT}/oauth2/authorize"), 404),
        ("GET", format!("/{TENANT}"), 404),
        ("POST", "/common/oauth2/v1/token".to_owned(), 404),
        ("GET", format!("/{TENANT}/oauth2/token"), 405),
        ("PUT", format!("/{TENANT}/oauth2/v2.0/token"), 405),
    ] {
        let answer = emulator.send(method, &path, None, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(!answer.headers.contains_key("www-authenticate"), "{path}");
        let json = answer.json();
        for member in ["error", "error_description", "correlation_id"] {
            assert!(json[member].is_string(), "{path}: {json}");
        }
    }
    // What is an HSM's stays so.
    for path in [
        "/keys/oauth2/token",
        "/keys/discovery/keys",
        "/",
        "/nonsense",
        "/v1.0/directoryObjects/getByIds",
    ] {
        let answer = emulator.send("POST", path, None, None).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.headers.contains_key("www-authenticate"), "{path}");
    }
}

#[tokio::test]
async fn documents_of_discovery_name_the_endpoints_of_their_form() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (part, end) in [("", ""), ("/v2.0", "/v2.0")] {
        let path = format!("/{TENANT}{part}/.well-known/openid-configuration");
        let answer = emulator.send("GET", &path, None, None).await.success();
        let url = format!("{}/{TENANT}", emulator.url);
        assert_eq!(
            answer["token_endpoint"],
            json!(format!("{url}/oauth2{end}/token"))
        );
        let keys = answer["jwks_uri"].as_str().unwrap();
        let keys: Value = emulator.send("GET", keys, None, None).await.success();
        assert_eq!(keys["keys"][0]["kty"], "RSA");
    }
}
