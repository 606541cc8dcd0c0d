//! The README's table of operations and API versions, against the recordings and against the
//! emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::running::Emulator;

/// A version of each column that the emulator is asked in.
const COLUMNS: [(&str, &str); 8] = [
    ("7.0, 7.1", "7.1"),
    ("7.2", "7.2"),
    ("7.3", "7.3"),
    ("7.4", "7.4"),
    ("7.5", "7.5"),
    ("7.6", "7.6"),
    ("2025-07-01", "2025-07-01"),
    ("2026", "2026-04-01"),
];

/// The rows and their cells, by column.
fn table() -> BTreeMap<String, Vec<String>> {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("| operation |").unwrap();
    let (table, _) = rest.split_once("\n\n").unwrap();
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split('|').map(str::trim).collect();
    let names = COLUMNS.map(|(name, _)| name);
    assert_eq!(header[..names.len()], names);
    let rows = lines.skip(1).map(|line| {
        let cells = line.trim_matches('|').split('|');
        let mut cells = cells.map(|cell| cell.trim().to_owned());
        (cells.next().unwrap().replace('`', ""), cells.collect())
    });
    rows.collect()
}

fn column_of(version: &str) -> &'static str {
    let found = COLUMNS.iter().find(|(name, _)| {
        let names = name.split(", ");
        let mut names =
            names.map(|name| version == name || version.starts_with(&format!("{name}-")));
        names.any(|named| named)
    });
    found.unwrap_or_else(|| panic!("{version} has no column")).0
}

/// The row of a request.
fn row(method: &str, path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let segments: Vec<String> = segments
        .iter()
        .map(|part| part.to_ascii_lowercase())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let path = match segments.as_slice() {
        [.., "providers", "microsoft.authorization", what] => format!("/{{scope}}/{what}"),
        [.., "providers", "microsoft.authorization", what, _] => {
            format!("/{{scope}}/{what}/{{id}}")
        }
        ["keys", "restore"] => "/keys/restore".to_owned(),
        ["settings", _] => "/settings/{name}".to_owned(),
        [collection @ ("keys" | "deletedkeys")] => format!("/{collection}"),
        [collection @ ("keys" | "deletedkeys"), _] => format!("/{collection}/{{name}}"),
        ["keys", _, version] if version.len() == 32 => "/keys/{name}".to_owned(),
        [collection @ ("keys" | "deletedkeys"), .., action] => {
            format!("/{collection}/{{name}}/{action}")
        }
        other => format!("/{}", other.join("/")),
    };
    format!("{method} {path}")
}

/// What the recordings have, by row and column.
fn recorded() -> BTreeSet<(String, &'static str)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/recorded");
    let mut recorded = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let recording: Value = serde_json::from_str(&text).unwrap_or_default();
        for entry in recording["entries"].as_array().into_iter().flatten() {
            let uri = entry["request"]["uri"].as_str().unwrap();
            let (_, path) = uri
                .strip_prefix("https://")
                .unwrap()
                .split_once('/')
                .unwrap();
            let (path, query) = path.split_once('?').unwrap();
            let mut parameters = query.split('&');
            let version = parameters.find_map(|one| one.strip_prefix("api-version="));
            if let (Some(version), Some(200..300)) = (version, entry["response"]["status"].as_u64())
            {
                let method = entry["request"]["method"].as_str().unwrap();
                recorded.insert((row(method, path), column_of(version)));
            }
        }
    }
    recorded
}

#[tokio::test]
async fn the_table_of_operations_and_versions_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let (table, mut recorded) = (table(), recorded());
    let guid = "00000000-0000-0000-0000-000000000000";
    for (operation, cells) in &table {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path
            .replace("/{scope}/", "/providers/Microsoft.Authorization/")
            .replace("{id}", guid)
            .replace("{name}", "k");
        for ((column, version), cell) in COLUMNS.iter().zip(cells) {
            let is_recorded = recorded.remove(&(operation.clone(), *column));
            assert_eq!(cell == "recorded", is_recorded, "{operation} in {column}");
            let body = (method != "GET").then(|| json!({}));
            let path = format!("{path}?api-version={version}");
            let answer = emulator.call(method, &path, body).await;
            let unknown = answer.status == 400 && answer.error().1 == "NotSupported";
            assert_eq!(
                cell == "–",
                unknown,
                "{operation} in {version}: {}",
                answer.body
            );
            assert_ne!(answer.status, 405, "{operation}: {}", answer.body);
            let known = ["recorded", "documented", "unconfirmed", "–"];
            assert!(known.contains(&cell.as_str()), "{operation}: {cell}");
        }
        assert_eq!(cells.len(), COLUMNS.len(), "{operation}");
    }
    assert!(recorded.is_empty(), "the table lacks {recorded:?}");
}
