//! An HSM that is not activated, its security domain as far as no client is needed, and backups of
//! whole HSMs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Name};
use serde_json::{Value, json};

use crate::running::{Answer, Emulator};

const USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";

pub(crate) fn certificate(key: &PKey<Private>) -> Value {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "wrapping").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let (from, to) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(9));
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&to.unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    let der = builder.build().to_der().unwrap();
    json!({"kty": "RSA", "alg": "RSA-OAEP-256", "x5c": [openssl::base64::encode_block(&der)]})
}

/// The status of what was begun at its end. Before it, it is one of what goes on, as clients expect
/// that ask for it from another process.
async fn ended(emulator: &Emulator, url: &str) -> Value {
    let begun = Instant::now();
    loop {
        let status = emulator.get(url).await.success();
        if status["status"] != "InProgress" {
            assert!(begun.elapsed() > Duration::from_millis(900), "{status}");
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The status of what was begun, at its end.
pub(crate) async fn finished(emulator: &Emulator, begun: Answer) -> Value {
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(begun.json()["status"], "InProgress");
    let url = begun.headers["azure-asyncoperation"].to_str().unwrap();
    let job = begun.json()["jobId"].as_str().unwrap().to_owned();
    assert!(url.ends_with(&format!("/{job}/pending")), "{url}");
    assert_eq!(begun.headers["retry-after"], "10");
    // As recorded: null in a backup's, and not there in a restore's.
    let is_backup = url.contains("/backup/");
    let uri = begun.json().get("azureStorageBlobContainerUri").cloned();
    assert_eq!(uri, is_backup.then_some(Value::Null));
    assert_eq!(emulator.get(url).await.success(), begun.json());
    let done = ended(emulator, url).await;
    assert!(done["endTime"].as_i64() > begun.json()["startTime"].as_i64());
    done
}

#[tokio::test]
async fn an_hsm_waits_for_its_activation() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--not-activated"]);
    let create = json!({"kty": "EC"});
    for (method, path, body) in [
        ("GET", "/keys", None),
        ("POST", "/keys/k/create", Some(create.clone())),
        ("POST", "/rng", Some(json!({"count": 1}))),
    ] {
        let (status, code, message) = emulator.call(method, path, body).await.error();
        assert_eq!((status, code.as_str()), (403, "Forbidden"));
        assert!(message.contains("not activated"), "{message}");
    }
    // Who may not manage it isn't told.
    let nobody = emulator.token(&["--principal", "nobody"]);
    let answer = emulator.call_with(&nobody, "GET", "/keys", None).await;
    assert_eq!(answer.error().1, "AccessDenied");

    let keys = [(); 3].map(|()| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
    let certificates: Vec<Value> = keys.iter().map(certificate).collect();
    let small = certificate(&PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap());
    for (certificates, required) in [
        (json!(certificates[..2]), 2),
        (json!(certificates), 1),
        (json!(certificates), 4),
        (json!([certificates[0], certificates[1], small]), 2),
        (json!([{"x5c": []}, {"x5c": ["AAAA"]}, {"x5c": ["=="]}]), 2),
    ] {
        let body = json!({"certificates": certificates, "required": required});
        let answer = emulator.post("/securitydomain/download", body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_eq!(emulator.get("/keys").await.status, 403);
    let body = json!({"certificates": certificates, "required": 2});
    let answer = emulator.post("/securitydomain/download", body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let pending = answer.headers["azure-asyncoperation"].to_str().unwrap();
    let domain: Value = serde_json::from_str(answer.json()["value"].as_str().unwrap()).unwrap();
    assert_eq!(domain["SharedKeys"]["key_algorithm"], "shamir_share");
    assert_eq!(domain["SharedKeys"]["required"], 2);
    assert_eq!(
        domain["SharedKeys"]["enc_shares"].as_array().unwrap().len(),
        3
    );
    assert_eq!(ended(&emulator, pending).await["status"], "Success");
    emulator.post("/keys/k/create", create).await.success();
    // It stays so.
    emulator.kill();
    let emulator = Emulator::start_with(folder.path(), &["--not-activated"]);
    emulator.get("/keys/k").await.success();
    let upload = json!({"value": "{}"});
    let refused = emulator
        .post("/securitydomain/upload", upload.clone())
        .await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    emulator.delete("/keys/k").await.success();
    assert_eq!(emulator.delete("/deletedkeys/k").await.status, 204);
    let refused = emulator.post("/securitydomain/upload", upload).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let transfer = emulator.get("/securitydomain/upload").await.success();
    let key: Value = serde_json::from_str(transfer["transfer_key"].as_str().unwrap()).unwrap();
    let der = openssl::base64::decode_block(key["x5c"][0].as_str().unwrap()).unwrap();
    X509::from_der(&der).unwrap();
}

#[tokio::test]
async fn a_whole_hsm_is_backed_up_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let mut kept = Vec::new();
    for (name, body) in [
        ("rsa", json!({"kty": "RSA", "tags": {"a": "b"}})),
        ("ec", json!({"kty": "EC", "crv": "P-521"})),
        ("oct", json!({"kty": "oct"})),
    ] {
        let path = format!("/keys/{name}/create");
        emulator.post(&path, body.clone()).await.success();
        emulator.post(&path, body).await.success();
        let versions = emulator.get(&format!("/keys/{name}/versions")).await;
        kept.push((
            name,
            emulator.get(&format!("/keys/{name}")).await.success(),
            versions.success(),
        ));
    }
    let body = json!({"kty": "RSA"});
    let single = emulator.post("/keys/single/create", body).await.success();
    emulator.set_rotation_policy("ec").await;
    let assignment = "/keys/ec/providers/Microsoft.Authorization/roleAssignments/88888888-0000-0000-0000-000000000001";
    let grant = json!({"properties": {"roleDefinitionId": USER, "principalId": "somebody"}});
    emulator.call("PUT", assignment, Some(grant)).await;
    let storage =
        json!({"storageResourceUri": format!("{}/backups", emulator.url), "token": "sas"});
    let checked = emulator.post("/prebackup", storage.clone()).await;
    assert_eq!(finished(&emulator, checked).await["status"], "Succeeded");
    let begun = emulator.post("/backup", storage.clone()).await;
    let done = finished(&emulator, begun).await;
    assert_eq!(done["status"], "Succeeded", "{done}");
    let url = done["azureStorageBlobContainerUri"].as_str().unwrap();
    let container = format!("{}/backups/mhsm-", emulator.url);
    assert!(url.starts_with(&container), "{url}");
    let from = url.rsplit_once('/').unwrap().1;
    // As recorded: a time, to a hundredth of a second.
    let time = from.strip_prefix("mhsm-localhost-").unwrap();
    assert!(time.len() == 16 && time.bytes().all(|byte| byte.is_ascii_digit()));

    // One key: it stays as it is, until it is gone. As recorded of a key with one version.
    let one = Some(json!({"sasTokenParameters": storage, "folder": from}));
    let details = |restored: usize, kept: usize| {
        format!(
            "Number of successful key versions restored: {restored}, Number of key versions could not overwrite: {kept}"
        )
    };
    let path = "/keys/single/restore";
    let again = emulator.call("PUT", path, one.clone()).await;
    let done = finished(&emulator, again).await;
    assert_eq!(done["status"], "Succeeded", "{done}");
    assert_eq!(done["statusDetails"], details(0, 2));
    emulator.delete("/keys/single").await.success();
    let begun = emulator.call("PUT", path, one.clone()).await;
    let failed = finished(&emulator, begun).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("Failed"), &json!("Conflict"))
    );
    assert_eq!(emulator.delete("/deletedkeys/single").await.status, 204);
    let begun = emulator.call("PUT", path, one).await;
    let done = finished(&emulator, begun).await;
    assert_eq!(done["status"], "Succeeded", "{done}");
    assert_eq!(done["statusDetails"], details(2, 0));
    assert_eq!(emulator.get("/keys/single").await.success(), single);

    // All of it: what was made since is gone.
    emulator
        .post("/keys/later/create", json!({"kty": "EC"}))
        .await
        .success();
    emulator.delete("/keys/ec").await.success();
    emulator.call("DELETE", assignment, None).await.success();
    let all = Some(json!({"sasTokenParameters": storage, "folderToRestore": from}));
    for path in ["/prerestore", "/restore"] {
        let begun = emulator.call("PUT", path, all.clone()).await;
        let done = finished(&emulator, begun).await;
        assert_eq!(done["status"], "Succeeded", "{done}");
        assert!(done["statusDetails"].is_null(), "{done}");
    }
    let is_restored = async |emulator: &Emulator| {
        for (name, key, versions) in &kept {
            let got = emulator.get(&format!("/keys/{name}")).await.success();
            assert_eq!(without_port(&got), without_port(key), "{name}");
            let path = format!("/keys/{name}/versions");
            let list = emulator.get(&path).await.success();
            assert_eq!(without_port(&list), without_port(versions), "{name}");
        }
        assert_eq!(emulator.get("/keys/later").await.status, 404);
        assert_eq!(emulator.get("/deletedkeys/ec").await.status, 404);
        emulator.get(assignment).await.success();
        let policy = emulator.get("/keys/ec/rotationpolicy").await.success();
        let trigger = &policy["lifetimeActions"][0]["trigger"];
        assert_eq!(trigger["timeAfterCreate"], "P2Y");
    };
    is_restored(&emulator).await;
    emulator.kill();
    is_restored(&Emulator::start(folder.path())).await;
}

/// A restart takes another port.
fn without_port(answer: &Value) -> String {
    let text = answer.to_string();
    let parts = text.split("https://localhost:");
    let paths = parts.map(|part| part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    paths.collect()
}

/// A container over HTTP that keeps what is put there by whoever has the token. Returns its URL.
fn storage_over_http(token: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/account/backups", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut blobs: HashMap<String, Vec<u8>> = HashMap::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_until(b'\n', &mut head).unwrap();
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            let line: Vec<&str> = head.lines().next().unwrap().split(' ').collect();
            let (path, query) = line[1].split_once('?').unwrap();
            let (status, answer) = match (line[0], blobs.get(path)) {
                _ if query != token => ("403 Forbidden", Vec::new()),
                ("put", _) if head.contains("x-ms-blob-type: blockblob") => {
                    blobs.insert(path.to_owned(), body);
                    ("201 Created", Vec::new())
                }
                ("get", Some(blob)) => ("200 OK", blob.clone()),
                _ => ("404 Not Found", Vec::new()),
            };
            let length = answer.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            let answer = [head.as_bytes(), &answer].concat();
            stream.get_mut().write_all(&answer).unwrap();
        }
    });
    url
}

#[tokio::test]
async fn backups_lie_in_storage_over_http_too() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    let url = storage_over_http("sv=1&sig=abc");
    let storage = |token: &str| json!({"storageResourceUri": url, "token": token});
    let begun = emulator.post("/backup", storage("?sv=1&sig=abc")).await;
    let done = finished(&emulator, begun).await;
    assert_eq!(done["status"], "Succeeded", "{done}");
    let name = done["azureStorageBlobContainerUri"].as_str().unwrap();
    let name = name.rsplit_once('/').unwrap().1;
    emulator.delete("/keys/k").await.success();
    for (token, from, status) in [
        ("sv=1&sig=another", name, "Failed"),
        ("sv=1&sig=abc", "mhsm-none", "Failed"),
        ("sv=1&sig=abc", name, "Succeeded"),
    ] {
        let body = json!({"sasTokenParameters": storage(token), "folderToRestore": from});
        let begun = emulator.call("PUT", "/restore", Some(body)).await;
        let done = finished(&emulator, begun).await;
        assert_eq!(done["status"], status, "{done}");
        assert!(!done.to_string().contains(token), "{done}");
    }
    emulator.get("/keys/k").await.success();
    let nowhere = json!({"storageResourceUri": "http://127.0.0.1:1/b", "token": "t"});
    let begun = emulator.post("/backup", nowhere).await;
    assert_eq!(finished(&emulator, begun).await["status"], "Failed");
}

/// As recorded by azure-sdk-for-net, in
/// `FullBackupClientLiveTests/BackupAndRestoreMultiPartFolderName`: the backup is in a folder of
/// the container, and the restore names the folder or is sent to it.
#[tokio::test]
async fn a_backup_lies_in_a_folder_of_a_container() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = json!({"kty": "EC"});
    emulator.post("/keys/k/create", body).await.success();
    let container = "https://acct.blob.core.windows.net/backup";
    let inner = format!("{container}/some/folder/name");
    let storage = |uri: &str| json!({"storageResourceUri": uri, "token": "sas"});
    let begun = emulator.post("/backup", storage(&inner)).await;
    let done = finished(&emulator, begun).await;
    let url = done["azureStorageBlobContainerUri"].as_str().unwrap();
    assert!(url.starts_with(&format!("{inner}/mhsm-")), "{done}");
    let last = url.rsplit_once('/').unwrap().1;
    emulator.delete("/keys/k").await.success();
    for (uri, from, status) in [
        (container, last.to_owned(), "Failed"),
        (
            container,
            format!("some/folder/../folder/name/{last}"),
            "Failed",
        ),
        (container, format!("some/folder/name/{last}"), "Succeeded"),
        (&inner, last.to_owned(), "Succeeded"),
    ] {
        let body = json!({"sasTokenParameters": storage(uri), "folderToRestore": from});
        let begun = emulator.call("PUT", "/restore", Some(body)).await;
        assert_eq!(finished(&emulator, begun).await["status"], status, "{from}");
    }
    emulator.get("/keys/k").await.success();
}

/// As azure-sdk-for-cpp's suite expects it, in `BackupFullErrorStatus` and
/// `RestoreSelectiveInvalidKeyStatus`.
#[tokio::test]
async fn what_a_job_failed_of_is_told_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let storage = |uri: &str| json!({"storageResourceUri": uri, "token": "sv=x"});
    let nowhere = storage("https://acct.blob.core.windows.net");
    for path in ["/backup", "/prebackup"] {
        let begun = emulator.post(path, nowhere.clone()).await;
        let failed = finished(&emulator, begun).await;
        assert_eq!(failed["status"], "Failed", "{path}");
        assert_eq!(failed["statusDetails"], "InvalidQueryParameterValue");
        assert_eq!(failed["error"]["code"], "InvalidQueryParameterValue");
    }
    let storage = storage("https://acct.blob.core.windows.net/backup");
    let begun = emulator.post("/backup", storage.clone()).await;
    let done = finished(&emulator, begun).await;
    let url = done["azureStorageBlobContainerUri"].as_str().unwrap();
    let from = url.rsplit_once('/').unwrap().1;
    let body = json!({"sasTokenParameters": storage, "folder": from});
    let begun = emulator.call("PUT", "/keys/none/restore", Some(body)).await;
    let failed = finished(&emulator, begun).await;
    let text = "The given key or its versions NOT found";
    assert_eq!(failed["status"], "Failed");
    assert_eq!(failed["statusDetails"], text);
    let error = json!({"code": "No key versions are updated", "message": text});
    assert_eq!(failed["error"], error);
}

#[tokio::test]
async fn what_is_no_backup_of_the_domain_is_not_restored() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    let foreign = Emulator::start(other.path());
    let storage =
        |of: &Emulator| json!({"storageResourceUri": format!("{}/b", of.url), "token": ""});
    let begun = foreign.post("/backup", storage(&foreign)).await;
    let done = finished(&foreign, begun).await;
    let url = done["azureStorageBlobContainerUri"].as_str().unwrap();
    let name = url.rsplit_once('/').unwrap().1;
    let blob = foreign.data().join("blobs/localhost/b").join(name);
    let place = emulator.data().join("blobs/localhost/b");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::rename(blob, place.join("stolen")).unwrap();
    for (from, code) in [
        ("stolen", "MalformedBackupBlob"),
        ("none", "StorageError"),
        ("../../keys.sqlite3", "StorageError"),
    ] {
        let body = json!({"sasTokenParameters": storage(&emulator), "folderToRestore": from});
        for path in ["/prerestore", "/restore"] {
            let begun = emulator.call("PUT", path, Some(body.clone())).await;
            let failed = finished(&emulator, begun).await;
            assert_eq!(failed["status"], "Failed");
            assert_eq!(failed["error"]["code"], code, "{failed}");
        }
    }
    emulator.get("/keys/k").await.success();
    for body in [
        json!({}),
        json!([]),
        json!({"storageResourceUri": "https://a.blob.core.windows.net/b/../c", "token": ""}),
        json!({"storageResourceUri": format!("{}/..", emulator.url), "token": ""}),
        json!({"storageResourceUri": format!("{}/b", emulator.url)}),
    ] {
        let answer = emulator.post("/backup", body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_eq!(emulator.get("/backup/none/pending").await.status, 404);
    assert_eq!(emulator.get("/backup").await.status, 405);
}
