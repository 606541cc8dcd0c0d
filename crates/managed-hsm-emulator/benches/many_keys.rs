//! What keys cost when there are many: how long it takes to make, list and find them again after a
//! restart, for some and for ten times as many. Each takes as long among many as among few if the
//! ratio is 1. For 10,000 keys it prints what they may take as well, and fails if they take more.
//!
//! `cargo bench -p managed-hsm-emulator --bench many_keys -- [--keys 10000]`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use managed_hsm_emulator::{Handle, Options, start};
use reqwest::Client;
use serde_json::{Value, json};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// What that many keys may take to be listed, and to start with.
const LIMITED: (usize, Duration, Duration) =
    (10_000, Duration::from_secs(2), Duration::from_millis(1500));

struct Measured {
    keys: usize,
    made: Duration,
    listed: Duration,
    started: Duration,
}

fn main() -> ExitCode {
    let keys = keys_wanted();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measured = [keys / 10, keys].map(|keys| runtime.block_on(measure(keys)));
    println!("    keys   made ms  listed ms  started ms");
    for it in &measured {
        let [made, listed, started] = [it.made, it.listed, it.started].map(|it| it.as_millis());
        println!("{:8} {made:9} {listed:10} {started:11}", it.keys);
    }
    let is_within = keys != LIMITED.0 || is_within_limits(&measured[1]);
    let [few, many] = measured;
    let ratio = |of: fn(&Measured) -> Duration| {
        let each = |it: &Measured| of(it).as_secs_f64() / it.keys as f64;
        each(&many) / each(&few)
    };
    println!(
        "   ratio {:9.2} {:10.2} {:11.2}",
        ratio(|it| it.made),
        ratio(|it| it.listed),
        ratio(|it| it.started)
    );
    match is_within {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Prints the limits, and whether each is held.
fn is_within_limits(measured: &Measured) -> bool {
    let (_, listed, started) = LIMITED;
    let limits = [listed, started].map(|it| it.as_millis());
    println!("   limit         - {:10} {:11}", limits[0], limits[1]);
    let held = [measured.listed <= listed, measured.started <= started];
    let verdicts = held.map(|is_held| if is_held { "within" } else { "OVER" });
    println!("                 - {:>10} {:>11}", verdicts[0], verdicts[1]);
    held == [true; 2]
}

/// The number after `--keys`; cargo's own `--bench` is passed over.
fn keys_wanted() -> usize {
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let number = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Some(10_000),
        (Some("--keys"), Some(number)) => number.parse().ok().filter(|keys| *keys >= 10),
        _ => None,
    };
    number.expect("--keys takes a number from 10 on")
}

async fn measure(keys: usize) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options {
        // The emulator makes it, for its owner alone.
        data_dir: Some(folder.path().join("hsm")),
        max_keys: keys,
        keep_requests: false,
        ..Options::default()
    };
    let emulator = start(options()).expect("an emulator");
    let client = client(&emulator);
    let begun = Instant::now();
    stream::iter(0..keys)
        .for_each_concurrent(AT_ONCE, |number| make(&client, &emulator, number))
        .await;
    let made = begun.elapsed();

    let begun = Instant::now();
    assert_eq!(list(&client, &emulator).await, keys);
    let listed = begun.elapsed();

    drop(emulator);
    let begun = Instant::now();
    let emulator = start(options()).expect("an emulator");
    let started = begun.elapsed();
    let path = format!("{}/keys/k{}?api-version=7.6", emulator.url, keys - 1);
    get(&client, &emulator, &path).await;
    Measured {
        keys,
        made,
        listed,
        started,
    }
}

fn client(emulator: &Handle) -> Client {
    let ca = std::fs::read(&emulator.ca).expect("the CA");
    let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
    let built = Client::builder().tls_certs_only([ca]).build();
    built.expect("a client")
}

async fn make(client: &Client, emulator: &Handle, number: usize) {
    let url = format!("{}/keys/k{number}/create?api-version=7.6", emulator.url);
    let request = client.post(url).bearer_auth(&emulator.token);
    let body = json!({"kty": "EC-HSM", "crv": "P-256"}).to_string();
    let request = request.header("Content-Type", "application/json");
    let answer = request.body(body).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// The number of keys, by all pages.
async fn list(client: &Client, emulator: &Handle) -> usize {
    let mut next = Some(format!("{}/keys?api-version=7.6", emulator.url));
    let mut keys = 0;
    while let Some(url) = next {
        let page = get(client, emulator, &url).await;
        keys += page["value"].as_array().map_or(0, Vec::len);
        next = page["nextLink"].as_str().map(str::to_owned);
    }
    keys
}

async fn get(client: &Client, emulator: &Handle, url: &str) -> Value {
    let request = client.get(url).bearer_auth(&emulator.token);
    let answer = request.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    let text = answer.text().await.expect("a body");
    serde_json::from_str(&text).expect("JSON")
}
