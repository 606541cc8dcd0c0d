//! What commands print: text for people, data for programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use managed_hsm::{ForeignText, KeyName, KeyUri, visible, without_secrets};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::query::{self, Query, query};
use crate::{OF_ALL, render, standard_error, standard_output};

/// The longest value or cell that is shown, in bytes.
const LONGEST: usize = 2048;

/// Form of the output.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OutputOptions {
    /// Form of the output [default: table, or json with --query]
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "FORM",
        help_heading = OF_ALL
    )]
    output: Option<Form>,
    /// The same as --output json
    #[arg(long, global = true, conflicts_with = "output", help_heading = OF_ALL)]
    json: bool,
    /// What of the output is wanted, as a JMESPath expression: '[].name', "[?enabled].key | [0]"
    #[arg(long, global = true, value_name = "EXPRESSION", value_parser = query, help_heading = OF_ALL)]
    query: Option<Query>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables and lines for people
    Table,
    /// JSON for programs
    #[value(alias = "jsonc")]
    Json,
    /// Values separated by tabs, for shells
    #[value(alias = "text")]
    Tsv,
    /// YAML
    #[value(aliases = ["yamlc", "yml"])]
    Yaml,
    /// Nothing: the exit status says it all
    None,
}

/// What a command has to say, in both forms.
pub(crate) struct Report {
    /// For people; ends with a line end unless it is empty.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: Value,
    /// What goes to standard output as it is, and alone.
    pub(crate) contents: Option<Zeroizing<Vec<u8>>>,
    /// What is done once all of it is told, and else not: it is of no use without.
    pub(crate) last: Option<Last>,
    /// Whether all was well: the exit status.
    pub(crate) is_good: bool,
}

/// The last step of a command.
pub(crate) type Last = Box<dyn FnOnce() -> Result<(), Failure>>;

impl Report {
    /// A report of something that went well.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json: match json {
                Value::Array(rows) => rows.into_iter().map(shared).collect(),
                one => shared(one),
            },
            contents: None,
            last: None,
            is_good: true,
        }
    }

    /// The same with data under a name, which programs are told byte for byte.
    pub(crate) fn with_data(mut self, name: &str, data: String) -> Self {
        self.json[name] = data.into();
        self
    }

    /// Writes it to standard output. What it returns is a query that can't be applied: all is
    /// written then, and the command has done what it was to do.
    pub(crate) fn print(&self, options: &OutputOptions) -> Result<Option<Failure>, Failure> {
        match &self.contents {
            None => {
                let rendered = self.rendered(options)?;
                standard_output::write(rendered.text.as_bytes())?;
                rendered
                    .note
                    .into_iter()
                    .for_each(standard_error::tell_line);
                Ok(rendered.failed.map(Failure::Query))
            }
            Some(contents) if options.is_plain() => {
                standard_output::write(contents)?;
                Ok(None)
            }
            Some(_) => Err(Failure::usage(
                "'--out -' and JSON or another form can't both have standard output; name a file with --out",
            )),
        }
    }

    /// In the form that is wanted. Of what isn't shown at all nothing is asked.
    fn rendered(&self, options: &OutputOptions) -> Result<Rendered, Failure> {
        let form = options.form();
        let query = options.query.as_ref().filter(|_| form != Form::None);
        let found = query.map(|query| query::find(query, &self.json));
        let (found, failed) = match found.transpose() {
            Ok(found) => (found, None),
            Err(problem) => (None, Some(problem)),
        };
        let value = found.as_ref().unwrap_or(&self.json);
        let text = match (form, &found) {
            (Form::Table, None) => self.text.clone(),
            (Form::Table, Some(found)) => render::found(found),
            (Form::Json, _) => render::json(value),
            (Form::Tsv, _) => render::tsv(value),
            (Form::Yaml, _) => render::yaml(value)?,
            (Form::None, _) => String::new(),
        };
        let asked = query.zip(found.as_ref());
        let note = asked.and_then(|(query, found)| query::note::note(query, &self.json, found));
        Ok(Rendered { text, note, failed })
    }
}

/// A report in the form that is wanted.
struct Rendered {
    text: String,
    /// What is to be said of a query that finds nothing.
    note: Option<String>,
    /// Why the query can't be applied: the text is that of the whole report then.
    failed: Option<String>,
}

/// What a report tells of one thing: names of keys as they are, and all else without secrets.
fn shared(value: Value) -> Value {
    let Value::Object(members) = value else {
        return redacted(value);
    };
    let shared = |(of, value): (String, Value)| match &value {
        Value::String(text) if is_name(&of, text) => (of, value),
        _ => (of, redacted(value)),
    };
    Value::Object(members.into_iter().map(shared).collect())
}

/// Whether a text, under such a heading of a report, is a key's name or URI: no secret, even if a
/// short one is a part of it.
fn is_name(heading: &str, text: &str) -> bool {
    let is_uri = || {
        text.parse::<KeyUri>()
            .is_ok_and(|uri| uri.to_string() == text)
    };
    ["key", "name", "version"].contains(&&*heading.to_ascii_lowercase())
        && (text.parse::<KeyName>().is_ok() || is_uri())
}

/// JSON without secrets in its texts, while they are known.
pub(crate) fn redacted(value: Value) -> Value {
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
    fn form(&self) -> Form {
        match (self.output, self.json || self.query.is_some()) {
            (Some(form), _) => form,
            (None, true) => Form::Json,
            (None, false) => Form::Table,
        }
    }

    /// Whether programs read the output, and errors with it.
    pub(crate) fn is_json(&self) -> bool {
        self.form() == Form::Json
    }

    /// Whether `value` is printed of what programs are told, which is in `json` then.
    pub(crate) fn tells(&self, json: &Value, value: &str) -> Result<bool, Failure> {
        let found = self.query.as_ref().map(|query| query::find(query, json));
        Ok(match (self.form(), found) {
            (Form::None, _) => false,
            (_, None) => true,
            // Nothing is done yet.
            (_, Some(found)) => found.map_err(Failure::Usage)?.to_string().contains(value),
        })
    }

    /// Whether the output is what the command says by itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.form() == Form::Table && self.query.is_none()
    }
}

/// Aligned lines, a name and a value each.
pub(crate) fn lines(rows: &[(&str, String)]) -> String {
    let rows = rows.iter();
    let rows: Vec<_> = rows
        .map(|(name, value)| (*name, shown(name, value)))
        .collect();
    aligned(&rows)
}

/// The same of values without secrets.
pub(crate) fn aligned(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", visible(value, LONGEST)))
        .collect()
}

/// A value under such a heading: a key's name as it is, and all else without secrets.
fn shown(heading: &str, value: &str) -> String {
    match is_name(heading, value) {
        true => value.to_owned(),
        false => without_secrets(value).into_owned(),
    }
}

/// A table with a heading; as wide as the terminal at most, where there is one.
pub(crate) fn table(heading: &[&str], mut rows: Vec<Vec<String>>) -> String {
    for row in &mut rows {
        for (of, cell) in std::iter::zip(heading, row) {
            *cell = shown(of, cell);
        }
    }
    columns(heading, rows)
}

/// The same of cells without secrets.
pub(crate) fn columns(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heading);
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell, LONGEST)));
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

/// A time that something took, in milliseconds, as a person says it.
pub(crate) fn milliseconds(time: f64) -> String {
    match time {
        _ if time < 1000.0 => format!("{time:.1} ms"),
        _ if time < 120_000.0 => format!("{:.1} s", time / 1e3),
        _ => format!("{:.0} min", time / 6e4),
    }
}

/// How long something lasts, in one unit, rounded down.
pub(crate) fn rough(time: Duration) -> String {
    match time.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

/// Text from outside, fit for a terminal: one line, of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    ForeignText::new(text).to_string()
}

#[cfg(test)]
mod tests {
    use managed_hsm::Secret;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_that_has_no_form_is_shown_all_the_same() {
        assert_eq!(time(from_unix(0)), "1970-01-01T00:00:00Z");
        for seconds in [253_402_300_800, i64::MAX / 2] {
            assert_eq!(time(from_unix(seconds)), "9999-12-31T23:59:59Z");
        }
    }

    #[test]
    fn times_are_in_units_that_people_say() {
        for (time, shown) in [(3.21, "3.2 ms"), (1500.0, "1.5 s"), (180_000.0, "3 min")] {
            assert_eq!(milliseconds(time), shown);
        }
        for (minutes, shown) in [
            (0, "0 min"),
            (119, "119 min"),
            (1439, "23 h"),
            (2880, "2 days"),
        ] {
            assert_eq!(rough(Duration::from_secs(minutes * 60)), shown);
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
    fn a_name_is_whole_even_if_a_short_secret_is_a_part_of_it() {
        let _secret = Secret::new("Signing".to_owned());
        let uri = "managedhsm:MyHSM:Signing-key?version=0123456789abcdef0123456789abcdef";
        let told = json!({ "key": uri, "name": "Signing-key", "tags": { "name": "Signing-x" } });
        let report = Report::new("", json!([told]));
        let expected = json!([{ "key": uri, "name": "Signing-key", "tags": { "name": "…-x" } }]);
        assert_eq!(report.json, expected);
        for form in [Form::Json, Form::Tsv, Form::Yaml] {
            let mut options = OutputOptions {
                output: Some(form),
                query: Some(query("[].[key, name, tags.name]").unwrap()),
                ..OutputOptions::default()
            };
            let text = report.rendered(&options).unwrap().text;
            assert!(text.contains(uri) && text.contains("…-x"), "{text}");
            options.output = Some(Form::Table);
            let text = report.rendered(&options).unwrap().text;
            assert!(text.contains(uri) && text.contains("…-x"), "{text}");
        }
        assert_eq!(lines(&[("Key", uri.to_owned())]), format!("Key  {uri}\n"));
        assert_eq!(lines(&[("Tags", "Signing".to_owned())]), "Tags  …\n");
        let row = ["Signing-key", "Signing-key"].map(str::to_owned).to_vec();
        let shown = table(&["key", "other"], vec![row]);
        assert_eq!(shown, "key          other\nSigning-key  …-key\n");
        // What only begins like one.
        let odd = format!("{uri}&x=Signing");
        assert!(!lines(&[("Key", odd)]).contains("Signing"));
    }

    #[test]
    fn a_query_that_fails_hides_nothing_of_what_was_done() {
        let report = Report::new("name  web\n", json!({ "name": "web" }));
        let shown = |form, text| {
            let options = OutputOptions {
                output: Some(form),
                query: Some(query(text).unwrap()),
                ..OutputOptions::default()
            };
            report.rendered(&options).unwrap()
        };
        for (form, whole) in [
            (Form::Table, "name  web\n"),
            (Form::Json, "{\n  \"name\": \"web\"\n}\n"),
            (Form::Tsv, "web\n"),
            (Form::Yaml, "name: web\n"),
        ] {
            let rendered = shown(form, "sort_by(@, &x)");
            assert_eq!((&*rendered.text, rendered.note), (whole, None));
            let failed = rendered.failed.expect("it can't be sorted");
            assert!(failed.contains("--query 'sort_by(@, &x)'"), "{failed}");
            assert!(shown(form, "name").failed.is_none());
        }
        let nothing = shown(Form::None, "sort_by(@, &x)");
        assert_eq!((&*nothing.text, nothing.failed), ("", None));
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2J\nb"), "a\\u{1b}[2J b");
        let shown = table(&["kid"], vec![vec!["a\u{202e}\nb".to_owned()]]);
        assert_eq!(shown, "kid\na\\u{202e} b\n");
        assert_eq!(lines(&[("a", "\u{9b}".to_owned())]), "a  \\u{9b}\n");
    }
}
