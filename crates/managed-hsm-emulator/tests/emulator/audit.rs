//! The audit log, as queries on Azure's logs see it.

use serde_json::{Value, json};

use crate::running::Emulator;

fn records(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn each_request_has_a_record_that_says_who_did_what_and_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.json");
    let arguments = ["--audit-log", file.to_str().unwrap(), "--vault", "contoso"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let create = json!({"kty": "EC"});
    let made = emulator
        .post("/keys/k/create?api-version=7.4", create.clone())
        .await;
    let id = made.headers["x-ms-request-id"].to_str().unwrap().to_owned();
    made.success();
    let body = json!({"alg": "ES256", "value": "A".repeat(43)});
    emulator.post("/keys/k/sign", body).await.success();
    emulator.send("GET", "/keys", None, None).await;
    let nobody = emulator.token(&["--principal", "nobody"]);
    emulator.call_with(&nobody, "GET", "/keys/k", None).await;
    emulator.get("/keys/none").await;
    let vault = format!(
        "{}/keys/v/create?api-version=7.4",
        emulator.further["vault contoso"]
    );
    let token = emulator.token(&["--audience", "https://vault.azure.net"]);
    let made = emulator
        .call_with(&token, "POST", &vault, Some(create))
        .await;
    made.success();

    let records = records(&file);
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let status = record["httpStatusCode"].as_u64();
            let status = status.or_else(|| record["properties"]["httpStatusCode"].as_u64());
            (
                record["operationName"].as_str().unwrap(),
                record["resultType"].as_str().unwrap(),
                status.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("KeyCreate", "Success", 200),
            ("KeySign", "Success", 200),
            ("Authentication", "Failure", 401),
            ("KeyGet", "Failure", 403),
            ("KeyGet", "Failure", 404),
            ("KeyCreate", "Success", 200),
        ]
    );
    let first = &records[0];
    assert_eq!(first["category"], "AuditEvent");
    assert_eq!(first["correlationId"], id);
    assert_eq!(first["operationVersion"], "7.4");
    assert_eq!(first["callerIpAddress"], "127.0.0.1");
    assert_eq!(first["resourceType"], "managedHSMs");
    let uri = format!("{}/keys/k/create?api-version=7.4", emulator.url);
    assert_eq!(first["requestUri"], uri);
    let who = |record: &Value| {
        let identity: Value = serde_json::from_str(record["identity"].as_str().unwrap()).unwrap();
        identity["claim"]["http_schemas_microsoft_com_identity"]["claims"]["objectidentifier"]
            .clone()
    };
    assert_eq!(who(&records[3]), "nobody");
    assert_eq!(who(&records[2]), Value::Null);
    let last = &records[5];
    assert_eq!(last["resultSignature"], "OK");
    assert_eq!(last["properties"]["requestUri"], vault);
    assert!(
        last["resourceId"]
            .as_str()
            .unwrap()
            .ends_with("/VAULTS/CONTOSO")
    );
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in [&nobody, &token, &"A".repeat(43)] {
        assert!(!text.contains(secret.as_str()));
    }
    // It goes on after a restart, and is its owner's alone.
    emulator.kill();
    let emulator = Emulator::start_with(folder.path(), &arguments);
    emulator.get("/keys").await.success();
    assert_eq!(self::records(&file).len(), 7);
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
