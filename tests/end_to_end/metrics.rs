//! Metrics of programs that use the provider: the file of each process, its socket, and `akv top`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testing::prometheus::Metrics;

use crate::support::{EC_P256, Hsm, skip, uri};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// An emulator with the key `ec`, and folders for metrics.
fn start(options: &[&str]) -> Hsm {
    let mut hsm = Hsm::start_with(options);
    hsm.create("ec", EC_P256);
    for (variable, folder) in [
        ("AKV_METRICS_FOLDER", "files"),
        ("AKV_METRICS_SOCKETS", "sockets"),
    ] {
        fs::create_dir(hsm.file(folder)).expect("a folder");
        let path = hsm.path(folder);
        hsm.set(variable, &path);
    }
    hsm
}

/// A program that does what it is told.
struct Metered {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Metered {
    fn start(hsm: &Hsm, program: &str) -> Self {
        let mut command = hsm.command(program);
        command.arg(uri("ec")).stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        Self {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().expect("a pipe")),
            process,
        }
    }

    /// What it answers to a line.
    fn told(&mut self, line: &str) -> String {
        let input = self.input.as_mut().expect("it goes on");
        writeln!(input, "{line}").expect("it reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("it writes");
        answer.trim_end().to_owned()
    }

    /// The same of a child that it forks: its number, and what it answers.
    fn child(&mut self, signatures: usize) -> (u64, String) {
        let answer = self.told(&format!("child {signatures}"));
        let words: Vec<&str> = answer.splitn(3, ' ').collect();
        (words[1].parse().expect("a number"), words[2].to_owned())
    }

    fn ends(mut self) {
        drop(self.input.take());
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// What comes of `look`, after a while.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What `akv top` tells of the processes.
fn top(hsm: &Hsm) -> Vec<Value> {
    let shown = hsm.akv(&["top", "--json"]).json();
    shown["processes"].as_array().expect("processes").clone()
}

/// What it tells of a process's signatures. None: it tells of none.
fn signatures(process: &Value) -> Option<&Value> {
    let mut keys = process["keys"].as_array()?.iter();
    keys.find(|key| key["operation"] == "sign")
}

/// The file of a process.
fn file(hsm: &Hsm, pid: u64) -> PathBuf {
    hsm.file(&format!("files/akv_provider-{pid}.prom"))
}

fn kill(pid: u64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::KILL).expect("it is there");
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}

#[test]
fn what_a_program_does_is_counted_until_it_ends() {
    let faults = [
        "--fault",
        "throttled,operation=sign,count=2",
        "--fault",
        "unavailable,operation=sign,count=1",
    ];
    let hsm = start(&faults);
    let mut program = Metered::start(&hsm, &hsm.compile("metered"));
    assert_eq!(program.told("sign 20"), "signed 20");
    let process = eventually("akv top shows no process", || top(&hsm).pop());
    let pid = process["pid"].as_u64().expect("a number");
    assert_eq!(process["program"], "metered");
    assert_eq!(process["front_end"], "akv_provider");
    assert!(
        process["token_seconds_left"]
            .as_u64()
            .is_some_and(|left| left > 0)
    );
    let signing = signatures(&process).expect("there are some");
    assert_eq!(signing["outcomes"], json!({"ok": 20}));
    assert_eq!(signing["retries"], json!({"429": 2, "503": 1}));
    assert_eq!(
        (&signing["throttled"], &signing["key"]),
        (&json!(2), &json!("ec"))
    );
    assert!(signing["p50_ms"].as_f64() <= signing["p99_ms"].as_f64());

    let file = file(&hsm, pid);
    let labels = [("program", "metered"), ("key", "ec"), ("operation", "sign")];
    let read = eventually("the file lacks signatures", || {
        let read = Metrics::read(&fs::read_to_string(&file).ok()?).expect("it is good");
        (read.sum("akv_operations_total", &labels) == Some(20.0)).then_some(read)
    });
    assert_eq!(read.sum("akv_throttled_total", &labels), Some(2.0));
    assert_eq!(read.sum("akv_request_retries_total", &labels), Some(3.0));
    assert_eq!(
        read.sum("akv_operation_duration_seconds_count", &labels),
        Some(20.0)
    );
    program.ends();
    assert!(is_empty(&hsm.file("files")) && is_empty(&hsm.file("sockets")));
}

#[test]
fn failures_are_counted_by_their_code() {
    let mut hsm = start(&["--fault", "throttled,operation=sign,count=3"]);
    hsm.set("AKV_MAX_RETRIES", "0");
    let mut program = Metered::start(&hsm, &hsm.compile("metered"));
    assert_eq!(program.told("sign 5"), "signed 2");
    let process = eventually("akv top shows no process", || top(&hsm).pop());
    let signing = signatures(&process).expect("there are some");
    assert_eq!(signing["outcomes"], json!({"ok": 2, "Throttled": 3}));
    assert_eq!(
        (&signing["failed"], &signing["retries"]),
        (&json!(3), &json!({}))
    );
    program.ends();
}

#[test]
fn a_child_begins_at_zero_and_what_a_killed_one_leaves_is_removed() {
    let hsm = start(&[]);
    let program = hsm.compile("metered");
    let mut parent = Metered::start(&hsm, &program);
    assert_eq!(parent.told("sign 7"), "signed 7");
    let (child, answer) = parent.child(3);
    assert_eq!(answer, "signed 3");
    let both = eventually("akv top shows no two processes", || {
        Some(top(&hsm)).filter(|all| all.len() == 2)
    });
    for process in &both {
        let expected = if process["pid"] == child { 3 } else { 7 };
        let signing = signatures(process).expect("there are some");
        assert_eq!(signing["operations"], expected, "{both:?}");
    }
    let left = file(&hsm, child);
    eventually("the child has no file", || left.exists().then_some(()));
    kill(child);
    let shown = hsm.akv(&["top", "--json"]).json();
    assert_eq!(
        shown["silent"][0]["problem"], "its process has ended",
        "{shown}"
    );
    // Another process is the next to write.
    let mut another = Metered::start(&hsm, &program);
    assert_eq!(another.told("sign 1"), "signed 1");
    eventually("the killed one's file stays", || {
        (!left.exists()).then_some(())
    });
    another.ends();
    assert_eq!(parent.told("sign 1"), "signed 1");
    parent.ends();
    assert!(is_empty(&hsm.file("files")));
}

#[test]
fn a_program_that_closes_all_descriptors_keeps_its_own_and_its_metrics() {
    let hsm = start(&[]);
    let mut program = Metered::start(&hsm, &hsm.compile("metered"));
    assert_eq!(program.told("sign 2"), "signed 2");
    eventually("akv top shows no process", || top(&hsm).pop());
    for signed in [4, 6] {
        assert_eq!(program.told("close"), "closed");
        assert_eq!(program.told("sign 2"), "signed 2");
        eventually("the socket does not come again", || {
            let process = top(&hsm).pop()?;
            (signatures(&process)?["operations"] == signed).then_some(())
        });
        assert_eq!(program.told("check"), "checked");
    }
    program.ends();
    assert!(is_empty(&hsm.file("files")) && is_empty(&hsm.file("sockets")));
}

/// Its thread takes no signal, and is not what keeps a process from ending.
#[test]
fn programs_end_as_they_do_without_metrics() {
    let hsm = start(&[]);
    for (name, arguments) in [
        // With as many threads of the provider's own.
        ("last_thread", &[uri("ec"), "2".to_owned()][..]),
        ("signals", &[uri("ec"), "2".to_owned()]),
        ("fork_in_handler", &[uri("ec"), "50".to_owned()]),
        ("fork_sign", &[uri("ec"), "threads".to_owned()]),
        ("descriptors", &[uri("ec")]),
        ("cancel", &[uri("ec")]),
    ] {
        let program = hsm.compile(name);
        let mut line = vec!["-s", "KILL", "60", &program];
        line.extend(arguments.iter().map(String::as_str));
        hsm.run("timeout", &line).succeeds();
    }
}

#[test]
fn processes_that_exit_or_unload_the_provider_leave_nothing() {
    let hsm = start(&["--latency-ms", "5"]);
    let program = hsm.compile("lifecycle");
    for mode in ["exit", "exit-busy", "unload"] {
        hsm.run(&program, &[mode, &uri("ec"), "10"]).succeeds();
        for folder in ["files", "sockets"] {
            assert!(is_empty(&hsm.file(folder)), "{mode}: {folder}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_keeps_nobody_from_signing() {
    let mut hsm = start(&[]);
    for (variable, path) in [
        ("AKV_METRICS_FOLDER", "/nonexistent/files"),
        ("AKV_METRICS_SOCKETS", "/nonexistent/sockets"),
        ("AKV_LOG_LEVEL", "warn"),
    ] {
        hsm.set(variable, path);
    }
    hsm.set("AKV_LOG_FILE", &hsm.path("log"));
    let mut program = Metered::start(&hsm, &hsm.compile("metered"));
    assert_eq!(program.told("sign 2"), "signed 2");
    let log = hsm.file("log");
    eventually("the log does not say so", || {
        let log = fs::read_to_string(&log).ok()?;
        let says = |words: &str| log.contains(words);
        (says("/nonexistent/files/") && says("/nonexistent/sockets/")).then_some(())
    });
    program.ends();
}

#[test]
fn a_screen_shows_a_process_and_leaves_the_terminal_as_it_was() {
    if !testing::is_there("script") {
        return skip("metrics: script(1) is needed for a terminal");
    }
    let hsm = start(&[]);
    let mut program = Metered::start(&hsm, &hsm.compile("metered"));
    assert_eq!(program.told("sign 3"), "signed 3");
    eventually("akv top shows no process", || top(&hsm).pop());
    let akv = testing::built::program("akv");
    let akv = akv.display();
    for (key, name) in [("q", "q"), ("\u{3}", "Ctrl-C")] {
        let line = format!("stty rows 20 cols 100; stty -a; {akv} top --interval 0.2; stty -a");
        let mut command = hsm.command("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]);
        command.env("TERM", "xterm").stdin(Stdio::piped());
        let mut script = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut input = script.stdin.take().expect("a pipe");
        std::thread::sleep(Duration::from_secs(3));
        write!(input, "{key}").expect("it reads");
        let output = script.wait_with_output().expect("it ends");
        drop(input);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}");
        let (before, rest) = text.split_once("\u{1b}[?1049h").expect("a screen");
        let (screen, after) = rest.split_once("\u{1b}[?1049l").expect("its end");
        for words in [
            "akv top: 1 process;",
            "metered",
            "MyHSM:ec@",
            "akv_provider",
        ] {
            assert!(screen.contains(words), "{words}: {screen}");
        }
        assert_eq!(after.trim(), before.trim(), "{name}");
    }
    program.ends();
}

#[test]
fn top_says_where_it_looks_for_sockets_if_nobody_has_told() {
    let mut hsm = start(&[]);
    hsm.akv(&["top", "--json"]).succeeds();
    let text = hsm.akv(&["top"]).succeeds();
    assert_eq!(text, "No process tells what it does.\n");
    hsm.unset("AKV_METRICS_SOCKETS");
    hsm.akv(&["top"])
        .fails_with(&["--sockets", "metrics-sockets", "AKV_METRICS_SOCKETS"]);
    hsm.akv(&["top", "--sockets", "/nonexistent"])
        .fails_with(&["/nonexistent"]);
    hsm.set("AKV_METRICS_FOLDER", "relative");
    hsm.akv(&["keys", "list", "managedhsm:MyHSM"])
        .fails_with(&["AKV_METRICS_FOLDER", "whole path"]);
}
