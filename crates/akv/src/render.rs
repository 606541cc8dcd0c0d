//! Data as JSON, YAML, TSV or a table: the one place where what commands tell gets its form. There
//! are no secrets in it any more.

use managed_hsm::fit_json;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::{aligned, columns};

pub(crate) fn json(value: &Value) -> String {
    format!("{}\n", fit_json(&format!("{value:#}")))
}

/// YAML 1.2. What can't be seen is escaped, as text.
pub(crate) fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(&visible(value))
        .map_err(|error| Failure::told(format!("there is no YAML of this: {error}")))
}

/// Values separated by tabs, as `az` writes them: one line for each element of a list, with the
/// values of its members in the order of their names; of a list in it, the length; of an object in
/// it, nothing.
pub(crate) fn tsv(value: &Value) -> String {
    let row = |value: &Value| match value {
        Value::Array(cells) => joined(cells.iter()),
        Value::Object(members) => joined(sorted(members)),
        Value::Bool(value) => value.to_string(),
        Value::String(text) => visible_text(text),
        other => cell(other),
    };
    match value {
        Value::Null => String::new(),
        Value::Array(rows) => rows.iter().map(|value| row(value) + "\n").collect(),
        one => row(one) + "\n",
    }
}

fn sorted(members: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members.into_iter().map(|(_, value)| value)
}

fn joined<'a>(cells: impl Iterator<Item = &'a Value>) -> String {
    cells.map(cell).collect::<Vec<_>>().join("\t")
}

/// A value in a row, as `az` has it, where tabs and line ends would be taken for the table's. It is
/// whole, however long: programs read it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => managed_hsm::visible(text, usize::MAX),
        Value::Array(values) => values.len().to_string(),
        Value::Object(_) => String::new(),
    }
}

/// What a query has found, for people: a list as a table, an object as lines.
pub(crate) fn found(value: &Value) -> String {
    match &visible(value) {
        Value::Array(rows) => found_rows(rows),
        Value::Object(members) => {
            let rows = members.iter();
            let rows: Vec<_> = rows
                .map(|(name, value)| (name.as_str(), shown(value)))
                .collect();
            aligned(&rows)
        }
        Value::String(text) => format!("{text}\n"),
        other => shown(other) + "\n",
    }
}

fn found_rows(rows: &[Value]) -> String {
    let mut heading: Vec<String> = Vec::new();
    for row in rows {
        let names: Vec<String> = match row {
            Value::Object(members) => members.keys().cloned().collect(),
            Value::Array(cells) => (1..=cells.len()).map(|at| format!("Column{at}")).collect(),
            _ => vec!["Result".to_owned()],
        };
        heading.extend(
            names
                .into_iter()
                .filter(|name| !heading.contains(name))
                .collect::<Vec<_>>(),
        );
    }
    let cells = rows.iter().map(|row| {
        let of = |(at, name): (usize, &String)| match row {
            Value::Object(members) => members.get(name).map(shown),
            Value::Array(cells) => cells.get(at).map(shown),
            one => Some(shown(one)).filter(|_| name == "Result"),
        };
        heading
            .iter()
            .enumerate()
            .map(|one| of(one).unwrap_or_default())
            .collect()
    });
    let cells: Vec<Vec<String>> = cells.collect();
    let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
    match rows.is_empty() {
        true => String::new(),
        false => columns(&heading, cells),
    }
}

/// A value in a line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A value whose texts hide nothing.
fn visible(value: &Value) -> Value {
    match value {
        Value::String(text) => visible_text(text).into(),
        Value::Array(values) => values.iter().map(visible).collect(),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| (visible_text(name), visible(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

/// A text in its lines, in which a terminal obeys nothing.
fn visible_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' | '"' | '\'' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tsv_is_what_az_writes() {
        for (value, expected) in [
            (json!(null), ""),
            (json!("a b"), "a b\n"),
            (json!(true), "true\n"),
            (json!(["a", "b"]), "a\nb\n"),
            (
                json!([["a", 1, null], ["b", true, [1, 2]]]),
                "a\t1\tNone\nb\tTrue\t2\n",
            ),
            (json!({"b": 1, "a": "x", "c": {"d": 1}}), "x\t1\t\n"),
            (json!([{"name": "k", "enabled": false}]), "False\tk\n"),
            (json!([]), ""),
            (json!([{"a": "x\ty\nz"}]), "x y z\n"),
        ] {
            assert_eq!(tsv(&value), expected, "{value}");
        }
    }

    #[test]
    fn data_is_whole_and_a_table_marks_what_it_cuts() {
        let long = "x".repeat(1 << 17);
        let value = json!([{ "value": long }]);
        for text in [json(&value), tsv(&value), yaml(&value).unwrap()] {
            assert!(text.contains(&long), "{} bytes", text.len());
        }
        let text = found(&value);
        assert!(text.len() < 1 << 13 && text.ends_with("x…\n"), "{text}");
    }

    #[test]
    fn yaml_means_what_json_means() {
        let value = json!({
            "name": "k", "enabled": true, "none": null, "number": 1.5, "no": "no", "date": "2026-12-31",
            "tags": {"a: b": "- c"}, "list": ["x", {"y": []}], "pem": "-----BEGIN X-----\nAA==\n",
        });
        let text = yaml(&value).unwrap();
        assert!(
            text.contains("name: k\n") && text.contains("\"no\""),
            "{text}"
        );
        assert!(text.contains("-----BEGIN X-----\n"), "{text}");
    }

    #[test]
    fn no_form_lets_text_from_outside_move_the_cursor() {
        let value = json!([{"tag\u{202e}": "a\u{1b}[2J\u{9b}b\u{301}"}]);
        for text in [
            json(&value),
            yaml(&value).unwrap(),
            tsv(&value),
            found(&value),
        ] {
            let is_hidden =
                |c: char| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{301}');
            assert!(!text.contains(is_hidden), "{text:?}");
        }
        let one = json!("a\u{1b}\nb");
        assert_eq!(tsv(&one), "a\\u{1b}\nb\n");
        assert_eq!(found(&one), "a\\u{1b}\nb\n");
    }

    #[test]
    fn what_a_query_found_is_a_table() {
        let rows = json!([{"n": "web", "ops": ["sign", "verify"]}, {"n": "old", "x": {"y": 1}}]);
        assert_eq!(
            found(&rows),
            "n    ops           x\nweb  sign, verify\nold                {\"y\":1}\n"
        );
        assert_eq!(
            found(&json!([["a", 1], ["b"]])),
            "Column1  Column2\na        1\nb\n"
        );
        assert_eq!(found(&json!(["a"])), "Result\na\n");
        assert_eq!(
            found(&json!({"a": 1, "long": true})),
            "a     1\nlong  true\n"
        );
        assert_eq!(found(&json!([])), "");
    }
}
