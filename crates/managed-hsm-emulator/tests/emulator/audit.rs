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

/// All operations of an HSM, and what their records are called: those of keys as documented, the
/// others as the README says.
const OPERATIONS: [(&str, &str, &str); 72] = [
    ("POST", "/keys/k/create", "KeyCreate"),
    ("PUT", "/keys/k", "KeyImport"),
    ("GET", "/keys/k", "KeyGet"),
    ("GET", "/keys/k/0123456789abcdef0123456789abcdef", "KeyGet"),
    ("PATCH", "/keys/k", "KeyUpdate"),
    (
        "PATCH",
        "/keys/k/0123456789abcdef0123456789abcdef",
        "KeyUpdate",
    ),
    ("DELETE", "/keys/k", "KeyDelete"),
    ("GET", "/keys", "KeyList"),
    ("GET", "/keys/k/versions", "KeyListVersions"),
    ("POST", "/keys/k/rotate", "KeyRotate"),
    ("POST", "/keys/k/sign", "KeySign"),
    ("POST", "/keys/k/verify", "KeyVerify"),
    ("POST", "/keys/k/encrypt", "KeyEncrypt"),
    ("POST", "/keys/k/decrypt", "KeyDecrypt"),
    ("POST", "/keys/k/wrapkey", "KeyWrap"),
    ("POST", "/keys/k/unwrapkey", "KeyUnwrap"),
    ("POST", "/keys/k/securewrapkey", "KeySecureWrap"),
    ("POST", "/keys/k/secureunwrapkey", "KeySecureUnwrap"),
    ("POST", "/keys/k/release", "KeyRelease"),
    ("POST", "/keys/k/backup", "KeyBackup"),
    ("POST", "/keys/restore", "KeyRestore"),
    ("GET", "/keys/k/rotationpolicy", "KeyRotationPolicyGet"),
    ("PUT", "/keys/k/rotationpolicy", "KeyRotationPolicySet"),
    ("GET", "/keys/k/attestation", "KeyGetAttestation"),
    ("GET", "/deletedkeys", "KeyListDeleted"),
    ("GET", "/deletedkeys/k", "KeyGetDeleted"),
    ("POST", "/deletedkeys/k/recover", "KeyRecover"),
    ("DELETE", "/deletedkeys/k", "KeyPurge"),
    ("POST", "/rng", "RandomBytesGet"),
    ("GET", "/settings", "SettingList"),
    ("GET", "/settings/s", "SettingGet"),
    ("PATCH", "/settings/s", "SettingUpdate"),
    (
        "GET",
        "/providers/Microsoft.Authorization/roleDefinitions",
        "RoleDefinitionList",
    ),
    (
        "GET",
        "/providers/Microsoft.Authorization/roleDefinitions/d",
        "RoleDefinitionGet",
    ),
    (
        "PUT",
        "/providers/Microsoft.Authorization/roleDefinitions/d",
        "RoleDefinitionCreate",
    ),
    (
        "DELETE",
        "/providers/Microsoft.Authorization/roleDefinitions/d",
        "RoleDefinitionDelete",
    ),
    (
        "GET",
        "/providers/Microsoft.Authorization/roleAssignments",
        "RoleAssignmentList",
    ),
    (
        "GET",
        "/keys/providers/Microsoft.Authorization/roleAssignments",
        "RoleAssignmentList",
    ),
    (
        "GET",
        "/keys/providers/Microsoft.Authorization/roleAssignments/a",
        "RoleAssignmentGet",
    ),
    (
        "PUT",
        "/keys/providers/Microsoft.Authorization/roleAssignments/a",
        "RoleAssignmentCreate",
    ),
    (
        "DELETE",
        "/keys/k/providers/Microsoft.Authorization/roleAssignments/a",
        "RoleAssignmentDelete",
    ),
    ("POST", "/securitydomain/download", "SecurityDomainDownload"),
    (
        "GET",
        "/securitydomain/download/pending",
        "SecurityDomainDownloadStatusGet",
    ),
    (
        "GET",
        "/securitydomain/upload",
        "SecurityDomainTransferKeyGet",
    ),
    ("POST", "/securitydomain/upload", "SecurityDomainUpload"),
    (
        "GET",
        "/securitydomain/upload/pending",
        "SecurityDomainUploadStatusGet",
    ),
    ("POST", "/backup", "BackupCreate"),
    ("POST", "/prebackup", "BackupCheck"),
    ("GET", "/backup/7/pending", "BackupStatusGet"),
    ("PUT", "/restore", "RestoreCreate"),
    ("PUT", "/prerestore", "RestoreCheck"),
    ("PUT", "/keys/k/restore", "SelectiveRestoreCreate"),
    ("GET", "/restore/7/pending", "RestoreStatusGet"),
    ("GET", "/ekm", "EkmConnectionGet"),
    ("POST", "/ekm/create", "EkmConnectionCreate"),
    ("PATCH", "/ekm", "EkmConnectionUpdate"),
    ("DELETE", "/ekm", "EkmConnectionDelete"),
    ("GET", "/ekm/certificate", "EkmCertificateGet"),
    ("POST", "/ekm/check", "EkmConnectionCheck"),
    ("GET", "/ekm/privateendpoint", "EkmPrivateEndpointList"),
    ("GET", "/ekm/privateendpoint/abc", "EkmPrivateEndpointGet"),
    (
        "POST",
        "/ekm/privateendpoint/abc",
        "EkmPrivateEndpointCreate",
    ),
    (
        "DELETE",
        "/ekm/privateendpoint/abc",
        "EkmPrivateEndpointDelete",
    ),
    (
        "GET",
        "/ekm/privateendpoint/operations/7",
        "EkmPrivateEndpointStatusGet",
    ),
    // Whatever the path's spelling is.
    ("GET", "/KEYS//k/", "KeyGet"),
    // What is no operation has a record as well.
    ("GET", "/nothing", "Unknown"),
    ("PUT", "/keys", "Unknown"),
    ("POST", "/keys/k/invent", "Unknown"),
    ("GET", "/certificates/c", "Unknown"),
    ("GET", "/keys/a_b", "Unknown"),
    ("POST", "/securitydomain/pending", "Unknown"),
    ("POST", "/ekm/nothing", "Unknown"),
];

const IN_VAULTS: [(&str, &str, &str); 6] = [
    ("POST", "/keys/v/create", "KeyCreate"),
    ("GET", "/deletedkeys", "KeyListDeleted"),
    ("GET", "/certificates/c", "CertificateGet"),
    ("POST", "/certificates/c/import", "CertificateImport"),
    ("POST", "/rng", "Unknown"),
    ("GET", "/ekm", "Unknown"),
];

#[test]
fn the_names_that_are_tried_are_all_that_there_are() {
    let source = include_str!("../../src/api/audit.rs");
    let (_, names) = source.split_once("\nfn name(").unwrap();
    let tried = OPERATIONS.iter().chain(&IN_VAULTS);
    let tried: Vec<_> = tried.map(|(_, _, name)| *name).collect();
    let written: Vec<_> = names.split('"').skip(1).step_by(2).collect();
    // Placeholders have the method's word in front of them: "{what}Get".
    let written = written.into_iter().filter(|name| !name.contains('{'));
    let written: Vec<_> = written.collect();
    assert!(written.len() > 50, "{written:?}");
    for name in written {
        // Some are the beginnings of names, whose end is the method's.
        let is_tried = tried.iter().any(|tried| tried.starts_with(name));
        assert!(is_tried, "{name}");
    }
}

/// A record's operation, status and result.
fn outcome(record: &Value) -> (&str, u64, &str) {
    let status = record["httpStatusCode"].as_u64();
    let status = status.or_else(|| record["properties"]["httpStatusCode"].as_u64());
    (
        record["operationName"].as_str().unwrap(),
        status.unwrap(),
        record["resultType"].as_str().unwrap(),
    )
}

/// Asks for each, and holds the last records to the answers.
async fn have_their_names(
    emulator: &Emulator,
    file: &std::path::Path,
    (token, url): (&str, &str),
    operations: &[(&str, &str, &str)],
) {
    let before = records(file).len();
    let mut expected = Vec::new();
    for (method, path, name) in operations {
        let body = (*method != "GET").then(|| json!({}));
        let url = format!("{url}{path}");
        let answer = emulator.call_with(token, method, &url, body).await;
        let result = match answer.status.is_success() {
            true => "Success",
            false => "Failure",
        };
        expected.push((*name, u64::from(answer.status.as_u16()), result));
    }
    let records = records(file);
    let told: Vec<_> = records[before..].iter().map(outcome).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn each_operation_has_its_name_in_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.json");
    let arguments = ["--audit-log", file.to_str().unwrap(), "--vault", "contoso"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let own = emulator.token(&[]);
    let at = (own.as_str(), emulator.url.as_str());
    have_their_names(&emulator, &file, at, &OPERATIONS).await;
    let token = emulator.token(&["--audience", "https://vault.azure.net"]);
    let at = (token.as_str(), emulator.further["vault contoso"].as_str());
    have_their_names(&emulator, &file, at, &IN_VAULTS).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&own) && !text.contains(&token));
}

#[tokio::test]
async fn what_is_not_carried_out_has_a_record_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.json");
    let arguments = ["--audit-log", file.to_str().unwrap(), "--control-port", "0"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    // A fault in the place of an answer.
    let fault = r#"{"kind": "throttled", "count": 1}"#;
    let (status, told) = emulator.control("POST", "/faults", fault).await;
    assert!((200..300).contains(&status), "{told}");
    let answer = emulator.get("/keys").await;
    assert_eq!(answer.status, 429);
    // A body that is not read.
    let long = Some("x".repeat(2 << 20));
    let answer = emulator.send_owned("POST", "/keys/k/create", long).await;
    assert_eq!(answer.status, 413);
    // Whoever isn't known is nobody in particular, and asks for nothing in particular.
    let answer = emulator.send("POST", "/rng", Some("no token"), None).await;
    assert_eq!(answer.status, 401);
    let records = records(&file);
    let told: Vec<_> = records.iter().map(outcome).collect();
    assert_eq!(
        told,
        [
            ("KeyList", 429, "Failure"),
            ("KeyCreate", 413, "Failure"),
            ("Authentication", 401, "Failure"),
        ]
    );
    assert_eq!(records[2]["identity"], "{}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("no token"));
}
