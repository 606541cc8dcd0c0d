//! Whether anybody notices that tokens are renewed: threads sign and a TLS server shakes hands
//! while its tokens live for seconds. Compares the signatures that were under way around a renewal
//! with all others of the same run.
//!
//! `cargo bench --bench renewal -- [--seconds 120] [--lifetime 5] [--latency 10] [--threads 8] [--json FILE]`

mod common;

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use testing::Outcome;

use common::{Emulator, load_key, load_providers};

/// A signature that overlaps with this much time before or after a request for a token counts as
/// around a renewal.
const AROUND: Duration = Duration::from_millis(50);

struct Options {
    seconds: u64,
    lifetime: u64,
    latency: u64,
    threads: usize,
    json: Option<String>,
}

impl Options {
    fn from_arguments() -> Self {
        let mut options = Self {
            seconds: 120,
            lifetime: 5,
            latency: 10,
            threads: 8,
            json: None,
        };
        for (name, value) in common::options() {
            let number = || value.parse::<u64>().expect("a number");
            match name.as_str() {
                "--seconds" => options.seconds = number(),
                "--lifetime" => options.lifetime = number(),
                "--latency" => options.latency = number(),
                "--threads" => options.threads = number() as usize,
                "--json" => options.json = Some(value.clone()),
                other => panic!("unknown option {other}"),
            }
        }
        options
    }
}

/// When a signature began, and how long it took; none: it failed.
type Timed = (SystemTime, Option<Duration>);

fn sign(key: &PKey<Private>, until: Instant) -> Vec<Timed> {
    let mut all = Vec::new();
    while Instant::now() < until {
        let (at, began) = (SystemTime::now(), Instant::now());
        let mut signer = Signer::new(MessageDigest::sha256(), key).expect("a signer");
        let outcome = signer.sign_oneshot_to_vec(b"message");
        all.push((at, outcome.ok().map(|_| began.elapsed())));
    }
    all
}

/// Shakes hands with itself. Returns how often, and how often in vain.
fn shake_hands(key: &PKey<Private>, certificate: &X509, until: Instant) -> (usize, usize) {
    let mut acceptor =
        SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("a server");
    acceptor.set_private_key(key).expect("the key fits");
    acceptor
        .set_certificate(certificate)
        .expect("the certificate fits");
    let acceptor = acceptor.build();
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a client");
    connector.set_verify(SslVerifyMode::NONE);
    let connector = connector.build();
    let (mut done, mut failed) = (0, 0);
    while Instant::now() < until {
        let (here, there) = UnixStream::pair().expect("sockets");
        let accepted = std::thread::scope(|scope| {
            let server = scope.spawn(|| acceptor.accept(there).is_ok());
            let client = connector.connect("localhost", here).is_ok();
            server.join().expect("the server thread") && client
        });
        done += 1;
        failed += usize::from(!accepted);
    }
    (done, failed)
}

/// When tokens were asked for, by the emulator's log: when the answers went out, and how long they
/// took.
fn renewals(emulator: &Emulator, since: SystemTime) -> Vec<(SystemTime, SystemTime)> {
    let log = std::fs::read_to_string(emulator.folder.path().join("requests.log")).expect("a log");
    let tokens = log.lines().filter(|line| line.contains("/oauth2/"));
    let times = tokens.filter_map(|line| {
        let end = humantime::parse_rfc3339(line.split(' ').next()?).ok()?;
        let took = line.split(" ms=").nth(1)?.split(' ').next()?.parse().ok()?;
        (end > since).then(|| (end - Duration::from_millis(took), end))
    });
    times.collect()
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

fn main() {
    let options = Options::from_arguments();
    let serve = [
        "--token-lifetime".to_owned(),
        options.lifetime.to_string(),
        "--latency-ms".to_owned(),
        options.latency.to_string(),
    ];
    let emulator = Emulator::start(&serve, &["--identity"]);
    // An application that logs in, rather than a token from outside.
    let _providers = load_providers(&emulator);
    let akv = |arguments: &[&str]| {
        let mut command = Command::new(testing::built::program("akv"));
        command.args(arguments);
        Outcome::of(command).succeeds()
    };
    akv(&[
        "keys",
        "create",
        "managedhsm:MyHSM:k",
        "--type",
        "ec",
        "--curve",
        "P-256",
    ]);
    let pem = akv(&[
        "cert",
        "self-signed",
        "managedhsm:MyHSM:k",
        "--subject",
        "CN=localhost",
    ]);
    let certificate = X509::from_pem(pem.as_bytes()).expect("a certificate");
    let key = load_key();
    drop(sign(&key, Instant::now() + Duration::from_millis(200)));

    let since = SystemTime::now();
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let (signed, (handshakes, handshakes_failed)) = std::thread::scope(|scope| {
        let server = scope.spawn(|| shake_hands(&key, &certificate, until));
        let signers: Vec<_> = (0..options.threads)
            .map(|_| scope.spawn(|| sign(&key, until)))
            .collect();
        let signed: Vec<Timed> = signers
            .into_iter()
            .flat_map(|signer| signer.join().expect("a signer"))
            .collect();
        (signed, server.join().expect("the server"))
    });
    let renewals = renewals(&emulator, since);
    let failed = signed.iter().filter(|(_, took)| took.is_none()).count();
    let (mut around, mut rest) = (Vec::new(), Vec::new());
    for (at, took) in &signed {
        let Some(took) = *took else { continue };
        let overlaps = |(begin, end): &(SystemTime, SystemTime)| {
            *at < *end + AROUND && *at + took > *begin - AROUND
        };
        match renewals.iter().any(overlaps) {
            true => around.push(took),
            false => rest.push(took),
        }
    }
    around.sort();
    rest.sort();
    assert!(!around.is_empty() && !rest.is_empty(), "nothing to compare");
    let (near, far) = (percentile(&around, 0.99), percentile(&rest, 0.99));
    let median = percentile(&rest, 0.5);
    println!(
        "{} s, {} ms added by the HSM, tokens of {} s, {} threads",
        options.seconds, options.latency, options.lifetime, options.threads
    );
    println!("renewals      {}", renewals.len());
    println!(
        "signatures    {} ({failed} failed), {} of them around a renewal",
        signed.len(),
        around.len()
    );
    println!("handshakes    {handshakes} ({handshakes_failed} failed)");
    println!(
        "p99 ms        {near:.3} around a renewal, {far:.3} else: ratio {:.3}",
        near / far
    );
    println!(
        "median ms     {median:.3} else: p99 around a renewal is {:.3} of it",
        near / median
    );
    if let Some(path) = options.json {
        let report = serde_json::json!({
            "seconds": options.seconds, "latency_ms": options.latency, "lifetime": options.lifetime, "threads": options.threads,
            "renewals": renewals.len(), "signatures": signed.len(), "signatures_failed": failed,
            "handshakes": handshakes, "handshakes_failed": handshakes_failed,
            "p99_around_ms": near, "p99_rest_ms": far, "median_rest_ms": median,
        });
        std::fs::write(path, format!("{report}\n")).expect("the report can be written");
    }
    assert_eq!((failed, handshakes_failed), (0, 0), "something failed");
}
