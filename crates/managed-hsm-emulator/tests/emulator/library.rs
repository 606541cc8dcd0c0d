//! The emulator in the process of a test.

use managed_hsm_emulator::{Handle, Options, start};
use reqwest::{Client, Version};

fn client(emulator: &Handle) -> Client {
    let ca = std::fs::read(&emulator.ca).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    Client::builder().tls_certs_only([ca]).build().unwrap()
}

async fn status(client: &Client, emulator: &Handle, path: &str) -> u16 {
    let request = client.get(format!("{}{path}", emulator.url));
    let sent = request.bearer_auth(&emulator.token).send().await;
    sent.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_came_is_seen_with_its_connection_its_version_and_its_answer() {
    let emulator = start(Options::default()).unwrap();
    let client = client(&emulator);
    assert_eq!(status(&client, &emulator, "/keys/none").await, 404);
    emulator.faults.add("unavailable,count=1").unwrap();
    for expected in [503, 200] {
        assert_eq!(status(&client, &emulator, "/keys").await, expected);
    }
    let seen = emulator.requests.list();
    let seen: Vec<_> = seen
        .iter()
        .map(|request| (request.path.as_str(), request.status))
        .collect();
    let expected = [
        ("/keys/none", Some(404)),
        ("/keys", Some(503)),
        ("/keys", Some(200)),
    ];
    assert_eq!(seen, expected);
    for request in emulator.requests.list() {
        assert_eq!((request.connection, request.version), (1, Version::HTTP_2));
    }
    assert_eq!(emulator.connections(), 1);
}

#[tokio::test]
async fn two_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (
        start(Options::default()).unwrap(),
        start(Options::default()).unwrap(),
    );
    let client = client(&one);
    assert_eq!(status(&client, &one, "/keys").await, 200);
    assert_eq!(
        (one.requests.list().len(), two.requests.list().len()),
        (1, 0)
    );
    assert_ne!(one.data_dir(), two.data_dir());
}

#[tokio::test]
async fn nothing_is_left_when_the_handle_is_dropped() {
    let emulator = start(Options::default()).unwrap();
    let folder = emulator.data_dir().to_owned();
    // A request that nobody will answer, on a connection that stays open.
    emulator.faults.add("silence").unwrap();
    let (client, url) = (client(&emulator), format!("{}/keys", emulator.url));
    let request = client.get(url).bearer_auth(&emulator.token).send();
    let waiting = tokio::spawn(request);
    let requests = emulator.requests.clone();
    let has_come =
        move || requests.wait_until(std::time::Duration::from_secs(60), |list| list.len() == 1);
    assert!(tokio::task::spawn_blocking(has_come).await.unwrap());
    drop(emulator);
    assert!(waiting.await.unwrap().is_err());
    assert!(!folder.exists());
}

#[test]
fn a_folder_is_served_again_after_either_end() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options {
        data_dir: Some(folder.path().join("emulator")),
        ..Options::default()
    };
    start(options()).unwrap().stop();
    drop(start(options()).unwrap());
    let emulator = start(options()).unwrap();
    let twice = start(options()).err().unwrap().to_string();
    assert!(twice.contains("another managed-hsm-emulator"), "{twice}");
    drop(emulator);
}

#[test]
fn a_fault_that_makes_no_sense_is_refused() {
    let emulator = start(Options::default()).unwrap();
    for (text, word) in [
        ("fire", "there is no fault"),
        ("drop,header=none", "Name: value"),
        ("{", "not JSON"),
    ] {
        let problem = emulator.faults.add(text).unwrap_err();
        assert!(problem.contains(word), "{problem}");
    }
    assert!(emulator.faults.list().is_empty());
}
