//! The commands as scripts use them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::running::{Emulator, program, text};

#[tokio::test]
async fn env_prints_exports_that_a_shell_can_evaluate() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let exports = text(&emulator.run("env", &[]).stdout);
    let script = format!(
        "{exports}\nprintf '%s\\n' \"$AZURE_MANAGEDHSM_URL\" \"$AKV_CA_FILE\" \"$AZURE_CLI_ACCESS_TOKEN\""
    );
    let shell = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .output()
        .unwrap();
    let values = text(&shell.stdout);
    let values: Vec<_> = values.lines().collect();
    assert_eq!(values[0], emulator.url);
    assert_eq!(values[1], emulator.data().join("ca.pem").to_str().unwrap());
    let answer = emulator.send("GET", "/keys", Some(values[2]), None).await;
    assert_eq!(answer.status, 200);
}

#[test]
fn env_waits_for_an_emulator_that_is_still_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = program("env", &folder.path().join("emulator"))
        .args(["--wait", "60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let emulator = Emulator::start(folder.path());
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).contains(&emulator.url));
}

#[test]
fn a_stopped_emulator_exits_cleanly_and_is_no_longer_announced() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let data = emulator.data().to_owned();
    let announced = fs::read_to_string(data.join("endpoint")).unwrap();
    assert_eq!(announced.trim(), emulator.url);
    assert!(emulator.stop().success());
    assert!(!data.join("endpoint").exists());
    let output = program("env", &data).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no emulator is running"));
}

#[test]
fn a_second_writer_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let second = emulator.run("serve", &[]);
    assert!(!second.status.success());
    assert!(text(&second.stderr).contains("another managed-hsm-emulator"));
    assert!(emulator.run("env", &[]).status.success());
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = program("serve", folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("chmod 700"));
}

#[tokio::test]
async fn latency_is_added_to_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--latency-ms", "120"]);
    let answer = emulator.get("/keys").await;
    let latency = answer.headers["x-ms-server-latency"].to_str().unwrap();
    assert!(latency.parse::<u64>().unwrap() >= 120, "{latency}");
}
