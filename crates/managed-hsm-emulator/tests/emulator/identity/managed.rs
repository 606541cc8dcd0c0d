//! Tokens of managed identities.

use serde_json::{Value, json};

use super::{APP, PRINCIPAL, exported, with_principal};
use crate::running::Emulator;

/// What an endpoint for managed identities answers: the status, and the body.
pub(super) async fn ask(url: &str, header: Option<(&str, &str)>) -> (u16, Value) {
    let mut request = reqwest::Client::new().get(url);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap(),
    )
}

#[tokio::test]
async fn managed_identities_get_tokens_over_plain_http_as_in_azure() {
    let folder = tempfile::tempdir().unwrap();
    let resource_id = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";
    let principal = json!({
        "client_id": APP, "object_id": PRINCIPAL, "managed_identity": true, "resource_id": resource_id,
    });
    let arguments = ["--metadata-port", "0", "--control-port", "0"];
    let emulator = with_principal(folder.path(), principal, &arguments);
    let base = exported(&emulator, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
    assert_eq!(base, emulator.further["metadata"]);
    assert!(base.starts_with("http://127.0.0.1:"), "{base}");
    let imds = format!("{base}/metadata/identity/oauth2/token?api-version=2018-02-01");
    let app_service = exported(&emulator, "IDENTITY_ENDPOINT") + "?api-version=2019-08-01";
    let secret = exported(&emulator, "IDENTITY_HEADER");
    let resource = "&resource=https%3A%2F%2Fvault.azure.net%2F";
    let metadata = Some(("Metadata", "true"));
    let header = Some(("X-IDENTITY-HEADER", secret.as_str()));
    let owner = "00000000-0000-0000-0000-000000000002";
    for (url, header, names) in [
        (&imds, metadata, ["client_id", "object_id", "msi_res_id"]),
        (
            &app_service,
            header,
            ["client_id", "principal_id", "mi_res_id"],
        ),
    ] {
        let url = format!("{url}{resource}");
        let (status, answer) = ask(&url, header).await;
        assert_eq!((status, &answer["client_id"]), (200, &json!(owner)));
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer["resource"], "https://vault.azure.net/");
        let expires: i64 = answer["expires_on"].as_str().unwrap().parse().unwrap();
        assert!(expires > 1_700_000_000);
        for (name, value) in names.into_iter().zip([APP, PRINCIPAL, resource_id]) {
            let (status, answer) = ask(&format!("{url}&{name}={value}"), header).await;
            assert_eq!((status, &answer["client_id"]), (200, &json!(APP)), "{name}");
        }
        assert!(ask(&url, None).await.0 >= 400);
    }
    assert_eq!(ask(&imds, metadata).await.0, 400);
    let wrong = format!("{resource}&client_id=11111111-0000-0000-0000-000000000000");
    assert_eq!(
        ask(&format!("{imds}{wrong}"), metadata).await,
        (
            400,
            json!({"error": "invalid_request", "error_description": "Identity not found"})
        )
    );
    assert_eq!(
        ask(&format!("{app_service}{wrong}"), header).await,
        (
            400,
            json!({"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."})
        )
    );
    let (status, refused) = ask(&format!("{imds}{resource}"), None).await;
    assert_eq!(status, 400);
    assert_eq!(
        refused["error_description"],
        "Required metadata header not specified"
    );
    let unversioned = imds.replace("api-version", "version");
    let (status, _) = ask(&format!("{unversioned}{resource}"), metadata).await;
    assert_eq!(status, 400);
    // Nothing else is to be had there.
    assert_eq!(ask(&format!("{base}/keys"), None).await.0, 404);
    let (_, metrics) = emulator.control("GET", "/metrics", "").await;
    for line in [
        "mhsm_tokens_issued_total{grant=\"app_service\"} 4",
        "mhsm_tokens_issued_total{grant=\"imds\"} 4",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
}

#[tokio::test]
async fn managed_identities_are_also_served_beside_the_hsm() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let base = exported(&emulator, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
    assert_eq!(base, emulator.url);
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://managedhsm.azure.net";
    let request = emulator.another_client().get(format!("{base}{path}"));
    let response = request.header("Metadata", "true").send().await.unwrap();
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let keys = emulator.call_with(token, "GET", "/keys", None).await;
    keys.success();
    for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "SSL_CERT_FILE"] {
        assert!(!exported(&emulator, name).is_empty(), "{name}");
    }
}
