//! A line of the log: text for people, or JSON for programs. What libraries log may come from a
//! server, so all of it is made fit to show.

use std::fmt::Write as _;
use std::time::SystemTime;

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Record};
use serde_json::{Map, json};

use crate::foreign::{fit, shown};
use crate::settings::provider::LogFormat;

/// The longest message, in bytes. With all else a line is shorter than what a pipe takes whole
/// (PIPE_BUF, 4096 bytes).
const LONGEST: usize = 1500;

/// What the message of a request says already; as fields they are for programs.
const IN_MESSAGE: [&str; 2] = ["operation", "key"];

/// A record's line, with its end.
pub(super) fn of(record: &Record<'_>, format: LogFormat) -> Vec<u8> {
    let mut fields = Fields(Map::new());
    // It collects, which can't fail.
    let _ = record.key_values().visit(&mut fields);
    let message = fit(&record.args().to_string(), LONGEST);
    line(record.level(), record.target(), message, fields.0, format)
}

/// The line that tells how many lines were lost.
pub(super) fn of_lost(lost: u64, format: LogFormat) -> Vec<u8> {
    let message = format!("{lost} lines of the log were lost: nobody took them");
    let mut fields = Map::new();
    fields.insert("lost".to_owned(), lost.into());
    line(Level::Warn, module_path!(), message, fields, format)
}

fn line(
    level: Level,
    target: &str,
    message: String,
    fields: Map<String, serde_json::Value>,
    format: LogFormat,
) -> Vec<u8> {
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    let pid = std::process::id();
    let mut line = match format {
        LogFormat::Text => {
            let mut text = format!("[{time} {level:<5} {target} {pid}] {message}");
            for (name, value) in fields {
                if !IN_MESSAGE.contains(&name.as_str()) {
                    // One with blanks is quoted: it could pass for further fields.
                    let _ = match value {
                        serde_json::Value::String(value) if !value.contains(' ') => {
                            write!(text, " {name}={value}")
                        }
                        value => write!(text, " {name}={value}"),
                    };
                }
            }
            text
        }
        LogFormat::Json => {
            // A library's field of one of these names is not ours.
            let mut all = fields;
            all.insert("time".to_owned(), json!(time.to_string()));
            all.insert("level".to_owned(), json!(level.as_str()));
            all.insert("pid".to_owned(), json!(pid));
            all.insert("target".to_owned(), json!(target));
            all.insert("message".to_owned(), json!(message));
            serde_json::Value::Object(all).to_string()
        }
    };
    line.push('\n');
    line.into_bytes()
}

/// The fields of a record. Numbers stay numbers.
struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, name: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = match value.to_u64() {
            Some(number) => json!(number),
            None => json!(shown(value.to_string())),
        };
        self.0.insert(name.as_str().to_owned(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: LogFormat) -> String {
        let fields = [
            ("operation", Value::from("sign with")),
            ("ms", Value::from(7u64)),
            ("level", Value::from("OTHER")),
        ];
        let line = of(
            &Record::builder()
                .level(Level::Warn)
                .target("managed_hsm::transport")
                .args(format_args!("sign with {}", "k\n\u{1b}[2J"))
                .key_values(&&fields[..])
                .build(),
            format,
        );
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_has_the_process_and_the_fields_and_nothing_that_a_terminal_obeys() {
        let pid = std::process::id();
        let text = record(LogFormat::Text);
        let expected = format!(
            " WARN  managed_hsm::transport {pid}] sign with k \\u{{1b}}[2J level=OTHER ms=7\n"
        );
        assert!(text.ends_with(&expected), "{text}");
        let json: serde_json::Value = serde_json::from_str(&record(LogFormat::Json)).unwrap();
        assert_eq!((&json["level"], &json["ms"]), (&json!("WARN"), &json!(7)));
        assert_eq!(
            (&json["pid"], &json["operation"]),
            (&json!(pid), &json!("sign with"))
        );
        assert_eq!(json["message"], json!("sign with k \\u{1b}[2J"));
    }

    #[test]
    fn a_pipe_takes_every_line_whole() {
        let long = "\"".repeat(10_000);
        let fields: Vec<_> = ["operation", "key", "algorithm", "status", "request_id"]
            .map(|name| (name, Value::from(long.as_str())))
            .into();
        let line = of(
            &Record::builder()
                .args(format_args!("{long}"))
                .key_values(&&fields[..])
                .build(),
            LogFormat::Json,
        );
        // Only a hostile service makes it longer than this; it is cut in two writes then.
        assert!(line.len() < 8192, "{}", line.len());
    }
}
