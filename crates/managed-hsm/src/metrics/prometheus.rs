//! What was counted, as Prometheus' text format has it.

use std::fmt::{Display, Write as _};

use super::snapshot::{Count, Operations, Snapshot};

/// A name, its type, and what it tells: each is written once, before all that it has.
type Family = (&'static str, &'static str, &'static str);

const BUILD_INFO: Family = (
    "akv_build_info",
    "gauge",
    "1, for each process that counts, with the version of its module.",
);
const START: Family = (
    "akv_start_time_seconds",
    "gauge",
    "When the process began to count, since 1970.",
);
const OPERATIONS: Family = (
    "akv_operations_total",
    "counter",
    "Operations that asked the HSM and ended, by outcome: ok, or the code of the error.",
);
const DURATION: Family = (
    "akv_operation_duration_seconds",
    "histogram",
    "How long such operations took from call to return, whatever their outcome.",
);
const RETRIES: Family = (
    "akv_request_retries_total",
    "counter",
    "How often requests were sent again, by reason: the HTTP status, connection, timeout, token or hedged.",
);
const THROTTLED: Family = (
    "akv_throttled_total",
    "counter",
    "Answers with HTTP 429: more requests than the service allows.",
);
const RENEWALS: Family = (
    "akv_token_renewals_total",
    "counter",
    "Attempts to get an access token, the first one included, by outcome.",
);
const EXPIRY: Family = (
    "akv_token_expiry_timestamp_seconds",
    "gauge",
    "When the last access token expires, since 1970.",
);
const OPENED: Family = (
    "akv_connections_opened_total",
    "counter",
    "Connections that were opened.",
);
const OPEN: Family = (
    "akv_connections_open",
    "gauge",
    "Connections that are open.",
);

/// A label's name and its value.
type Label<'a> = (&'a str, &'a dyn Display);

/// The text under way.
struct Text {
    text: String,
    /// The labels that all have.
    common: String,
}

impl Text {
    fn family(&mut self, (name, kind, help): Family) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value. A label without one is as good as none.
    fn value(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        let _ = write!(self.text, "{name}{suffix}{{{}", self.common);
        for (label, shown) in labels {
            let shown = shown.to_string();
            if !shown.is_empty() {
                let _ = write!(self.text, ",{label}=\"{}\"", escaped(&shown));
            }
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\");
    value.replace('"', r#"\""#).replace('\n', r"\n")
}

/// All that a process has counted.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let common = format!(
        "front_end=\"{}\",pid=\"{}\",program=\"{}\"",
        escaped(&snapshot.front_end.to_string()),
        snapshot.pid,
        escaped(&snapshot.program.to_string()),
    );
    let mut text = Text {
        text: String::new(),
        common,
    };
    text.family(BUILD_INFO);
    text.value(BUILD_INFO.0, "", &[("version", &snapshot.version)], 1);
    text.family(START);
    text.value(START.0, "", &[], snapshot.started);
    operations(&mut text, snapshot);
    tokens(&mut text, snapshot);
    text.family(OPENED);
    for host in &snapshot.connections {
        text.value(OPENED.0, "", &[("endpoint", &host.endpoint)], host.opened);
    }
    text.family(OPEN);
    for host in &snapshot.connections {
        text.value(OPEN.0, "", &[("endpoint", &host.endpoint)], host.open);
    }
    text.text
}

/// The labels of a key's operations.
fn labels(of: &Operations) -> Vec<Label<'_>> {
    vec![
        ("hsm", &of.hsm),
        ("key", &of.key),
        ("version", &of.version),
        ("operation", &of.operation),
    ]
}

fn operations(text: &mut Text, snapshot: &Snapshot) {
    let all = &snapshot.operations;
    text.family(OPERATIONS);
    for one in all {
        each(text, OPERATIONS, &labels(one), "outcome", &one.outcomes);
    }
    text.family(DURATION);
    for one in all {
        durations(text, &snapshot.bounds, one);
    }
    text.family(RETRIES);
    for one in all {
        each(text, RETRIES, &labels(one), "reason", &one.retries);
    }
    text.family(THROTTLED);
    for one in all {
        text.value(THROTTLED.0, "", &labels(one), one.throttled);
    }
}

fn each(text: &mut Text, of: Family, labels: &[Label<'_>], by: &str, counts: &[Count]) {
    for count in counts {
        let mut labels = labels.to_vec();
        labels.push((by, &count.of));
        text.value(of.0, "", &labels, count.count);
    }
}

fn durations(text: &mut Text, bounds: &[f64], one: &Operations) {
    let name = DURATION.0;
    let mut until = 0;
    let ends = bounds.iter().map(ToString::to_string);
    let ends = ends.chain(["+Inf".to_owned()]);
    for (end, count) in ends.zip(&one.durations) {
        until += count;
        let mut labels = labels(one);
        labels.push(("le", &end));
        text.value(name, "_bucket", &labels, until);
    }
    text.value(name, "_sum", &labels(one), one.seconds);
    text.value(name, "_count", &labels(one), until);
}

fn tokens(text: &mut Text, snapshot: &Snapshot) {
    text.family(RENEWALS);
    for token in &snapshot.tokens {
        let labels: [Label<'_>; 1] = [("audience", &token.audience)];
        each(text, RENEWALS, &labels, "outcome", &token.renewals);
    }
    text.family(EXPIRY);
    for token in &snapshot.tokens {
        if let Some(at) = token.expires {
            text.value(EXPIRY.0, "", &[("audience", &token.audience)], at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use testing::prometheus::Metrics;

    use super::*;
    use crate::metrics::registry::{Again, OpenConnection, Registry};

    /// All kinds of things, counted.
    fn counted() -> String {
        let registry = Registry::new();
        let signing = registry.operation("managedhsm:MyHSM:k?version=0123", "sign with");
        let took = [1, 8, 40, 60_000].map(Duration::from_millis);
        took.iter().for_each(|took| signing.ended(*took, None));
        signing.ended(took[0], Some("Thr\"ott\\led".to_owned()));
        signing.throttled();
        signing.sent_again(Again::Status(429));
        registry
            .operation("managedhsm:MyHSM", "list keys of")
            .ended(took[0], None);
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(77);
        registry
            .token("https://managedhsm.azure.net")
            .fetched(Ok(Some(expires)));
        let open = OpenConnection::to(registry.host("https://hsm:8443"));
        let text = text(&registry.snapshot("akv_test", "1.2", "a \"program\"\\"));
        drop(open);
        text
    }

    #[test]
    fn what_was_counted_is_what_prometheus_reads() {
        let text = counted();
        let read = Metrics::read(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        let key = [
            ("front_end", "akv_test"),
            ("program", "a \"program\"\\"),
            ("hsm", "MyHSM"),
            ("key", "k"),
            ("version", "0123"),
            ("operation", "sign"),
        ];
        let with = |more: &[(&'static str, &'static str)]| [&key[..], more].concat();
        for (name, labels, expected) in [
            ("akv_operations_total", with(&[("outcome", "ok")]), 4.0),
            (
                "akv_operations_total",
                with(&[("outcome", "Thr\"ott\\led")]),
                1.0,
            ),
            ("akv_operation_duration_seconds_count", key.to_vec(), 5.0),
            (
                "akv_operation_duration_seconds_bucket",
                with(&[("le", "0.01")]),
                3.0,
            ),
            (
                "akv_operation_duration_seconds_bucket",
                with(&[("le", "30")]),
                4.0,
            ),
            ("akv_request_retries_total", with(&[("reason", "429")]), 1.0),
            ("akv_throttled_total", key.to_vec(), 1.0),
            ("akv_token_renewals_total", vec![("outcome", "ok")], 1.0),
            ("akv_token_expiry_timestamp_seconds", vec![], 77.0),
            (
                "akv_connections_open",
                vec![("endpoint", "https://hsm:8443")],
                1.0,
            ),
            ("akv_build_info", vec![("version", "1.2")], 1.0),
        ] {
            assert_eq!(read.sum(name, &labels), Some(expected), "{name}\n{text}");
        }
    }

    /// The words of a text that may be names.
    fn words(text: &str) -> impl Iterator<Item = &str> {
        let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let words = text.split(move |it| !is_of_name(it));
        words.filter(|word| !word.is_empty())
    }

    /// What an expression or a legend names between these.
    fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
        let parts = text.split(begin).skip(1);
        parts
            .filter_map(|part| Some(part.split_once(end)?.0))
            .collect()
    }

    #[test]
    fn the_dashboard_shows_what_there_is_and_all_of_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/grafana/akv.json");
        let text = std::fs::read_to_string(path).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        let written = Metrics::read(&counted()).unwrap();
        let mut labels = written.labels();
        // Prometheus gives this one to all that it reads.
        labels.insert("instance".to_owned());
        let mut left = written.names();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels
            .iter()
            .flat_map(|it| it["targets"].as_array().unwrap());
        let mut texts: Vec<&str> = variables
            .iter()
            .filter_map(|it| it["definition"].as_str())
            .collect();
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            texts.push(expression);
            let legend = target["legendFormat"].as_str().unwrap();
            let shown = between(legend, "{{", "}}");
            let grouped = between(expression, " by (", ")");
            let grouped = grouped.into_iter().flat_map(words);
            let matched = between(expression, "{", "}").into_iter();
            let matched = matched.flat_map(|it| it.split(','));
            let matched = matched.filter_map(|it| words(it).next());
            for label in shown.into_iter().chain(grouped).chain(matched) {
                assert!(labels.contains(label), "{label}: {expression} {legend}");
            }
        }
        for text in texts {
            for name in words(text).filter(|word| word.starts_with("akv_")) {
                assert!(written.names().contains(name), "{name}: {text}");
                left.remove(name);
            }
        }
        assert!(left.is_empty(), "nobody is shown {left:?}");
    }
}
