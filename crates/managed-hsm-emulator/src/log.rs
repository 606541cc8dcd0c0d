//! The request log: one line for each request, on stderr, if the process wants it. Tests count
//! connections with it.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `name=value` for people and grep.
    #[default]
    Text,
    /// A JSON object in each line.
    Json,
}

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Has the emulators of this process write a line to stderr for each request and each event;
/// without this they write nothing. The first call counts.
pub fn log_to_stderr(format: LogFormat) {
    let _ = FORMAT.set(format);
}

/// What the log tells about one request. Never a token, a body or a query.
pub(crate) struct RequestLine<'a> {
    pub(crate) connection: u64,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) milliseconds: u128,
    pub(crate) request_id: &'a str,
}

/// Writes the line of a request that has been answered.
pub(crate) fn request(line: &RequestLine<'_>) {
    match FORMAT.get() {
        None => {}
        Some(LogFormat::Json) => write_json(serde_json::json!({
            "connection": line.connection,
            "method": line.method,
            "path": line.path,
            "status": line.status,
            "ms": u64::try_from(line.milliseconds).unwrap_or(u64::MAX),
            "request_id": line.request_id,
        })),
        Some(LogFormat::Text) => write_line(format_args!(
            "connection={} method={} path={} status={} ms={} request_id={}",
            line.connection,
            line.method,
            line.path,
            line.status,
            line.milliseconds,
            line.request_id
        )),
    }
}

/// Writes a line about something other than a request.
pub(crate) fn event(text: impl Display) {
    match FORMAT.get() {
        None => {}
        Some(LogFormat::Json) => write_json(serde_json::json!({"event": text.to_string()})),
        Some(LogFormat::Text) => write_line(format_args!("event={:?}", text.to_string())),
    }
}

fn write_json(mut line: serde_json::Value) {
    line["time"] = crate::clock::rfc3339_now().into();
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

fn write_line(text: std::fmt::Arguments<'_>) {
    let line = format!("{} {text}\n", crate::clock::rfc3339_now());
    // A closed stderr must not stop the emulator, which eprintln! would.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
