//! That what is not as described is found.

use super::*;

fn checked(kind: Kind, version: &str, body: &str) -> Result<(), String> {
    let service = Service::ManagedHsm;
    let version = ApiVersion::of(Some(version), service).unwrap();
    check(kind, Asked { service, version }, body.as_bytes())
}

#[test]
fn what_is_not_as_described_is_found() {
    assert_eq!(checked(LIST, "7.4", r#"{"value":[]}"#), Ok(()));
    let list = r#"{"nextLink":null,"value":[]}"#;
    assert_eq!(checked(LIST, "7.4", list), Ok(()));
    for body in [
        "",
        "[]",
        "{}",
        r#"{"value":{}}"#,
        r#"{"value":[1]}"#,
        r#"{"value":[],"more":1}"#,
    ] {
        assert!(checked(LIST, "7.4", body).is_err(), "{body}");
    }
}

#[test]
fn errors_that_are_not_as_described_are_found() {
    let checked = |service, status, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        check_error(service, status, "7", body.as_bytes()).is_ok()
    };
    let (hsm, vault) = (Service::ManagedHsm, Service::KeyVault);
    let in_hsm = r#"{"error":{"code":"A","message":"b (Activity ID: 7)"}}"#;
    let in_vault = r#"{"error":{"code":"A","innererror":{"code":"B"},"message":"b"}}"#;
    for (service, status, body, is_fine) in [
        (hsm, 404, in_hsm, true),
        (vault, 403, in_vault, true),
        (hsm, 200, in_hsm, false),
        (vault, 404, in_hsm, false),
        (hsm, 404, in_vault, false),
        (hsm, 400, r#"{"error":{"code":"A","message":"b"}}"#, false),
        (
            hsm,
            400,
            r#"{"error":{"code":"A","message":" (Activity ID: 7)"}}"#,
            false,
        ),
        (vault, 400, r#"{"error":{"code":"","message":"b"}}"#, false),
        (
            vault,
            400,
            r#"{"error":{"code":"A b","message":"b"}}"#,
            false,
        ),
        (vault, 400, r#"{"error":{"code":"A","message":""}}"#, false),
        (vault, 400, r#"{"code":"A","message":"b"}"#, false),
        (vault, 400, "", false),
    ] {
        assert_eq!(checked(service, status, body), is_fine, "{status} {body}");
    }
}

#[test]
fn members_come_with_a_version() {
    let body = r#"{
        "attributes": {"created": 1, "enabled": true, "key_size": 256,
                       "recoveryLevel": "Recoverable", "updated": 1},
        "key": {"key_ops": [], "kid": "https://h/keys/k/v", "kty": "oct-HSM"}
    }"#;
    assert_eq!(checked(BUNDLE, "2026-01-01-preview", body), Ok(()));
    let refused = checked(BUNDLE, "2025-07-01", body).unwrap_err();
    assert!(refused.contains("key_size"), "{refused}");
}

/// Bodies of answers with a value, which is one that there is or not.
#[test]
fn values_that_are_none_of_the_enumerated_are_found() {
    let key = |member: &str, value: &str| {
        let more = match member {
            "kty" => String::new(),
            _ => format!(r#","{member}":{value}"#),
        };
        let kty = if member == "kty" { value } else { r#""EC""# };
        format!(
            r#"{{"attributes":{{"created":1,"enabled":true,"recoveryLevel":"Recoverable","updated":1}},
                "key":{{"kid":"k","kty":{kty}{more}}}}}"#
        )
    };
    let level =
        |value: &str| key("kty", r#""EC""#).replace(r#""Recoverable""#, &format!(r#""{value}""#));
    let result = |name: &str| format!(r#"{{"alg":"{name}","kid":"k","value":"v"}}"#);
    let verified = |name: &str| format!(r#"{{"alg":"{name}","kid":"k","value":true}}"#);
    let action = |name: &str| {
        format!(
            r#"{{"attributes":null,"lifetimeActions":[{{"action":{{"type":"{name}"}},"trigger":{{}}}}]}}"#
        )
    };
    let job = |status: &str| {
        format!(
            r#"{{"endTime":null,"error":null,"jobId":"1","startTime":1,"status":"{status}","statusDetails":null}}"#
        )
    };
    let domain = |status: &str| format!(r#"{{"status":"{status}","status_details":null}}"#);
    let setting = |kind: &str| format!(r#"{{"name":"a","type":"{kind}","value":"true"}}"#);
    let mode = |mode: &str| {
        format!(r#"{{"connectivity_mode":"{mode}","host":"h","server_ca_certificates":[]}}"#)
    };
    let endpoint = |member: &str, value: &str| format!(r#"{{"{member}":"{value}"}}"#);
    let role = |kind: &str| {
        format!(
            r#"{{"id":"i","name":"n","type":"Microsoft.Authorization/roleDefinitions","properties":{{
                "assignableScopes":[],"description":"","permissions":[],"roleName":"r","type":"{kind}"}}}}"#
        )
    };
    for (kind, right, wrong) in [
        (BUNDLE, key("kty", r#""oct-HSM""#), key("kty", r#""OCT""#)),
        (BUNDLE, key("kty", r#""AKP-HSM""#), key("kty", "null")),
        (
            BUNDLE,
            key("crv", r#""P-256K""#),
            key("crv", r#""SECP256K1""#),
        ),
        (
            BUNDLE,
            key("alg", r#""ML-DSA-65""#),
            key("alg", r#""ML-DSA-66""#),
        ),
        (
            BUNDLE,
            key("key_ops", r#"["sign","deriveKey"]"#),
            key("key_ops", r#"["sign","Sign"]"#),
        ),
        (BUNDLE, level("Recoverable"), level("recoverable")),
        (SIGNED, result("ES256K"), result("A128KW")),
        (VERIFIED, verified("RSNULL"), verified("RS1")),
        (ENCRYPTED, result("RSA1_5"), result("RSA-OAEP-512")),
        (WRAPPED_SECURELY, result("A256KWPAD"), result("RSA-OAEP")),
        (POLICY, action("rotate"), action("ROTATE")),
        (JOB, job("Succeeded"), job("Success")),
        (DOMAIN_STATUS, domain("Success"), domain("Succeeded")),
        (SETTING, setting("boolean"), setting("bool")),
        (EKM_CONNECTION, mode("Public"), mode("public")),
        (
            EKM_OPERATION,
            endpoint("status", "Running"),
            endpoint("status", "InProgress"),
        ),
        (
            EKM_OPERATION,
            endpoint("operationType", "Create"),
            endpoint("operationType", "create"),
        ),
        (DEFINITION, role("CustomRole"), role("BuiltInRole")),
    ] {
        let newest = "2026-07-01-preview";
        assert_eq!(checked(kind, newest, &right), Ok(()), "{right}");
        let found = checked(kind, newest, &wrong).unwrap_err();
        assert!(found.contains("which the API doesn't have"), "{found}");
    }
}

#[test]
fn values_come_with_a_version() {
    for (kind, name, before, since) in [
        (SIGNED, "HS256", "7.5", "7.6-preview.2"),
        (ENCRYPTED, "A128GCM", "7.1", "7.2-preview"),
        (ENCRYPTED, "CKM_AES_KEY_WRAP", "7.5", "7.6"),
    ] {
        let body = format!(r#"{{"alg":"{name}","kid":"k","value":"v"}}"#);
        assert_eq!(checked(kind, since, &body), Ok(()));
        let refused = checked(kind, before, &body).unwrap_err();
        assert!(refused.contains("which came with"), "{refused}");
    }
}
