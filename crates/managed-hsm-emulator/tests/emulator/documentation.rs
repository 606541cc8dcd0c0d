//! The README's tables of operations and API versions, against the recordings and against the
//! emulator. That they have a row for each route is tested where routes are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::running::Emulator;

/// A table's columns with the versions that the emulator is asked in.
type Columns = [(&'static str, &'static [&'static str])];

/// The column of the versions that Microsoft describes for vaults only.
const UNDESCRIBED: &str = "7.0, 7.1";

const OF_HSM: [(&str, &[&str]); 9] = [
    (UNDESCRIBED, &["7.0", "7.1"]),
    ("7.2", &["7.2"]),
    ("7.3", &["7.3"]),
    ("7.4", &["7.4"]),
    ("7.5", &["7.5"]),
    ("7.6", &["7.6"]),
    ("2025-07-01", &["2025-07-01"]),
    (
        "2026-04-01",
        &[
            "2026-01-01-preview",
            "2026-03-01-preview",
            "2026-04-01",
            "2026-05-01-preview",
        ],
    ),
    ("2026-07-01-preview", &["2026-07-01-preview"]),
];

const OF_VAULT: [(&str, &[&str]); 9] = {
    let mut columns = OF_HSM;
    columns[0] = ("2016-10-01, 7.0, 7.1", &["2016-10-01", "7.0", "7.1"]);
    columns
};

/// The rows and their cells, by column, of the table whose first column is called so.
fn table(title: &str, columns: &Columns) -> BTreeMap<String, Vec<String>> {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once(&format!("| {title} |")).unwrap();
    let lines: Vec<&str> = rest.lines().take_while(|line| !line.is_empty()).collect();
    let header = lines[0].trim_end_matches('|').split('|').map(str::trim);
    assert!(header.eq(columns.iter().map(|(name, _)| *name)), "{title}");
    let rows = lines[2..].iter().map(|line| {
        let cells = line.trim_matches('|').split('|');
        let mut cells = cells.map(|cell| cell.trim().to_owned());
        (cells.next().unwrap().replace('`', ""), cells.collect())
    });
    rows.collect()
}

fn column_of(version: &str) -> &'static str {
    let found = OF_HSM.iter().find(|(name, _)| {
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

/// Asks for an operation with the owner's token, in each version of a column, and holds the cell
/// against the answers.
async fn check_cell(
    emulator: &Emulator,
    (url, token): (&str, &str),
    operation: &str,
    versions: &[&str],
    cell: &str,
) {
    let (method, path) = operation.split_once(' ').unwrap();
    let guid = "00000000-0000-0000-0000-000000000000";
    let path = path
        .replace("/{scope}/", "/providers/Microsoft.Authorization/")
        .replace("{id}", guid)
        .replace("{name}", "k");
    for version in versions {
        let body = (method != "GET").then(|| json!({}));
        let url = format!("{url}{path}?api-version={version}");
        let answer = emulator.call_with(token, method, &url, body).await;
        let unknown = answer.status == 400 && answer.error().1 == "NotSupported";
        let told = format!("{operation} in {version}: {}", answer.body);
        assert_eq!(cell == "–", unknown, "{told}");
        assert_ne!(answer.status, 401, "{told}");
        assert_ne!(answer.status, 405, "{told}");
    }
}

#[tokio::test]
async fn the_table_of_operations_and_versions_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let (url, token) = (emulator.url.as_str(), emulator.token(&[]));
    let mut recorded = recorded();
    for (operation, cells) in &table("operation", &OF_HSM) {
        assert_eq!(cells.len(), OF_HSM.len(), "{operation}");
        for ((column, versions), cell) in OF_HSM.iter().zip(cells) {
            let is_recorded = recorded.remove(&(operation.clone(), *column));
            assert_eq!(cell == "recorded", is_recorded, "{operation} in {column}");
            // Of 7.0 and 7.1 there is no description for HSMs; of each version since there is.
            let is_described = *column != UNDESCRIBED;
            let kind = if is_described {
                "documented"
            } else {
                "unconfirmed"
            };
            let told = format!("{operation} in {column}: {cell}");
            assert!(["–", "recorded", kind].contains(&cell.as_str()), "{told}");
            check_cell(&emulator, (url, &token), operation, versions, cell).await;
        }
    }
    assert!(recorded.is_empty(), "the table lacks {recorded:?}");
}

/// The recordings are of HSMs alone, and each version's operations of a vault are described.
#[tokio::test]
async fn the_table_of_a_vaults_operations_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--vault", "contoso"]);
    let url = emulator.further["vault contoso"].as_str();
    let token = emulator.token(&["--audience", "https://vault.azure.net"]);
    for (operation, cells) in &table("operation of a vault", &OF_VAULT) {
        assert_eq!(cells.len(), OF_VAULT.len(), "{operation}");
        for ((_, versions), cell) in OF_VAULT.iter().zip(cells) {
            assert!(["–", "documented"].contains(&cell.as_str()), "{operation}");
            check_cell(&emulator, (url, &token), operation, versions, cell).await;
        }
    }
}

/// The files under a folder of sources.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn what_is_unconfirmed_is_listed_in_one_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let place = "api/unconfirmed.rs";
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let relative = |path: &PathBuf| {
        let path = path.strip_prefix(&folder).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let is_marked = |path: &&PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let mut comments = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("//"));
        comments.any(|comment| comment.contains("Unconfirmed"))
    };
    let marked = files.iter().filter(is_marked).map(relative);
    let marked: BTreeSet<String> = marked.filter(|path| path != place).collect();
    let head = fs::read_to_string(folder.join(place)).unwrap();
    let items = head.lines().filter_map(|line| line.strip_prefix("//! - "));
    let names = items.flat_map(|item| item.split(':').next().unwrap().split('`'));
    let names = names.filter(|name| name.ends_with(".rs"));
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), marked);
}

/// What is unconfirmed and stands in the list of `unconfirmed.rs`, and the words for it in the
/// README.
const UNCONFIRMED: [(&str, &[&str]); 15] = [
    (
        "`api/access.rs`, `roles.rs`: the data actions of the connection to an external key \
         manager, and which role has them",
        &["the data actions, here `ekm/read/action`, `ekm/write/action`"],
    ),
    (
        "`api/audit.rs`: operations of audit records that aren't about keys, and results that \
         aren't successes",
        &["The names of operations that aren't about keys, and `Failure` for what isn't a success"],
    ),
    (
        "`api/body.rs`: what a version of the API without ML-DSA tells of such a key, and what 7.1 \
         and 7.2 tell of a release policy",
        &[
            "what a version without ML-DSA says of such a key",
            "an HSM shows a release policy as its JSON, recorded in 7.0; in 7.1 and 7.2",
        ],
    ),
    (
        "`api/cost.rs`: what a signature of ML-DSA costs of an HSM's capacity",
        &[
            "how fast an HSM is with ML-DSA",
            "sign, verify with ML-DSA | 330, as with P-256",
        ],
    ),
    (
        "`api/ekm/mod.rs`: that the certificate for the proxy is told before there is a connection",
        &["the certificate for the proxy is told before there is a connection"],
    ),
    (
        "`api/external.rs`: types, operations and rotation of external keys",
        &["types and operations of such keys, that they aren't rotated"],
    ),
    (
        "`api/full_backup.rs`: how many versions the restore of a key with several counts, and \
         what is told besides a code of an address without a container",
        &["what is said of a key with several versions"],
    ),
    (
        "`api/keys.rs`: that a vault leaves the authorities of a release policy as they are",
        &["that an authority without a path gets none"],
    ),
    (
        "`api/ml_dsa.rs`: what such a version says to a signature, and whether a request may name \
         the algorithm",
        &["whether `sign` and `verify` may name the `alg`"],
    ),
    (
        "`api/order.rs`: where `hsmPlatform`, `alg` and `pub` stand among a vault's members, and \
         `managed` beside `tags`",
        &["where `hsmPlatform`, `alg` and `pub` stand in it"],
    ),
    (
        "`api/release.rs`: the form of key attestations, and what a released symmetric key is \
         called",
        &[
            "the form of attestations",
            "that an HSM calls a released symmetric key `oct`",
        ],
    ),
    (
        "`api/reply.rs`: the four bytes of a vault's health",
        &["its four bytes, `true`"],
    ),
    (
        "`api/secure_wrap.rs`: in which form an environment gets an unwrapped key, and which \
         operations such a key has",
        &[
            "that its `value` is then encrypted to the environment",
            "whether such a key may have other operations too",
        ],
    ),
    (
        "`identity/refusal.rs`: texts of Entra ID, of the instance metadata service and of App \
         Service that no report and no document has",
        &[
            "some texts of the token service",
            "the texts of all that no report and no document has",
        ],
    ),
    (
        "`keys.rs`: that new EC keys have `deriveKey` in each version of the API, and that an HSM \
         makes `AKP-HSM` of `AKP`",
        &[
            "that the time makes the difference, and not the version",
            "that an HSM makes `AKP-HSM` of `AKP`",
        ],
    ),
];

/// Each paragraph or item of a text, in one line.
fn paragraphs(text: &str) -> Vec<String> {
    let text = text.replace("\n- ", "\n\n- ");
    let paragraphs = text.split("\n\n");
    let in_one_line = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    paragraphs.map(in_one_line).collect()
}

#[test]
fn the_readme_names_what_is_unconfirmed() {
    let head = include_str!("../../src/api/unconfirmed.rs");
    let head = head.lines().map_while(|line| line.strip_prefix("//!"));
    let head = head.map(str::trim_start).collect::<Vec<_>>().join("\n");
    let listed = paragraphs(&head).into_iter();
    let listed = listed.filter_map(|item| Some(item.strip_prefix("- ")?.to_owned()));
    let named = UNCONFIRMED.iter().map(|(item, _)| (*item).to_owned());
    // A new one, or one that says something else, wants words in the README.
    assert_eq!(
        listed.collect::<BTreeSet<_>>(),
        named.collect::<BTreeSet<_>>()
    );
    let readme = paragraphs(include_str!("../../README.md"));
    for (item, words) in UNCONFIRMED {
        for words in words {
            let place = readme.iter().find(|paragraph| paragraph.contains(words));
            let place = place.unwrap_or_else(|| panic!("{item}: no '{words}'"));
            let is_told = place.contains("Unconfirmed") || place.contains("unconfirmed");
            assert!(is_told, "{item}: {place}");
        }
    }
}
