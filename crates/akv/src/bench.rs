//! `akv bench`: throughput and latency by concurrency.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hsm_keys::PublicKey;
use indicatif::ProgressBar;
use managed_hsm::{Client, KeyUri};
use serde_json::json;

use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::output::{Report, table};
use crate::progress;
use crate::session::Session;
use crate::work::{Algorithm, Operation, Work, algorithm};

/// Width of the longest bar of the plot.
const PLOT_WIDTH: f64 = 48.0;
/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = "Examples:
  akv bench managedhsm:MyHSM:web
  akv bench managedhsm:MyHSM:doc --algorithm PS256 --threads 8 --seconds 10
  akv bench managedhsm:MyHSM:aes --operation decrypt \\
      --algorithm A256GCM --bytes 4096")]
pub(crate) struct Bench {
    /// The key
    uri: KeyUri,
    /// What to do with it [default: sign, or wrap with a symmetric key]
    #[arg(long, visible_alias = "mode", value_enum, value_name = "OPERATION")]
    operation: Option<Operation>,
    /// By which algorithm: RS256, PS384, ES256, HS256, RSA-OAEP, A256GCM, A256KW and so on
    /// [default: what is usual for the key]
    #[arg(long, visible_alias = "mechanism", value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// How many bytes are signed, encrypted, wrapped or made; what is signed is hashed here
    #[arg(long, visible_alias = "data-size", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
    /// How many requests are under way at once, one measurement for each number
    #[arg(long, visible_alias = "threads", value_name = "N,...", value_delimiter = ',',
          default_value = "1,2,4,8,16",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Vec<u16>,
    /// Seconds that each measurement takes
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number from 0.1 to 3600".to_owned()),
    }
}

/// What was measured at one concurrency.
struct Measurement {
    concurrency: u16,
    seconds: f64,
    latencies: Latencies,
    errors: usize,
    last_error: Option<String>,
}

/// Latencies in ascending order.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that so many percent do not exceed, in milliseconds; none: nothing was
    /// measured.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        let latency = self.0.get(rank - 1)?;
        // Thousandths are the most that is worth telling.
        Some((latency.as_secs_f64() * 1e6).round() / 1e3)
    }
}

impl Bench {
    /// The report is bad if nothing at all succeeded.
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let configuration = Configuration::load();
        configuration.start_log(None)?;
        let mut settings = configuration.settings()?;
        let most = self.concurrency.iter().copied().max().unwrap_or(1);
        settings.max_connections = settings.max_connections.max(usize::from(most));
        let session = Session::with(settings);
        let client = &*session.client;
        let work = self.prepare(client)?;
        let (duration, name) = (Duration::from_secs_f64(self.seconds), work.name());
        let ticks = duration.as_millis() / TICK.as_millis() + 1;
        let bar = progress::bar(ticks as u64 * self.concurrency.len() as u64, name.clone());
        let each = self.concurrency.iter();
        let all = each.map(|&concurrency| measure(client, &work, concurrency, duration, &bar));
        let all: Result<Vec<Measurement>, Failure> = all.collect();
        bar.finish_and_clear();
        Ok(self.report(&name, &all?))
    }

    fn prepare(&self, client: &Client) -> Result<Work, Failure> {
        let key = client.get_key(&self.uri)?;
        let public = PublicKey::from(key.public.clone());
        let usual = match self.algorithm {
            Some(Algorithm::Mac(_) | Algorithm::Signature(_)) => Operation::Sign,
            Some(Algorithm::Encryption(_)) => Operation::Encrypt,
            None => Operation::usual(&public),
        };
        let operation = self.operation.unwrap_or(usual);
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        Ok(Work::prepare(
            client,
            key,
            operation,
            self.algorithm,
            bytes,
        )?)
    }

    fn report(&self, name: &str, all: &[Measurement]) -> Report {
        let ms = |value: Option<f64>| value.map_or_else(String::new, |ms| format!("{ms:.1}"));
        let rows = all.iter().map(|one| {
            vec![
                one.concurrency.to_string(),
                format!("{:.1}", one.throughput()),
                ms(one.latencies.percentile(50)),
                ms(one.latencies.percentile(95)),
                ms(one.latencies.percentile(99)),
                one.errors.to_string(),
            ]
        });
        let heading = [
            "concurrency",
            "per second",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "errors",
        ];
        let mut text = format!("{name} with {}, {} bytes\n\n", self.uri, self.bytes);
        text += &table(&heading, rows.collect());
        text += &plot(all);
        if let Some(error) = all.iter().find_map(|one| one.last_error.as_ref()) {
            text += &format!("\nThe last error: {error}\n");
        }
        let json = json!({
            "key": self.uri.to_string(),
            "operation": name,
            "bytes": self.bytes,
            "measurements": all.iter().map(|one| json!({
                "concurrency": one.concurrency,
                "seconds": one.seconds,
                "operations": one.latencies.len(),
                "per_second": one.throughput(),
                "p50_ms": one.latencies.percentile(50),
                "p95_ms": one.latencies.percentile(95),
                "p99_ms": one.latencies.percentile(99),
                "errors": one.errors,
                "last_error": one.last_error,
            })).collect::<Vec<_>>(),
        });
        let mut report = Report::new(text, json);
        report.is_good = all.iter().any(|one| one.latencies.len() > 0);
        report
    }
}

impl Measurement {
    fn throughput(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }
}

/// Keeps so many requests under way for a while.
fn measure(
    client: &Client,
    work: &Work,
    concurrency: u16,
    duration: Duration,
    bar: &ProgressBar,
) -> Result<Measurement, Failure> {
    let is_over = AtomicBool::new(false);
    let started = Instant::now();
    let one_thread = || {
        let (mut latencies, mut errors, mut last_error) = (Vec::new(), 0, None);
        // Once in any case: a short measurement on a busy machine says something, too.
        loop {
            let begun = Instant::now();
            match work.once(client) {
                Ok(()) => latencies.push(begun.elapsed()),
                Err(trouble) => {
                    errors += 1;
                    last_error = Some(trouble.to_string());
                    // Not to ask an HSM that throttles a thousand times a second.
                    std::thread::sleep(TICK);
                }
            }
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        (latencies, errors, last_error)
    };
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, one_thread);
        let threads: Vec<_> = match (0..concurrency).map(start).collect() {
            Ok(threads) => threads,
            Err(error) => {
                is_over.store(true, Ordering::Relaxed);
                return Err(unstarted(concurrency, &error));
            }
        };
        while started.elapsed() < duration {
            std::thread::sleep(TICK.min(duration.saturating_sub(started.elapsed())));
            bar.inc(1);
        }
        is_over.store(true, Ordering::Relaxed);
        let (mut latencies, mut errors, mut last_error) = (Vec::new(), 0, None);
        for thread in threads {
            let (more, failed, error) = thread.join().unwrap_or_default();
            latencies.extend(more);
            errors += failed;
            last_error = error.or(last_error);
        }
        Ok(Measurement {
            concurrency,
            seconds: started.elapsed().as_secs_f64(),
            latencies: Latencies::new(latencies),
            errors,
            last_error,
        })
    })
}

fn unstarted(threads: u16, error: &std::io::Error) -> Failure {
    Failure::told(format!(
        "{threads} threads can't be started ({error}): raise the limits of processes and of memory (ulimit -u, -v), \
         or give a smaller --concurrency"
    ))
}

/// Throughput by concurrency as bars.
fn plot(all: &[Measurement]) -> String {
    let highest = all.iter().map(Measurement::throughput).fold(0.0, f64::max);
    if highest == 0.0 {
        return String::new();
    }
    let bars = all.iter().map(|one| {
        let share = one.throughput() / highest;
        let length = (share * PLOT_WIDTH).round() as usize;
        let bar = "█".repeat(length);
        format!("{:>5} {bar} {:.1}/s\n", one.concurrency, one.throughput())
    });
    format!("\nThroughput by concurrency:\n{}", bars.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_latencies_that_were_measured() {
        let latencies = Latencies::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(latencies.percentile(50), Some(50.0));
        assert_eq!(latencies.percentile(99), Some(99.0));
        assert_eq!(latencies.percentile(100), Some(100.0));
        let one = Latencies::new(vec![Duration::from_micros(1500)]);
        assert_eq!(one.percentile(99), Some(1.5));
        assert_eq!(Latencies::default().percentile(50), None);
    }

    #[test]
    fn the_longest_bar_is_that_of_the_highest_throughput() {
        let measured = |concurrency, count| Measurement {
            concurrency,
            seconds: 1.0,
            latencies: Latencies::new(vec![Duration::from_millis(1); count]),
            errors: 0,
            last_error: None,
        };
        let shown = plot(&[measured(1, 10), measured(2, 20)]);
        let lengths: Vec<usize> = shown
            .lines()
            .map(|line| line.matches('█').count())
            .collect();
        assert_eq!(lengths, [0, 0, 24, 48]);
        assert_eq!(plot(&[measured(1, 0)]), "");
    }
}
