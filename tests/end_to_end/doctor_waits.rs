//! `akv doctor` where the HSM is slow: when it ends all the same, and what it says meanwhile.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use testing::built;

use crate::support::{EC_P256, Hsm, Outcome, skip};

const TARGET: &str = "managedhsm:MyHSM:k";

/// How long it takes to measure does not depend on how slow the HSM is.
#[test]
fn a_slow_hsm_is_measured_for_ten_seconds_and_no_longer() {
    let hsm = Hsm::start_with(&["--latency-ms", "2000"]);
    hsm.create("k", EC_P256);
    let mut command = hsm.akv_command(&["doctor", TARGET, "--samples", "20"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut doctor = command.spawn().expect("akv runs");
    let mut lines = BufReader::new(doctor.stdout.take().expect("a pipe")).lines();
    let mut next = |begin: &str| {
        let mut lines = lines.by_ref().map(|line| line.expect("text"));
        let found = lines.find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("no {begin}"))
    };
    next("ok       sign");
    let started = Instant::now();
    let told = next("ok       latency");
    let took = started.elapsed();
    let limit = Duration::from_secs(10);
    assert!(
        took >= limit && took < limit + Duration::from_secs(3),
        "{took:?}"
    );
    // Six requests of two seconds begin within ten.
    let words =
        " of 20 requests, in the 10 s that are allowed, one after the other: half within 2.";
    assert!(told.contains(words), "{told}");
    for part in told.rsplit(", ").take(2) {
        let value = part
            .split("within ")
            .nth(1)
            .and_then(|it| it.strip_suffix(" s"));
        let seconds: f64 = value.unwrap_or_default().parse().unwrap_or_default();
        assert!((2.0..5.0).contains(&seconds), "{told}");
    }
    let output = doctor.wait_with_output().expect("it ends");
    // What it is doing is for who sits in front of a terminal.
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn on_a_terminal_it_says_what_it_is_doing_when_that_takes_longer() {
    if !testing::is_there("script") {
        return skip("script is not installed: there is no terminal for akv doctor to be on");
    }
    let hsm = Hsm::start_with(&["--latency-ms", "1800"]);
    hsm.create("k", EC_P256);
    let akv = built::program("akv");
    // A terminal without a size has no room for words.
    let line = format!(
        "stty cols 120 rows 40; exec {} doctor {TARGET} --samples 1",
        akv.display()
    );
    let line = [
        "script",
        "--quiet",
        "--return",
        "--command",
        &line,
        "/dev/null",
    ];
    let mut command = hsm.limited(&line.map(Into::into));
    let outcome = Outcome::of({
        command.env("TERM", "xterm");
        command
    });
    let told = outcome.succeeds();
    for words in [
        "asking localhost who it is",
        "asking for managedhsm:MyHSM:k",
        "using managedhsm:MyHSM:k once: sign",
        "measuring 1 requests, for 10 s at most",
    ] {
        assert!(told.contains(words), "{words}: {told:?}");
    }
    // What is done at once is not told, and what was told gives way to what came of it.
    assert!(!told.contains("reading the configuration"), "{told:?}");
    let shown = told
        .rfind("measuring 1 requests")
        .zip(told.find("latency  "));
    let (measuring, latency) = shown.expect("both");
    let between = &told[measuring..latency];
    assert!(between.contains("\u{1b}[2K"), "{between:?}");
}
