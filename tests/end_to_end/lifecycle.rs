//! How a process ends, becomes another or multiplies while it signs; and a great many signers in
//! one.

use std::collections::HashSet;

use crate::support::{EC_P256, Hsm, RSA_2048, sample, skip, uri, whole};

/// How often each.
fn times() -> &'static str {
    if whole() { "200" } else { "40" }
}

/// An HSM that takes its time, so that requests are under way when something happens. Signatures
/// with `slow` take longer than a process takes to end.
fn slow_hsm() -> Hsm {
    let fault = "slow-first-byte,path=/keys/slow,operation=sign,delay_ms=60000";
    let hsm = Hsm::start_with(&["--latency-ms", "15", "--fault", fault]);
    hsm.create("ec", EC_P256);
    hsm.create("slow", EC_P256);
    hsm
}

fn lives_through(mode: &str) {
    let mut hsm = slow_hsm();
    // For the slow signatures, which nobody waits for.
    hsm.set("AKV_OPERATION_TIMEOUT", "100");
    let program = hsm.compile("lifecycle");
    let (ec, slow) = (uri("ec"), uri("slow"));
    let arguments: &[&str] = match mode {
        "exit-in-flight" => &[mode, &slow, times()],
        "fork" => &[mode, &ec, times(), &slow],
        _ => &[mode, &ec, times()],
    };
    let printed = hsm.run(&program, arguments).succeeds();
    eprintln!("{mode}: {}", printed.trim());
    assert!(!printed.is_empty());
}

#[test]
fn a_process_may_exit_when_it_has_signed() {
    lives_through("exit");
}

#[test]
fn a_process_may_exit_while_requests_are_under_way() {
    lives_through("exit-in-flight");
}

#[test]
fn a_process_may_exit_while_its_threads_sign() {
    lives_through("exit-busy");
}

#[test]
fn a_process_may_be_terminated_while_it_signs() {
    lives_through("term");
}

#[test]
fn a_process_may_fork_while_requests_are_under_way() {
    lives_through("fork");
}

#[test]
fn a_process_may_become_another_while_it_signs() {
    lives_through("exec");
}

#[test]
fn a_provider_may_be_unloaded_and_its_library_context_freed_while_threads_sign() {
    lives_through("unload");
}

#[test]
fn a_process_may_end_with_tls_connections_open() {
    lives_through("tls-open");
}

#[test]
fn a_process_may_end_in_the_middle_of_a_handshake() {
    lives_through("tls-busy");
}

#[test]
fn no_way_to_end_reads_what_is_not_there() {
    let hsm = slow_hsm();
    let program = hsm.compile("lifecycle");
    if !hsm.run("valgrind", &["--version"]).is_success() {
        skip("the life cycle under valgrind: valgrind is not installed here");
        return;
    }
    for mode in sample(vec!["unload", "exit", "tls-open"], 3) {
        let valgrind = ["--quiet", "--error-exitcode=99", "--trace-children=yes"];
        let key = uri("ec");
        let arguments = [&valgrind[..], &[&program, mode, &key, "4"]].concat();
        hsm.run("valgrind", &arguments).succeeds();
    }
}

/// A number that a program printed after its name.
fn figure(printed: &str, name: &str) -> f64 {
    let line = printed.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {printed}"))
}

#[test]
fn a_thousand_signers_are_served_on_twenty_connections() {
    const CONNECTIONS: usize = 20;
    let mut hsm = Hsm::start_with(&["--latency-ms", "5"]);
    // However long a thousand requests take that the HSM has at once, none is sent again.
    hsm.set("AKV_RESPONSE_TIMEOUT", "300");
    hsm.set("AKV_OPERATION_TIMEOUT", "300");
    hsm.create("rsa", RSA_2048);
    hsm.create("ec", EC_P256);
    let program = hsm.compile("many_signers");
    for (mode, key, threads) in [
        // Those that sign, the first thread, the one that looks on, the I/O thread, which closes
        // idle connections, and one for look-ups of names on each connection.
        ("threads", "ec", 1000 + 3 + CONNECTIONS),
        // The I/O thread, and one for its look-ups.
        ("jobs", "rsa", 4),
    ] {
        let before = hsm.requests().len();
        let arguments = [mode, &uri(key), "1000", "5"];
        let printed = hsm.run(&program, &arguments).succeeds();
        assert_eq!(figure(&printed, "served"), 5000.0);
        let requests = hsm.requests().split_off(before);
        let signs = requests.iter().filter(|request| request.is_sign());
        assert_eq!(signs.count(), 5000, "each is asked for once");
        let connections: HashSet<_> = requests.iter().map(|it| it.connection).collect();
        assert!(connections.len() <= CONNECTIONS, "{}", connections.len());
        let figures = printed.trim().replace('\n', ", ");
        eprintln!("{mode}: {figures}, connections {}", connections.len());
        assert!(figure(&printed, "threads") <= threads as f64, "{printed}");
        // A connection of a thread's has an event loop of its own; a job has an event to wait for.
        let each = if mode == "jobs" { 1000 } else { 0 };
        let descriptors = 32 + 5 * CONNECTIONS + each;
        assert!(
            figure(&printed, "descriptors") <= descriptors as f64,
            "{printed}"
        );
    }
}
