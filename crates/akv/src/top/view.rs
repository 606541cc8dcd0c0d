//! What is shown of the processes: once, for programs and for people, and again and again on a
//! screen.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use managed_hsm::metrics::{Count, Operations, Snapshot, quantile, total};
use serde_json::{Value, json};

use super::Look;
use crate::output::{columns, rough};

/// What was counted of operations within some time.
#[derive(Clone, Debug, Default)]
struct Work {
    seconds: f64,
    operations: u64,
    failed: u64,
    retries: u64,
    throttled: u64,
    bounds: Vec<f64>,
    durations: Vec<u64>,
}

impl Work {
    /// What was counted since `before`, which was so many seconds ago; none: since the beginning.
    fn since(before: Option<&Operations>, now: &Operations, bounds: &[f64], seconds: f64) -> Self {
        // A process of the same number may have begun anew.
        let before = before.filter(|before| before.total() <= now.total());
        let less = |now: u64, of: fn(&Operations) -> u64| now.saturating_sub(before.map_or(0, of));
        let durations = now.durations.iter().enumerate().map(|(at, count)| {
            let earlier = before.and_then(|before| before.durations.get(at));
            count.saturating_sub(earlier.copied().unwrap_or_default())
        });
        Self {
            seconds,
            operations: less(now.total(), Operations::total),
            failed: less(now.failed(), Operations::failed),
            retries: less(total(&now.retries), |before| total(&before.retries)),
            throttled: less(now.throttled, |before| before.throttled),
            bounds: bounds.to_vec(),
            durations: durations.collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.seconds = self.seconds.max(other.seconds);
        self.operations = self.operations.saturating_add(other.operations);
        self.failed = self.failed.saturating_add(other.failed);
        self.retries = self.retries.saturating_add(other.retries);
        self.throttled = self.throttled.saturating_add(other.throttled);
    }

    fn per_second(&self, count: u64) -> f64 {
        match self.seconds > 0.0 {
            // Thousandths are the most that is worth telling.
            true => (count as f64 / self.seconds * 1e3).round() / 1e3,
            false => 0.0,
        }
    }

    /// In milliseconds.
    fn quantile(&self, share: f64) -> Option<f64> {
        let seconds = quantile(&self.bounds, &self.durations, share)?;
        Some((seconds * 1e6).round() / 1e3)
    }
}

/// A row: operations of one kind with one key in one process.
struct Row<'a> {
    process: &'a Snapshot,
    operations: &'a Operations,
    work: Work,
}

/// What a process is known by.
fn identity(process: &Snapshot) -> (u32, String) {
    (process.pid, process.front_end.to_string())
}

/// All rows, and what they come to in each process, with what was counted since an earlier look.
fn rows<'a>(before: Option<&Look>, now: &'a Look) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for process in &now.processes {
        let earlier = before.iter().flat_map(|before| &before.processes);
        let earlier = earlier
            .filter(|earlier| earlier.started == process.started)
            .find(|earlier| identity(earlier) == identity(process));
        let begun = match (before, earlier) {
            (Some(before), Some(_)) => now.at.duration_since(before.at),
            _ => now.at.duration_since(since_1970(process.started)),
        };
        let seconds = begun.unwrap_or_default().as_secs_f64();
        for operations in &process.operations {
            let is_same = |other: &&Operations| {
                (&other.hsm, &other.key, &other.version, &other.operation)
                    == (
                        &operations.hsm,
                        &operations.key,
                        &operations.version,
                        &operations.operation,
                    )
            };
            let before = earlier.and_then(|earlier| earlier.operations.iter().find(is_same));
            rows.push(Row {
                process,
                operations,
                work: Work::since(before, operations, &process.bounds, seconds),
            });
        }
    }
    rows
}

/// A time that another process has told.
fn since_1970(seconds: f64) -> std::time::SystemTime {
    let since = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// How long the token lives that expires first, in seconds. None: nobody knows.
fn token_left(process: &Snapshot, look: &Look) -> Option<u64> {
    let now = look.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = process.tokens.iter().filter_map(|token| token.expires);
    Some(expires.min()?.saturating_sub(now.as_secs()))
}

fn counts(counts: &[Count]) -> Value {
    let counts = counts.iter();
    let members = counts.map(|it| (it.of.to_string(), it.count.into()));
    Value::Object(members.collect())
}

/// For programs.
pub(super) fn json(look: &Look) -> Value {
    let rows = rows(None, look);
    let processes = look.processes.iter().map(|process| {
        let own = rows.iter().filter(|row| std::ptr::eq(row.process, process));
        json!({
            "pid": process.pid,
            "program": process.program,
            "front_end": process.front_end,
            "version": process.version,
            "started": crate::output::time(since_1970(process.started)),
            "token_seconds_left": token_left(process, look),
            "keys": own.map(key_json).collect::<Vec<_>>(),
            "tokens": process.tokens.iter().map(|token| json!({
                "audience": token.audience,
                "expires": token.expires.map(|at| crate::output::time(since_1970(at as f64))),
                "renewals": counts(&token.renewals),
            })).collect::<Vec<_>>(),
            "connections": process.connections.iter().map(|host| json!({
                "endpoint": host.endpoint,
                "opened": host.opened,
                "open": host.open,
            })).collect::<Vec<_>>(),
        })
    });
    json!({
        "processes": processes.collect::<Vec<_>>(),
        "silent": look.silent.iter().map(|(socket, problem)| json!({
            "socket": socket,
            "problem": problem,
        })).collect::<Vec<_>>(),
    })
}

fn key_json(row: &Row<'_>) -> Value {
    let (of, work) = (row.operations, &row.work);
    json!({
        "hsm": of.hsm,
        "key": of.key,
        "version": of.version,
        "operation": of.operation,
        "operations": work.operations,
        "failed": work.failed,
        "outcomes": counts(&of.outcomes),
        "retries": counts(&of.retries),
        "throttled": work.throttled,
        "per_second": work.per_second(work.operations),
        "p50_ms": work.quantile(0.5),
        "p99_ms": work.quantile(0.99),
    })
}

const OF_PROCESSES: [&str; 9] = [
    "PID", "PROGRAM", "MODULE", "OPS/S", "ERR/S", "429/S", "RETRY/S", "OPEN", "TOKEN",
];
const OF_KEYS: [&str; 9] = [
    "PID",
    "OPERATION",
    "OPS/S",
    "P50 MS",
    "P99 MS",
    "ERR/S",
    "429/S",
    "COUNT",
    "KEY",
];

/// The cells of both tables. What does most stands first.
fn cells(before: Option<&Look>, now: &Look) -> [Vec<Vec<String>>; 2] {
    let mut rows = rows(before, now);
    let mut sums: BTreeMap<(u32, String), Work> = BTreeMap::new();
    for row in &rows {
        sums.entry(identity(row.process))
            .or_default()
            .add(&row.work);
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.work.operations, row.operations.total())));
    let processes = now.processes.iter().map(|process| {
        let work = sums.remove(&identity(process)).unwrap_or_default();
        let rate = |count| format!("{:.1}", work.per_second(count));
        let open = process.connections.iter();
        let open = open.fold(0, |all: u64, host| all.saturating_add(host.open));
        vec![
            process.pid.to_string(),
            process.program.to_string(),
            process.front_end.to_string(),
            rate(work.operations),
            rate(work.failed),
            rate(work.throttled),
            rate(work.retries),
            open.to_string(),
            token_left(process, now).map_or_else(|| "-".to_owned(), token),
        ]
    });
    let keys = rows.iter().map(|row| {
        let (of, work) = (row.operations, &row.work);
        let rate = |count| format!("{:.1}", work.per_second(count));
        let time = |share| work.quantile(share).map(|ms| format!("{ms:.1}"));
        let time = |share| time(share).unwrap_or_else(|| "-".to_owned());
        vec![
            row.process.pid.to_string(),
            of.operation.to_string(),
            rate(work.operations),
            time(0.5),
            time(0.99),
            rate(work.failed),
            rate(work.throttled),
            of.total().to_string(),
            name(of),
        ]
    });
    [processes.collect(), keys.collect()]
}

fn token(seconds: u64) -> String {
    match seconds {
        0 => "expired".to_owned(),
        1..120 => format!("{seconds} s"),
        more => rough(Duration::from_secs(more)),
    }
}

/// A key, and the beginning of its version.
fn name(of: &Operations) -> String {
    let mut name = of.hsm.to_string();
    for (before, part) in [(":", &of.key), ("@", &of.version)] {
        let part = part.to_string();
        if !part.is_empty() {
            name += before;
            name.extend(
                part.chars()
                    .take(if before == "@" { 8 } else { usize::MAX }),
            );
        }
    }
    name
}

/// For people, once.
pub(super) fn text(look: &Look) -> String {
    let [processes, keys] = cells(None, look);
    let mut text = match processes.is_empty() {
        true => "No process tells what it does.\n".to_owned(),
        false => columns(&OF_PROCESSES, processes),
    };
    if !keys.is_empty() {
        text += &format!("\n{}", columns(&OF_KEYS, keys));
    }
    for (socket, problem) in &look.silent {
        text += &format!("\n{}: {problem}\n", crate::output::one_line(socket));
    }
    text
}

/// A screen of so many columns and rows: its lines.
pub(super) fn screen(
    before: Option<&Look>,
    now: &Look,
    width: usize,
    height: usize,
) -> Vec<String> {
    let [processes, keys] = cells(before, now);
    let silent = match now.silent.len() {
        0 => String::new(),
        count => format!(", {count} without an answer ({})", silent(now)),
    };
    let count = processes.len();
    let noun = if count == 1 { "process" } else { "processes" };
    let mut lines = vec![
        format!("akv top: {count} {noun}{silent}; q quits"),
        String::new(),
    ];
    // Keys get half of the room at least.
    let room = height.saturating_sub(lines.len() + 1);
    let for_processes = (count + 1).min(room / 2);
    lines.extend(table(&OF_PROCESSES, processes, for_processes));
    lines.push(String::new());
    let left = height.saturating_sub(lines.len());
    lines.extend(table(&OF_KEYS, keys, left));
    lines.truncate(height);
    lines.iter().map(|line| cut(line, width)).collect()
}

fn silent(look: &Look) -> String {
    let mut all = look.silent.iter();
    let first = all.next().map(|(socket, problem)| {
        let socket = crate::output::one_line(socket);
        format!("{socket}: {problem}")
    });
    first.unwrap_or_default()
}

/// A table of so many lines at most, with its heading.
fn table(heading: &[&str], mut rows: Vec<Vec<String>>, most: usize) -> Vec<String> {
    let room = most.saturating_sub(1);
    let hidden = rows.len().saturating_sub(room);
    if hidden > 0 {
        rows.truncate(room.saturating_sub(1));
    }
    let left_out = hidden + usize::from(hidden > 0 && room > 0);
    let text = columns(heading, rows);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if hidden > 0 {
        lines.push(format!("… and {left_out} more"));
    }
    lines.truncate(most);
    lines
}

/// A line that is no longer than a terminal is wide. What may be wider than a column is not shown.
fn cut(line: &str, width: usize) -> String {
    let is_narrow = |character: char| character.is_ascii() || character == '…';
    let narrow = |character| if is_narrow(character) { character } else { '?' };
    let mut shown: String = line.chars().map(narrow).take(width).collect();
    if line.chars().count() > width && shown.pop().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look at so many seconds since 1970, at a process with as many signatures and failures.
    fn look(at: u64, signatures: u64, failures: u64) -> Look {
        let process = json!({
            "front_end": "akv_provider",
            "version": "1",
            "pid": 4711,
            "program": "ngi\u{1b}[2Jnx",
            "started": 1000.0,
            "bounds": [0.01, 0.02],
            "operations": [{
                "hsm": "MyHSM", "key": "web", "version": "0123456789abcdef", "operation": "sign",
                "outcomes": [
                    {"of": "ok", "count": signatures}, {"of": "Throttled", "count": failures},
                ],
                "retries": [{"of": "429", "count": 2 * failures}],
                "throttled": 3 * failures,
                "durations": [signatures, failures, 0],
                "seconds": 1.0,
            }],
            "tokens": [{"audience": "https://a", "renewals": [], "expires": 8200}],
            "connections": [{"endpoint": "https://a", "opened": 3, "open": 2}],
        });
        Look {
            at: UNIX_EPOCH + Duration::from_secs(at),
            processes: vec![serde_json::from_value(process).unwrap()],
            silent: Vec::new(),
        }
    }

    #[test]
    fn programs_are_told_what_was_counted_since_the_beginning() {
        let shown = json(&look(1010, 90, 10));
        let process = &shown["processes"][0];
        assert_eq!(process["program"], json!("ngi\\u{1b}[2Jnx"));
        assert_eq!(process["token_seconds_left"], json!(7190));
        let key = &process["keys"][0];
        for (member, expected) in [
            ("operations", json!(100)),
            ("failed", json!(10)),
            ("throttled", json!(30)),
            ("per_second", json!(10.0)),
            ("p50_ms", json!(5.556)),
            ("p99_ms", json!(19.0)),
            ("outcomes", json!({"ok": 90, "Throttled": 10})),
            ("retries", json!({"429": 20})),
        ] {
            assert_eq!(key[member], expected, "{member}");
        }
    }

    #[test]
    fn a_screen_tells_what_was_done_since_the_last_look() {
        let lines = screen(Some(&look(1010, 90, 10)), &look(1012, 110, 11), 200, 24);
        let words =
            |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        assert!(lines[0].starts_with("akv top: 1 process;"), "{lines:?}");
        assert_eq!(
            words(&lines[3]),
            [
                "4711",
                "ngi\\u{1b}[2Jnx",
                "akv_provider",
                "10.5",
                "0.5",
                "1.5",
                "1.0",
                "2",
                "119",
                "min"
            ]
        );
        assert_eq!(
            words(&lines[6]),
            [
                "4711",
                "sign",
                "10.5",
                "5.2",
                "17.9",
                "0.5",
                "1.5",
                "121",
                "MyHSM:web@01234567"
            ]
        );
        // One of the same number that has begun anew is another.
        let mut anew = look(1012, 7, 0);
        anew.processes[0].started = 1011.0;
        let lines = screen(Some(&look(1010, 90, 10)), &anew, 200, 24);
        assert_eq!(words(&lines[6])[2], "7.0");
    }

    #[test]
    fn a_screen_is_never_larger_than_its_terminal() {
        let mut now = look(1012, 110, 11);
        let process = now.processes[0].clone();
        now.processes = vec![process; 40];
        now.silent = vec![("a\u{1b}.sock".to_owned(), "it does not answer".to_owned()); 3];
        for (width, height) in [(1, 1), (10, 3), (40, 10), (80, 24), (500, 5), (30, 200)] {
            let lines = screen(None, &now, width, height);
            assert!(lines.len() <= height, "{width}x{height}: {lines:?}");
            for line in lines {
                assert!(line.chars().count() <= width, "{width}x{height}: {line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
        let lines = screen(None, &now, 80, 24);
        assert!(
            lines.iter().any(|line| line.starts_with("… and ")),
            "{lines:?}"
        );
        assert!(lines[0].contains("3 without an answer"), "{lines:?}");
    }

    #[test]
    fn nobody_is_shown_as_nobody() {
        let mut nobody = look(1012, 0, 0);
        nobody.processes.clear();
        assert_eq!(text(&nobody), "No process tells what it does.\n");
        nobody.silent = vec![("a.sock".to_owned(), "its process has ended".to_owned())];
        assert!(text(&nobody).ends_with("\na.sock: its process has ended\n"));
    }
}
