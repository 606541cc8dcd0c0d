//! One process, its threads and its children: how many connections they open, and that all of them
//! can sign.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;

use testing::built;

use crate::support::{EC_P256, Hsm, Outcome, RSA_2048, Request, program, skip, uri};

const KEYS: [(&str, &str); 2] = [("rsa", RSA_2048), ("ec", EC_P256)];

/// Runs `sign_loop` and returns the requests that it led to.
fn sign_loop(hsm: &Hsm, key: &str, threads: usize, signatures: usize) -> Vec<Request> {
    let program = hsm.compile("sign_loop");
    let before = hsm.requests().len();
    hsm.run(
        &program,
        &[&uri(key), &threads.to_string(), &signatures.to_string()],
    )
    .succeeds();
    hsm.requests().split_off(before)
}

/// How many requests each connection carried.
fn by_connection(requests: &[Request]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.connection).or_default() += 1;
    }
    counts
}

fn connections(requests: &[Request]) -> usize {
    by_connection(requests).len()
}

#[test]
fn two_hundred_signatures_open_one_connection() {
    let hsm = Hsm::with_keys(&KEYS);
    for (key, _) in KEYS {
        let requests = sign_loop(&hsm, key, 1, 200);
        assert_eq!(requests.len(), 201, "one GET and 200 signatures");
        assert_eq!(requests[0].method, "GET");
        assert!(requests[1..].iter().all(Request::is_sign));
        assert_eq!(connections(&requests), 1);
    }
}

#[test]
fn eight_threads_open_at_most_eight_connections() {
    let hsm = Hsm::with_keys(&KEYS);
    for (key, _) in KEYS {
        let requests = sign_loop(&hsm, key, 8, 25);
        assert_eq!(requests.len(), 201, "one GET and 200 signatures");
        assert!(
            connections(&requests) <= 8,
            "{} connections",
            connections(&requests)
        );
    }
}

#[test]
fn threads_with_small_stacks_sign() {
    let hsm = Hsm::with_keys(&KEYS);
    let program = hsm.compile("sign_loop");
    for (key, _) in KEYS {
        // What stunnel gives its threads.
        hsm.run(&program, &[&uri(key), "4", "3", "65536"])
            .succeeds();
    }
}

#[test]
fn signals_are_left_to_the_threads_of_the_application() {
    let hsm = Hsm::with_keys(&KEYS[..1]);
    let program = hsm.compile("signals");
    hsm.run(&program, &[&uri(KEYS[0].0)]).succeeds();
}

#[test]
fn a_process_ends_with_the_last_thread_of_the_applications() {
    let hsm = Hsm::with_keys(&KEYS[..1]);
    let program = hsm.compile("last_thread");
    hsm.run("timeout", &["-s", "KILL", "30", &program, &uri(KEYS[0].0)])
        .succeeds();
}

/// What Rust keeps for a thread has gone by then.
#[test]
fn keys_are_read_and_sign_after_a_threads_variables_have_gone() {
    let hsm = Hsm::with_keys(&KEYS[..1]);
    let key = hsm.path("key.pem");
    hsm.akv(&["key", "pem", &uri(KEYS[0].0), "--out", &key])
        .succeeds();
    let program = hsm.compile("late");
    for place in ["atexit", "thread"] {
        let before = hsm.requests().len();
        let outcome = hsm.run(&program, &[&key, place]);
        outcome.succeeds();
        assert!(!outcome.text().contains("panicked"), "{outcome:?}");
        let requests = hsm.requests();
        let signed = requests[before..].iter().filter(|one| one.is("sign"));
        assert_eq!(signed.count(), 2, "{place}: {requests:?}");
    }
}

#[test]
fn a_child_of_a_signal_handler_leaves_the_request_in_flight_to_its_parent() {
    // Most of the time a request is waited for.
    let hsm = Hsm::start_with(&["--latency-ms", "10"]);
    hsm.create(KEYS[0].0, KEYS[0].1);
    let program = hsm.compile("fork_in_handler");
    hsm.run(&program, &[&uri(KEYS[0].0), "100"]).succeeds();
}

#[test]
fn children_and_parent_sign_with_a_key_loaded_before_fork() {
    let hsm = Hsm::with_keys(&KEYS);
    let program = hsm.compile("fork_sign");
    for (key, _) in KEYS {
        // Each of four children signs three times, over one connection of its own. Their parent has
        // one as well, for the key and two or three signatures; or up to five, where four of its
        // threads sign beside.
        for (order, connections) in [
            ("sign-first", 5..=5),
            ("fork-first", 5..=5),
            ("threads", 5..=9),
        ] {
            let before = hsm.requests().len();
            hsm.run(&program, &[&uri(key), order]).succeeds();
            let counts = by_connection(&hsm.requests()[before..]);
            let of_children = counts.values().filter(|count| **count == 3).count();
            assert!(
                connections.contains(&counts.len()) && of_children >= 4,
                "{order}: {counts:?}"
            );
        }
    }
}

#[test]
fn a_process_and_its_child_sign_by_connections_that_they_have_opened_ahead() {
    let mut hsm = Hsm::with_keys(&KEYS);
    hsm.set("AKV_CONNECTIONS_AHEAD", "1");
    let program = hsm.compile("ahead");
    for (key, _) in KEYS {
        let before = hsm.requests().len();
        hsm.run(&program, &[&uri(key)]).succeeds();
        let counts = by_connection(&hsm.requests()[before..]);
        let counts: Vec<_> = counts.into_values().collect();
        // The parent loads the key and signs twice, the child signs once.
        assert!(counts == [3, 1] || counts == [1, 3], "{counts:?}");
    }
}

/// Each of the two is process 1 of its PID namespace, as the first process of a container and a
/// sandbox within it are.
#[test]
fn a_child_that_has_its_parents_number_has_connections_of_its_own() {
    let hsm = Hsm::with_keys(&KEYS[..1]);
    let program = hsm.compile("fork_sign");
    // Root may make one as it is, others in a user namespace, which root may not make in a chroot.
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let ways = ways.map(|way| [way, &["--pid", "--fork"]].concat());
    let works = |way: &&Vec<&str>| {
        let tried = hsm.run("unshare", &[&way[..], &["true"]].concat());
        tried.is_success()
    };
    let Some(namespace) = ways.iter().find(works) else {
        return skip("a child with its parent's number: no PID namespace may be made");
    };
    let key = uri(KEYS[0].0);
    for child in ["namespace", "clone"] {
        let before = hsm.requests().len();
        let program: [&str; 3] = [&program, &key, child];
        hsm.run("unshare", &[&namespace[..], &program].concat())
            .succeeds();
        // The parent asks for the key and signs three times, the child signs three times.
        let counts = by_connection(&hsm.requests()[before..]);
        let counts: Vec<usize> = counts.into_values().collect();
        assert_eq!(counts, [4, 3], "{child}");
    }
}

/// The locks of the log, of the resolver and of AWS-LC's random generators.
#[test]
fn no_child_waits_for_a_lock_that_a_thread_of_its_parent_held() {
    let mut hsm = Hsm::with_keys(&KEYS);
    let log = hsm.path("log");
    hsm.set("RUST_LOG", "trace");
    hsm.set("AKV_LOG_FILE", &log);
    let program = hsm.compile("fork_sign");
    hsm.run(&program, &[&uri("ec"), "threads", "75"]).succeeds();
    assert!(std::fs::metadata(&log).is_ok_and(|log| log.len() > 0));
}

#[test]
fn the_provider_can_be_unloaded_and_loaded_again() {
    let hsm = Hsm::with_keys(&KEYS);
    let program = hsm.compile("reload");
    for (key, _) in KEYS {
        hsm.run(&program, &[&uri(key), "5"]).succeeds();
    }
}

#[test]
fn a_process_may_exit_without_freeing_anything() {
    let hsm = Hsm::with_keys(&KEYS);
    let program = hsm.compile("reload");
    hsm.run(&program, &[&uri("ec"), "leave"]).succeeds();
}

/// The C library ends a process that has no memory for the first destructor of a thread's.
#[test]
fn a_process_that_never_used_the_provider_ends_well_without_memory() {
    let hsm = Hsm::start();
    let program = hsm.compile("no_memory");
    hsm.run(&program, &[]).succeeds();
}

/// AWS-LC would end the process.
#[test]
fn a_process_that_is_refused_random_bytes_goes_on_and_is_told() {
    let hsm = Hsm::with_keys(&KEYS[..1]);
    let program = hsm.compile("no_random");
    for before in ["load", "child", "encrypt"] {
        let told = hsm.run(&program, &[&uri(KEYS[0].0), before]).succeeds();
        assert!(told.contains("allow getrandom"), "{before}: {told}");
    }
}

#[test]
fn a_process_that_may_start_no_thread_signs() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let message = hsm.write("message", "to be signed");
    // The limit is not for root, so it is somebody else, who may read the test's files all the
    // same.
    let is_root = std::fs::metadata("/proc/self").expect("a process").uid() == 0;
    let other = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ];
    let limited = ["prlimit", "--nproc=0"];
    let key = uri("rsa");
    let providers = ["-provider", "akv_provider", "-provider", "default"];
    let sign = [&["openssl", "dgst"], &providers[..]].concat();
    let what = ["-sha256", "-sign", &key, "-hex", &message];
    let outcome = match is_root {
        true => hsm.run("setpriv", &[&other[..], &limited, &sign, &what].concat()),
        false => hsm.run(limited[0], &[&limited[1..], &sign, &what].concat()),
    };
    outcome.succeeds();
    assert!(!outcome.text().contains("panicked"), "{}", outcome.text());
}

/// The first use of a process takes descriptors for the resolver, for files that settings name, for
/// event loops and for connections: the limit meets each of them in turn.
#[test]
fn a_process_that_may_open_few_files_is_told_to_raise_the_limit_or_works() {
    let mut hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let key = uri("rsa");
    let akv = |words: [&str; 2]| {
        vec![
            built::program("akv").into(),
            words[0].into(),
            words[1].into(),
        ]
    };
    let mut sign = program("openssl");
    let words = "dgst -provider akv_provider -provider default -sha256 -hex -sign";
    sign.extend(words.split(' ').map(OsString::from));
    // akv asks by the client of the modules, and by Microsoft's.
    let programs: [(_, Vec<OsString>); 3] = [
        (Some(1), sign),
        (None, akv(["key", "pem"])),
        (None, akv(["keys", "show"])),
    ];
    for logs_in in [false, true] {
        if logs_in {
            hsm.log_in();
        }
        for (status, words) in &programs {
            // With three the loader finds no libraries.
            let works = [4, 5, 6, 7, 8, 10, 32].map(|limit| {
                let mut line = vec!["prlimit".into(), format!("--nofile={limit}").into()];
                line.extend_from_slice(words);
                line.push(key.clone().into());
                let outcome = Outcome::of(hsm.limited(&line));
                let text = outcome.text();
                assert!(!text.contains("panicked"), "{limit}: {text}");
                if !outcome.is_success() {
                    outcome.fails_with(&["Too many open files", "raise the limit of open files"]);
                    assert!(
                        status.is_none() || outcome.code() == *status,
                        "{limit}: {text}"
                    );
                }
                outcome.is_success()
            });
            let [few, .., enough] = works;
            assert!(!few && enough, "{words:?}: {works:?}");
        }
    }
}
