//! The commands as scripts use them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;

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
fn env_prints_lines_and_json_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let lines = text(&emulator.run("env", &["--format", "lines"]).stdout);
    let url = format!("AZURE_MANAGEDHSM_URL={}\n", emulator.url);
    assert!(lines.starts_with(&url), "{lines}");
    let json = emulator
        .run("env", &["--identity", "--format", "json"])
        .stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["AZURE_AUTHORITY_HOST"], emulator.url.as_str());
    assert!(json.get("AZURE_CLI_ACCESS_TOKEN").is_none());
}

#[test]
fn output_that_gets_nowhere_is_an_error_and_a_reader_that_has_enough_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let data = emulator.data().to_str().unwrap();
    let env = format!("env --data-dir {data}");
    let token = format!("token --data-dir {data}");
    let run = |line: &str, redirection: &str| {
        let program = env!("CARGO_BIN_EXE_managed-hsm-emulator");
        let script = format!("{program} {line} {redirection}");
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(script).output().unwrap()
    };
    for line in [&*env, &*token, "--help", "--version", "serve --help"] {
        for (redirection, words) in [
            (">/dev/full", "No space left on device"),
            (">&-", "Bad file descriptor"),
        ] {
            let failed = run(line, redirection);
            let told = text(&failed.stderr);
            let expected = format!("managed-hsm-emulator: the output can't be written: {words}");
            assert!(told.starts_with(&expected), "{line} {redirection}: {told}");
            assert_eq!(failed.status.code(), Some(1), "{line} {redirection}");
        }
        assert_eq!(text(&run(line, "| true").stderr), "", "{line}");
        assert!(run(line, ">/dev/null").status.success(), "{line}");
    }
}

/// The program, to run a shell's script beside an emulator.
fn run(options: &[&str], script: &str) -> std::process::Command {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_managed-hsm-emulator"));
    program.arg("run").args(options);
    program.args(["--", "sh", "-c", script]);
    program
}

#[test]
fn a_command_finds_the_emulator_that_runs_beside_it_and_which_ends_with_it() {
    let ask = "curl --silent --cacert \"$AKV_CA_FILE\" -d grant_type=client_credentials \
        -d client_id=$AZURE_CLIENT_ID -d client_secret=$AZURE_CLIENT_SECRET \
        -d scope=https://managedhsm.azure.net/.default \
        $AZURE_AUTHORITY_HOST/$AZURE_TENANT_ID/oauth2/v2.0/token; echo; echo $AKV_CA_FILE $AZURE_KEYVAULT_URL";
    let output = run(&["--vault", "MyVault"], ask).output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("\"access_token\""), "{printed}");
    let (ca_file, vault) = printed.lines().last().unwrap().split_once(' ').unwrap();
    assert!(vault.starts_with("https://"), "{printed}");
    assert!(!std::path::Path::new(ca_file).exists(), "{ca_file} is left");
    assert_eq!(text(&output.stderr), "", "a log, which nobody asked for");
}

#[test]
fn nothing_of_the_callers_leads_a_command_elsewhere() {
    let names = [
        "AKV_ENDPOINTS",
        "AKV_TOKEN_FILE",
        "AZURE_CLI_ACCESS_TOKEN",
        "AZURE_KEYVAULT_URL",
    ];
    let output = run(&[], "env")
        .envs(names.map(|name| (name, "of-production")))
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(printed.contains("AZURE_MANAGEDHSM_URL="), "{printed}");
    assert!(!printed.contains("of-production"), "{printed}");
}

#[test]
fn run_ends_as_its_command_does() {
    let status = |script: &str| run(&[], script).status().unwrap().code();
    assert_eq!(status("exit 7"), Some(7));
    assert_eq!(status("kill -9 $$"), Some(128 + 9));
}

/// A program whose first line on standard output has come; and that line.
fn started(mut program: std::process::Command) -> (std::process::Child, String) {
    let mut running = program.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (running, line)
}

/// The command with hangups as they are by default, whatever the tests themselves were started
/// with.
fn with_hangup(command: &std::process::Command) -> std::process::Command {
    let mut env = std::process::Command::new("env");
    env.arg("--default-signal=HUP").arg(command.get_program());
    env.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

#[test]
fn whichever_signal_ends_it_no_folder_is_left() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let folder = tempfile::tempdir().unwrap();
        let left = || fs::read_dir(folder.path()).unwrap().count();
        let mut serve = std::process::Command::new(env!("CARGO_BIN_EXE_managed-hsm-emulator"));
        serve.args(["serve", "--ephemeral"]);
        let mut serve = with_hangup(&serve);
        serve.env("TMPDIR", folder.path()).stderr(Stdio::null());
        let (mut running, line) = started(serve);
        assert!(line.contains("this is not an HSM") && left() == 1, "{line}");
        kill_process(Pid::from_child(&running), signal).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(0), "{signal:?}");
        assert_eq!(left(), 0, "{signal:?}");

        // `run` passes it on, but for what a terminal sends to both.
        if signal == Signal::INT {
            continue;
        }
        let mut program = with_hangup(&run(
            &[],
            "trap 'exit 5' TERM HUP; echo ready; while :; do sleep 0.1; done",
        ));
        program.env("TMPDIR", folder.path());
        let (mut running, line) = started(program);
        assert!(line == "ready\n" && left() == 1, "{line}");
        kill_process(Pid::from_child(&running), signal).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(5), "{signal:?}");
        assert_eq!(left(), 0, "{signal:?}");
    }
}

#[test]
fn a_hangup_that_is_ignored_stays_so() {
    use rustix::process::{Pid, Signal, kill_process};
    let folder = tempfile::tempdir().unwrap();
    let mut nohup = std::process::Command::new("sh");
    let serve = "trap '' HUP; exec \"$0\" serve --ephemeral";
    nohup.args(["-c", serve, env!("CARGO_BIN_EXE_managed-hsm-emulator")]);
    nohup.env("TMPDIR", folder.path()).stderr(Stdio::null());
    let (mut running, line) = started(nohup);
    assert!(line.contains("this is not an HSM"), "{line}");
    let pid = Pid::from_child(&running);
    kill_process(pid, Signal::HUP).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(running.try_wait().unwrap(), None);
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
}

#[test]
fn a_folder_of_two_lines_is_told_in_none() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("a\nPATH=b");
    let mut serve = program("serve", &data);
    let mut serving = serve
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let env = |format: &str| {
        let mut env = program("env", &data);
        env.args(["--wait", "30", "--format", format]);
        env.output().unwrap()
    };
    let (lines, shell) = (env("lines"), env("shell"));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&serving),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    serving.wait().unwrap();
    assert!(!lines.status.success() && lines.stdout.is_empty());
    let error = text(&lines.stderr);
    assert!(error.contains("AKV_CA_FILE has a line break"), "{error}");
    assert!(text(&shell.stdout).contains("a\nPATH=b/ca.pem"));
}

#[test]
fn run_keeps_keys_in_a_folder_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("emulator");
    let data = data.to_str().unwrap();
    assert!(
        run(&["--data-dir", data], "true")
            .status()
            .unwrap()
            .success()
    );
    assert!(folder.path().join("emulator/keys.sqlite3").exists());
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_managed-hsm-emulator"))
        .args(["run", "--", "no-such-program"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such-program can't be run: No such file"));
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

#[test]
fn a_data_file_that_others_can_read_is_refused_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let data = emulator.data().to_owned();
    assert!(emulator.stop().success());
    // All that a start has written is closed to others but for the certificate, or it would not
    // start again.
    assert!(Emulator::start(folder.path()).stop().success());
    let key = data.join("token-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = program("serve", &data).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("token-key.pem") && complaint.contains("chmod 600"),
        "{complaint}"
    );
}

#[test]
fn only_this_machine_reaches_an_emulator_that_was_not_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--control-port",
        "0",
        "--metadata-port",
        "0",
        "--vault",
        "fabrikam",
    ];
    let emulator = Emulator::start_with(folder.path(), &options);
    let listening = listening(emulator.process());
    assert_eq!(listening.len(), 4, "{listening:?}");
    assert!(
        listening.iter().all(|address| address.is_loopback()),
        "{listening:?}"
    );
    drop(emulator);

    let everyone = Emulator::start_with(folder.path(), &["--listen", "0.0.0.0"]);
    assert_eq!(
        self::listening(everyone.process()),
        [std::net::Ipv4Addr::UNSPECIFIED]
    );
}

/// The IPv4 addresses that a process listens at, as the kernel tells (proc(5)).
fn listening(process: u32) -> Vec<std::net::Ipv4Addr> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let sockets: Vec<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let address = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(3) == Some(&"0A");
        if !listens || !sockets.iter().any(|inode| inode == fields[9]) {
            return None;
        }
        let number = u32::from_str_radix(fields[1].split(':').next()?, 16).ok()?;
        Some(number.to_ne_bytes().into())
    };
    table.lines().filter_map(address).collect()
}

#[tokio::test]
async fn it_listens_on_any_address_of_the_loopback_and_says_where() {
    for (address, host) in [
        ("127.0.0.1", "localhost"),
        ("127.0.0.2", "127.0.0.2"),
        ("127.9.8.7", "127.9.8.7"),
        ("::1", "[::1]"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let emulator = Emulator::start_with(folder.path(), &["--listen", address]);
        let expected = format!("https://{host}:");
        assert!(emulator.url.starts_with(&expected), "{}", emulator.url);
        // By its certificate, too.
        let made = emulator.post("/keys/k/create", json!({"kty": "EC"})).await;
        let kid = made.success()["key"]["kid"].clone();
        assert!(kid.as_str().unwrap().starts_with(&expected), "{kid}");
        let printed = text(&emulator.run("env", &["--wait", "10"]).stdout);
        assert!(printed.contains(&emulator.url), "{printed}");
    }
}

#[tokio::test]
async fn a_port_keeps_no_more_connections_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--max-connections", "2"]);
    let path = format!("{}/keys", emulator.url);
    let clients = [(); 3].map(|()| emulator.another_client());
    for (index, client) in clients.iter().enumerate() {
        let answered = client.get(&path).send().await;
        assert_eq!(answered.is_ok(), index < 2, "{answered:?}");
    }
    let log = emulator.log();
    assert!(log.contains("one connection too many"), "{log}");
    drop(clients);
    for _ in 0..600 {
        if emulator.another_client().get(&path).send().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("no connection has become free");
}

#[tokio::test]
async fn latency_is_added_to_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--latency-ms", "120"]);
    let answer = emulator.get("/keys").await;
    let latency = answer.headers["x-ms-server-latency"].to_str().unwrap();
    assert!(latency.parse::<u64>().unwrap() >= 120, "{latency}");
}
