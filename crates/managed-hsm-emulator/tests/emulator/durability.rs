//! What was answered with 200 outlives the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::running::Emulator;

/// How many write at once, and how often they are interrupted.
const CLIENTS: usize = 48;
const KILLS: u32 = 15;

#[tokio::test]
async fn every_key_that_was_answered_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let mut kept = Vec::new();
    for (index, crv) in ["P-256", "P-384", "P-521", "P-256K"]
        .iter()
        .cycle()
        .take(12)
        .enumerate()
    {
        let path = format!("/keys/key-{index}/create");
        let body = json!({"kty": "EC", "crv": crv, "tags": {"index": index.to_string()}});
        kept.push(emulator.post(&path, body).await.success());
    }
    emulator.set_rotation_policy("key-0").await;
    let rotated = emulator
        .post("/keys/key-0/rotate", json!({}))
        .await
        .success();
    emulator.delete("/keys/key-1").await.success();
    emulator.kill();

    let emulator = Emulator::start(folder.path());
    for (index, before) in kept.iter().enumerate() {
        if index == 1 {
            assert_eq!(emulator.get("/keys/key-1").await.status, 404);
            let recovered = emulator.post("/deletedkeys/key-1/recover", json!({})).await;
            recovered.success();
        }
        let kid = before["key"]["kid"].as_str().unwrap();
        let version = kid.rsplit_once('/').unwrap().1;
        let after = emulator
            .get(&format!("/keys/key-{index}/{version}"))
            .await
            .success();
        for member in ["crv", "x", "y"] {
            assert_eq!(after["key"][member], before["key"][member]);
        }
        assert_eq!(after["tags"], before["tags"]);
        assert_eq!(after["attributes"], before["attributes"]);
    }
    let newest = emulator.get("/keys/key-0").await.success();
    assert_eq!(newest["key"]["x"], rotated["key"]["x"]);
}

/// Makes versions of a key until the emulator is gone. Returns the paths of those that were
/// answered.
async fn make_versions(
    emulator: Arc<Emulator>,
    key: String,
    answered: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut made = Vec::new();
    let create = json!({"kty": "EC"});
    loop {
        // At most 100 versions of a key.
        let path = format!("/keys/{key}-{}/create", made.len() / 100);
        let Ok(answer) = emulator.try_post(&path, &create).await else {
            return made;
        };
        let answer = answer.success();
        answered.fetch_add(1, Ordering::SeqCst);
        let kid = answer["key"]["kid"].as_str().unwrap();
        made.push(kid[kid.find("/keys/").unwrap()..].to_owned());
    }
}

/// Writes are under way whenever it dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_takes_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let kills = match std::env::var_os("AKV_WHOLE") {
        Some(_) => KILLS,
        None => 4,
    };
    let mut kept = Vec::new();
    for round in 0..kills {
        let emulator = Arc::new(Emulator::start(folder.path()));
        let process = Pid::from_raw(emulator.process().try_into().unwrap()).unwrap();
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let key = format!("key-{round}-{client}");
                let (emulator, answered) = (Arc::clone(&emulator), Arc::clone(&answered));
                tokio::spawn(make_versions(emulator, key, answered))
            })
            .collect();
        while answered.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Sooner or later after its start, and never at the same point of what it does.
        tokio::time::sleep(Duration::from_millis(50 + u64::from(round * 97 % 350))).await;
        kill_process(process, Signal::KILL).unwrap();
        for client in clients {
            kept.extend(client.await.unwrap());
        }
    }
    assert!(kept.len() > kills as usize, "{}", kept.len());
    let emulator = Emulator::start(folder.path());
    for path in &kept {
        emulator.get(path).await.success();
    }
}

#[tokio::test]
async fn what_an_hsm_keeps_besides_keys_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let create = json!({"kty": "EC"});
    emulator.post("/keys/k/create", create).await.success();
    let roles = "/keys/k/providers/Microsoft.Authorization/roleAssignments";
    let assignment = format!("{roles}/88888888-0000-0000-0000-000000000001");
    let policy = "/keys/k/rotationpolicy";
    let setting = "/settings/AllowKeyManagementOperationsThroughARM";
    let action = json!({"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P30D"}});
    let user = "21dbd100-6940-42c2-9190-5d6cb909625b";
    let grant = json!({"properties": {"roleDefinitionId": user, "principalId": "somebody"}});
    for (method, path, body, status) in [
        ("PUT", assignment.as_str(), grant, 201),
        ("PUT", policy, json!({"lifetimeActions": [action]}), 200),
        ("PATCH", setting, json!({"value": "true"}), 200),
    ] {
        let answer = emulator.call(method, path, Some(body)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    let mut before = Vec::new();
    for path in [assignment.as_str(), policy, setting] {
        before.push(emulator.get(path).await.success());
    }
    emulator.kill();

    let emulator = Emulator::start(folder.path());
    for (path, before) in [assignment.as_str(), policy, setting].iter().zip(before) {
        assert_eq!(emulator.get(path).await.success(), before, "{path}");
    }
}

#[tokio::test]
async fn the_database_alone_does_not_give_private_keys_away() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    // The prefix of every PKCS#8 structure with a P-256 key (RFC 5958, RFC 5480).
    let mark = [
        0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    ];
    emulator
        .post("/keys/sealed-at-rest/create", json!({"kty": "EC"}))
        .await
        .success();
    let data = emulator.data().to_owned();
    emulator.kill();
    let all: Vec<u8> = ["keys.sqlite3", "keys.sqlite3-wal"]
        .iter()
        .flat_map(|file| std::fs::read(data.join(file)).unwrap())
        .collect();
    let has = |text: &[u8]| all.windows(text.len()).any(|window| window == text);
    // What is not sealed shows that the key lies here.
    assert!(has(b"sealed-at-rest"));
    assert!(!has(&mark));
}
