//! Full TLS 1.3 handshakes a second by so many clients at once, against a server that runs already.
//!
//! `cargo bench --bench handshakes -- --connect 127.0.0.1:8443 [--clients 16] [--rate N] [--seconds 5] [--rounds 5] [--name NAME] [--json FILE]`
//!
//! `--rate`: so many a second by all clients together, rather than as many as possible. `--json`
//! appends a line.

mod common;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod, SslSessionCacheMode, SslVerifyMode, SslVersion};

use common::median;

struct Options {
    connect: String,
    clients: usize,
    rate: Option<f64>,
    seconds: f64,
    rounds: usize,
    name: String,
    json: Option<String>,
}

impl Options {
    fn from_arguments() -> Option<Self> {
        let mut options = Self {
            connect: String::new(),
            clients: 16,
            rate: None,
            seconds: 5.0,
            rounds: 5,
            name: "server".to_owned(),
            json: None,
        };
        for (name, value) in common::options() {
            match name.as_str() {
                "--connect" => options.connect = value,
                "--clients" => options.clients = value.parse().expect("a number"),
                "--rate" => options.rate = Some(value.parse().expect("a number")),
                "--seconds" => options.seconds = value.parse().expect("a number"),
                "--rounds" => options.rounds = value.parse().expect("a number"),
                "--name" => options.name = value,
                "--json" => options.json = Some(value),
                other => panic!("unknown option {other}"),
            }
        }
        (!options.connect.is_empty()).then_some(options)
    }
}

/// A client that does as little as it can: the server is what is measured.
fn connector() -> SslConnector {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("a client");
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder
        .set_min_proto_version(Some(SslVersion::TLS1_3))
        .expect("TLS 1.3");
    builder.set_groups_list("X25519").expect("a group");
    builder.build()
}

/// When a client begins its handshakes.
#[derive(Clone, Copy)]
struct Schedule {
    first: Instant,
    /// Zero: one after the other.
    interval: Duration,
    until: Instant,
}

/// Shakes hands until it is time. Returns how long each handshake took, in seconds, and how many
/// failed.
fn client(connector: &SslConnector, connect: &str, schedule: Schedule) -> (Vec<f64>, usize) {
    let (mut times, mut failed) = (Vec::new(), 0);
    let mut next = schedule.first;
    loop {
        // One that is due after the end isn't waited for: the round would last longer than its
        // handshakes.
        if next.max(Instant::now()) >= schedule.until {
            return (times, failed);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += schedule.interval;
        let began = Instant::now();
        let stream = TcpStream::connect(connect).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok(stream)
        });
        match stream
            .ok()
            .and_then(|stream| connector.connect("localhost", stream).ok())
        {
            Some(_) => times.push(began.elapsed().as_secs_f64()),
            None => failed += 1,
        }
    }
}

fn main() {
    let Some(options) = Options::from_arguments() else {
        println!("skipped: --connect names no server");
        return;
    };
    let connector = connector();
    let (mut rates, mut p50s, mut p99s, mut failed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..options.rounds {
        let began = Instant::now();
        let until = began + Duration::from_secs_f64(options.seconds);
        let rate = options.rate.unwrap_or(f64::INFINITY);
        let schedule = |number: usize| Schedule {
            first: began + Duration::from_secs_f64(number as f64 / rate),
            interval: Duration::from_secs_f64(options.clients as f64 / rate),
            until,
        };
        let connect = options.connect.as_str();
        let clients: Vec<_> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..options.clients)
                .map(|number| {
                    let connector = &connector;
                    scope.spawn(move || client(connector, connect, schedule(number)))
                })
                .collect();
            let joined = clients
                .into_iter()
                .map(|client| client.join().expect("a client"));
            joined.collect()
        });
        let elapsed = began.elapsed().as_secs_f64().max(options.seconds);
        failed += clients.iter().map(|(_, failed)| failed).sum::<usize>();
        let mut times: Vec<f64> = clients.into_iter().flat_map(|(times, _)| times).collect();
        assert!(!times.is_empty(), "no handshake succeeded at {connect}");
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] * 1e3;
        rates.push(times.len() as f64 / elapsed);
        p50s.push(at(0.5));
        p99s.push(at(0.99));
    }
    let (rate, p50, p99) = (median(rates.clone()), median(p50s), median(p99s));
    println!(
        "{:<28} {:>4} clients {rate:>9.1}/s  p50 {p50:>8.2} ms  p99 {p99:>8.2} ms  {failed} failed",
        options.name, options.clients
    );
    if let Some(path) = options.json {
        let line = serde_json::json!({
            "server": options.name, "clients": options.clients, "per_second": rate, "rates": rates,
            "p50_ms": p50, "p99_ms": p99, "failed": failed,
        });
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        writeln!(file.expect("the report can be written"), "{line}")
            .expect("the report can be written");
    }
}
