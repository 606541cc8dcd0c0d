//! Signatures a second, their latency and what they cost: by the provider, by the PKCS#11 module,
//! by a bare HTTP client that sends the same requests, and by a software key; all in one run, by
//! threads and by the latency that the HSM adds.
//!
//! `cargo bench --bench signatures -- [--key ec|rsa|ml-dsa] [--threads 1,8,64] [--latency 0,2,10,50] [--seconds 2] [--rounds 5] [--ways bare,provider,io-thread,pkcs11,software] [--json FILE]`
//!
//! The key `ml-dsa` is one of ML-DSA-65. Where libcrypto is older than 3.5 it knows none, so that
//! the ways `provider`, `io-thread` and `software` are left out. It needs `AKV_API_VERSION`.

mod common;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;
use std::time::Instant;

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectClass};
use openssl::pkey::{PKey, Private};

use common::keys::KeyKind;
use common::{Emulator, load_key, load_module, load_providers, median, session};

/// How the signatures are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// OpenSSL with the provider: the threads that sign drive the connections.
    Provider,
    /// The same by threads whose stacks are too small for that: each hands its request over to the
    /// provider's I/O thread, and waits.
    IoThread,
    /// C_SignInit and C_Sign of the PKCS#11 module, each thread with a session of its own.
    Pkcs11,
    /// The same requests by reqwest, each thread with a client and an event loop of its own.
    Bare,
    /// The same requests by reqwest, a task for each thread, on as many threads as there are cores:
    /// what a program could do that isn't called from threads, as OpenSSL is.
    Tasks,
    /// A software key in OpenSSL.
    Software,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Bare,
        Self::Tasks,
        Self::Provider,
        Self::IoThread,
        Self::Pkcs11,
        Self::Software,
    ];

    fn is_by_openssl(self) -> bool {
        matches!(self, Self::Provider | Self::IoThread | Self::Software)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::IoThread => "io-thread",
            Self::Pkcs11 => "pkcs11",
            Self::Bare => "bare",
            Self::Tasks => "tasks",
            Self::Software => "software",
        }
    }
}

/// Bytes that Rust gives a thread's stack, and too few for a request.
const USUAL_STACK: usize = 2 << 20;
const SMALL_STACK: usize = 128 << 10;

/// What one round showed.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Signatures a second.
    rate: f64,
    /// Of one signature, in seconds.
    median: f64,
    p99: f64,
    /// CPU time of this process for one signature, in seconds.
    cpu: f64,
}

struct Options {
    key: KeyKind,
    threads: Vec<usize>,
    latencies: Vec<u64>,
    seconds: f64,
    rounds: usize,
    ways: Vec<Way>,
    json: Option<PathBuf>,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self {
            key: KeyKind::Ec,
            threads: vec![1, 8, 64],
            latencies: vec![0, 2, 10, 50],
            seconds: 2.0,
            rounds: 5,
            ways: Way::ALL.to_vec(),
            json: None,
        };
        for (name, value) in common::options() {
            let numbers = || {
                value
                    .split(',')
                    .map(|number| number.parse().expect("a number"))
            };
            match name.as_str() {
                "--key" => options.key = KeyKind::by_name(&value),
                "--threads" => options.threads = numbers().map(|n: u64| n as usize).collect(),
                "--latency" => options.latencies = numbers().collect(),
                "--seconds" => options.seconds = value.parse().expect("a number"),
                "--rounds" => options.rounds = value.parse().expect("a number"),
                "--ways" => {
                    let named = |name: &str| Way::ALL.into_iter().find(|way| way.name() == name);
                    options.ways = value
                        .split(',')
                        .map(|name| named(name).expect("a way"))
                        .collect();
                }
                "--json" => options.json = Some(value.clone().into()),
                other => panic!("unknown option {other}"),
            }
        }
        let known = options.key.is_known_to_openssl();
        options.ways.retain(|way| known || !way.is_by_openssl());
        options
    }
}

/// A client that keeps its connections, as anybody would write it.
fn bare_client(emulator: &Emulator) -> reqwest::Client {
    let ca = std::fs::read(emulator.variable("AKV_CA_FILE")).expect("the CA can be read");
    let ca = reqwest::Certificate::from_pem(&ca).expect("the CA is PEM");
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .http1_only()
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .expect("a client")
}

fn create(
    runtime: &tokio::runtime::Runtime,
    client: &reqwest::Client,
    emulator: &Emulator,
    kind: KeyKind,
) -> String {
    let url = format!(
        "{}/keys/k/create?api-version={}",
        emulator.variable("AZURE_MANAGEDHSM_URL"),
        kind.api_version()
    );
    let answer = runtime.block_on(async {
        let request = client
            .post(url)
            .bearer_auth(emulator.variable("AZURE_CLI_ACCESS_TOKEN"))
            .header("content-type", "application/json")
            .body(kind.creation());
        request
            .send()
            .await
            .expect("an answer")
            .bytes()
            .await
            .expect("a body")
    });
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    answer["key"]["kid"].as_str().expect("a key").to_owned()
}

/// A moment of the measurement.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    /// CPU time of this process until then, in seconds.
    cpu: f64,
}

impl Mark {
    fn now() -> Self {
        // SAFETY: all zeros are a valid timespec, and the call only writes to it.
        let time = unsafe {
            let mut time: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time);
            time
        };
        Self {
            at: Instant::now(),
            cpu: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9,
        }
    }
}

/// What one thread measured. It reads the clock itself: a thread that waits for it may get no
/// processor until it is done.
struct Run {
    began: Mark,
    ended: Mark,
    /// How long each signature took, in seconds.
    times: Vec<f64>,
}

/// All threads together, from the first one's begin to the last one's end.
fn round(runs: Vec<Run>) -> Round {
    let began = runs.iter().map(|run| run.began);
    let ended = runs.iter().map(|run| run.ended);
    let first = began.min_by_key(|mark| mark.at).expect("a thread");
    let last = ended.max_by_key(|mark| mark.at).expect("a thread");
    let elapsed = (last.at - first.at).as_secs_f64();
    let threads = runs.len() as f64;
    let mut all: Vec<f64> = runs.into_iter().flat_map(|run| run.times).collect();
    all.sort_by(f64::total_cmp);
    let busy: f64 = all.iter().sum();
    assert!(
        busy <= threads * elapsed,
        "{threads} threads signed for {busy} s in {elapsed} s"
    );
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Round {
        rate: all.len() as f64 / elapsed,
        median: at(0.5),
        p99: at(0.99),
        cpu: (last.cpu - first.cpu) / all.len() as f64,
    }
}

/// Signs once, waits for the others, and signs for so long.
fn timed(barrier: &Barrier, seconds: f64, sign: impl Fn()) -> Run {
    sign();
    barrier.wait();
    let began = Mark::now();
    let mut times = Vec::new();
    while began.at.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        sign();
        times.push(began.elapsed().as_secs_f64());
    }
    let ended = Mark::now();
    Run {
        began,
        ended,
        times,
    }
}

/// Signs in so many threads, with stacks of so many bytes, for so long.
fn by_openssl(
    key: &PKey<Private>,
    kind: KeyKind,
    threads: usize,
    stack: usize,
    seconds: f64,
) -> Round {
    let barrier = Barrier::new(threads);
    let sign = || {
        let signature = kind.signer(key).sign_oneshot_to_vec(b"message");
        signature.expect("a signature");
    };
    in_threads(threads, stack, || timed(&barrier, seconds, sign))
}

/// Signs with the key `k` of the module in so many threads for so long.
fn by_pkcs11(module: &Pkcs11, kind: KeyKind, threads: usize, seconds: f64) -> Round {
    let first = session(module);
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(b"k".to_vec()),
    ];
    let key = first.find_objects(&template).expect("a search")[0];
    let barrier = Barrier::new(threads);
    in_threads(threads, USUAL_STACK, || {
        let own = session(module);
        let mechanism = kind.mechanism();
        let sign = || drop(own.sign(&mechanism, key, b"message").expect("a signature"));
        timed(&barrier, seconds, sign)
    })
}

/// The same in so many threads.
fn in_threads(threads: usize, stack: usize, run: impl Fn() -> Run + Sync) -> Round {
    std::thread::scope(|scope| {
        let start = |_| {
            let thread = std::thread::Builder::new().stack_size(stack);
            thread.spawn_scoped(scope, &run).expect("a thread")
        };
        let workers: Vec<_> = (0..threads).map(start).collect();
        let runs = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker"));
        round(runs.collect())
    })
}

/// Sends the requests for so long, in so many threads.
fn by_bare_client(
    emulator: &Emulator,
    url: &str,
    body: &str,
    threads: usize,
    seconds: f64,
) -> Round {
    let barrier = Barrier::new(threads);
    let token = emulator.variable("AZURE_CLI_ACCESS_TOKEN");
    in_threads(threads, USUAL_STACK, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let client = bare_client(emulator);
        let sign = || runtime.block_on(request(&client, url, token, body));
        timed(&barrier, seconds, sign)
    })
}

/// Has the HSM sign, and looks at the answer.
async fn request(client: &reqwest::Client, url: &str, token: &str, body: &str) {
    let answer = client
        .post(url)
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .expect("an answer");
    let body = answer.bytes().await.expect("a body");
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(answer["value"].is_string());
}

/// Sends the requests for so long, so many at a time.
fn by_tasks(
    runtime: &tokio::runtime::Runtime,
    client: &reqwest::Client,
    url: &str,
    token: &str,
    body: &str,
    threads: usize,
    seconds: f64,
) -> Round {
    runtime.block_on(async {
        let warm_up = |_| {
            let (client, url, token, body) = (
                client.clone(),
                url.to_owned(),
                token.to_owned(),
                body.to_owned(),
            );
            tokio::spawn(async move { request(&client, &url, &token, &body).await })
        };
        for task in (0..threads).map(warm_up).collect::<Vec<_>>() {
            task.await.expect("a task");
        }
        let began = Mark::now();
        let tasks: Vec<_> = (0..threads)
            .map(|_| {
                let (client, url, token, body) = (
                    client.clone(),
                    url.to_owned(),
                    token.to_owned(),
                    body.to_owned(),
                );
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while began.at.elapsed().as_secs_f64() < seconds {
                        let began = Instant::now();
                        request(&client, &url, &token, &body).await;
                        times.push(began.elapsed().as_secs_f64());
                    }
                    let ended = Mark::now();
                    Run {
                        began,
                        ended,
                        times,
                    }
                })
            })
            .collect();
        let mut runs = Vec::new();
        for task in tasks {
            runs.push(task.await.expect("a task"));
        }
        round(runs)
    })
}

fn latency_options(latency: u64) -> Vec<String> {
    match latency {
        0 => Vec::new(),
        _ => vec!["--latency-ms".to_owned(), latency.to_string()],
    }
}

/// Runs this program once for each latency: a provider stays in its process, with the emulator that
/// it was loaded for.
fn one_by_one(options: &Options) {
    if let Some(path) = &options.json {
        std::fs::write(path, "").expect("the report can be written");
    }
    for latency in &options.latencies {
        let mut command = Command::new(std::env::current_exe().expect("a program knows its path"));
        // The last --latency counts.
        let arguments = std::env::args().skip(1);
        command
            .args(arguments)
            .args(["--latency", &latency.to_string()]);
        let status = command.status().expect("this program runs");
        assert!(status.success(), "measuring at {latency} ms failed");
    }
}

fn main() {
    let options = Options::from_arguments();
    let &[latency] = options.latencies.as_slice() else {
        return one_by_one(&options);
    };
    let kind = options.key;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let software = kind.is_known_to_openssl().then(|| kind.software());
    let mut lines = Vec::new();
    println!(
        "{:>8} {:>8} {:>9} {:>11} {:>11} {:>11} {:>11}",
        "latency", "threads", "way", "per second", "median ms", "p99 ms", "CPU us"
    );
    let emulator = Emulator::start(&latency_options(latency), &[]);
    let client = bare_client(&emulator);
    let kid = create(&runtime, &client, &emulator, kind);
    let version = kid.rsplit('/').next().expect("a version");
    let url = format!(
        "{}/keys/k/{version}/sign?api-version={}",
        emulator.variable("AZURE_MANAGEDHSM_URL"),
        kind.api_version()
    );
    let request = kind.request();
    let has = |way| options.ways.contains(&way);
    let provider =
        (has(Way::Provider) || has(Way::IoThread)).then(|| (load_providers(&emulator), load_key()));
    let key = || &provider.as_ref().expect("it is loaded").1;
    let module = has(Way::Pkcs11).then(|| load_module(&emulator));
    for &threads in &options.threads {
        let mut rounds: Vec<(Way, Round)> = Vec::new();
        for _ in 0..options.rounds {
            for &way in &options.ways {
                let seconds = options.seconds;
                let round = match way {
                    Way::Provider => by_openssl(key(), kind, threads, USUAL_STACK, seconds),
                    Way::IoThread => by_openssl(key(), kind, threads, SMALL_STACK, seconds),
                    Way::Pkcs11 => {
                        let module = module.as_ref().expect("it is loaded");
                        by_pkcs11(module, kind, threads, seconds)
                    }
                    Way::Software if latency > 0 => continue,
                    Way::Software => {
                        let software = software.as_ref().expect("it was made");
                        by_openssl(software, kind, threads, USUAL_STACK, seconds / 4.0)
                    }
                    Way::Bare => by_bare_client(&emulator, &url, &request, threads, seconds),
                    Way::Tasks => by_tasks(
                        &runtime,
                        &client,
                        &url,
                        emulator.variable("AZURE_CLI_ACCESS_TOKEN"),
                        &request,
                        threads,
                        seconds,
                    ),
                };
                rounds.push((way, round));
            }
        }
        for way in Way::ALL {
            let of: Vec<Round> = rounds
                .iter()
                .filter(|(w, _)| *w == way)
                .map(|(_, round)| *round)
                .collect();
            if of.is_empty() {
                continue;
            }
            let middle = |get: fn(&Round) -> f64| median(of.iter().map(get).collect());
            // Round by round: what else the machine does at a time slows down both.
            let to_bare: Vec<f64> = rounds
                .iter()
                .filter(|(other, _)| *other == Way::Bare)
                .zip(&of)
                .map(|((_, bare), own)| own.rate / bare.rate)
                .collect();
            let (rate, half, p99, cpu) = (
                middle(|r| r.rate),
                middle(|r| r.median),
                middle(|r| r.p99),
                middle(|r| r.cpu),
            );
            println!(
                "{latency:>8} {threads:>8} {:>9} {rate:>11.0} {:>11.3} {:>11.3} {:>11.1}",
                way.name(),
                half * 1e3,
                p99 * 1e3,
                cpu * 1e6
            );
            lines.push(serde_json::json!({
                "key": kind.name(), "latency_ms": latency, "threads": threads, "way": way.name(),
                "per_second": rate, "median_ms": half * 1e3, "p99_ms": p99 * 1e3, "cpu_us": cpu * 1e6,
                "to_bare": to_bare, "rounds": of.len(),
            }).to_string());
        }
    }
    if let Some(path) = options.json {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        let mut file = file.expect("the report can be written");
        for line in lines {
            writeln!(file, "{line}").expect("the report can be written");
        }
    }
}
