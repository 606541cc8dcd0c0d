//! What commands print: text for people, JSON for programs.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use managed_hsm::{ForeignText, fit, fit_json, without_secrets};
use serde_json::Value;
use zeroize::Zeroizing;

/// The longest value or cell that is shown, in bytes.
const LONGEST: usize = 2048;

/// Form of the output.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct OutputOptions {
    /// Form of the output
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "FORM",
        default_value = "table"
    )]
    output: Form,
    /// The same as --output json
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables and lines for people
    #[default]
    Table,
    /// JSON for programs
    Json,
}

/// What a command has to say, in both forms.
pub(crate) struct Report {
    /// For people; ends with a line end unless it is empty.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: Value,
    /// What goes to standard output as it is, and alone.
    pub(crate) contents: Option<Zeroizing<Vec<u8>>>,
    /// Whether all was well: the exit status.
    pub(crate) is_good: bool,
}

impl Report {
    /// A report of something that went well.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json: redacted(json),
            contents: None,
            is_good: true,
        }
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self, options: OutputOptions) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match (&self.contents, options.is_json()) {
            (Some(_), true) => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "'--out -' and JSON can't both have standard output; name a file with --out",
            )),
            (Some(contents), false) => out.write_all(contents),
            (None, false) => out.write_all(self.text.as_bytes()),
            (None, true) => writeln!(out, "{}", fit_json(&format!("{:#}", self.json))),
        }?;
        out.flush()
    }
}

/// JSON without secrets in its texts, while they are known.
fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) => without_secrets(&text).into(),
        Value::Array(values) => values.into_iter().map(redacted).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            let redacted = |(name, value): (String, Value)| {
                (without_secrets(&name).into_owned(), redacted(value))
            };
            Value::Object(members.map(redacted).collect())
        }
        other => other,
    }
}

impl OutputOptions {
    pub(crate) fn is_json(self) -> bool {
        self.json || self.output == Form::Json
    }
}

/// Aligned lines, a name and a value each.
pub(crate) fn lines(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", fit(value, LONGEST)))
        .collect()
}

/// A table with a heading; as wide as the terminal at most, where there is one.
pub(crate) fn table(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heading);
    for row in rows {
        table.add_row(row.iter().map(|cell| fit(cell, LONGEST)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The last second that RFC 3339 has a form for, since 1970.
pub(crate) const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A time, or the end of the year 9999 where it is later: nothing that comes after has a form, and
/// Microsoft's client panics at it.
pub(crate) fn before_year_10000(at: SystemTime) -> SystemTime {
    at.min(UNIX_EPOCH + LAST)
}

/// A time as RFC 3339 in UTC. What is later than the year 9999 counts as its end.
pub(crate) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(before_year_10000(at)).to_string()
}

/// Seconds since 1970 as a time. Times before count as 1970.
pub(crate) fn from_unix(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Text from outside, fit for a terminal: one line, of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    ForeignText::new(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_no_form_is_shown_all_the_same() {
        assert_eq!(time(from_unix(0)), "1970-01-01T00:00:00Z");
        for seconds in [253_402_300_800, i64::MAX / 2] {
            assert_eq!(time(from_unix(seconds)), "9999-12-31T23:59:59Z");
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let shown = table(
            &["key", "enabled"],
            vec![
                vec!["a".to_owned(), "yes".to_owned()],
                vec!["longer".to_owned(), String::new()],
            ],
        );
        assert_eq!(shown, "key     enabled\na       yes\nlonger\n");
        assert_eq!(
            lines(&[("a", "1".to_owned()), ("long", "2".to_owned())]),
            "a     1\nlong  2\n"
        );
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2J\nb"), "a\\u{1b}[2J b");
        let shown = table(&["kid"], vec![vec!["a\u{202e}\nb".to_owned()]]);
        assert_eq!(shown, "kid\na\\u{202e} b\n");
        assert_eq!(lines(&[("a", "\u{9b}".to_owned())]), "a  \\u{9b}\n");
    }
}
