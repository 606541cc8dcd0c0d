//! That documents, and what `akv` says, are in plain English, as far as phrases show that.

use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{own_documents, read};

/// What plain English says otherwise, and how.
const PHRASES: [(&str, &str); 24] = [
    ("all that there is to", "nothing, or the list"),
    ("as it were", "nothing"),
    ("be had", "get, or available"),
    ("comes of it", "the result"),
    ("easily", "how"),
    ("endpoint that is well", "healthy endpoint"),
    ("for ever", "forever"),
    ("in order to", "to"),
    ("in the place of", "instead of"),
    ("is no hsm", "is not an HSM"),
    ("is no matter of", "who does it"),
    ("is no validated", "is not a validated"),
    ("it should be noted", "nothing"),
    ("leverage", "use"),
    ("more to do than it can", "overloaded"),
    ("note that", "nothing"),
    ("obviously", "nothing"),
    ("of course", "nothing"),
    ("that are to last", "long-lived"),
    ("tell nothing of", "say nothing about"),
    ("utilize", "use"),
    ("vouches for", "endorses"),
    ("what passes", "transient failures"),
    ("whoever was in", "the intruder"),
];

/// The text of a document without code, its lines joined, in lower case.
fn prose(document: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => is_code = true,
            Event::End(TagEnd::CodeBlock) => is_code = false,
            Event::Text(text) if !is_code => prose.push_str(&text),
            Event::SoftBreak => prose.push(' '),
            Event::Code(_) => prose.push('`'),
            Event::End(end) if is_end_of_sentence(end) => prose.push('\n'),
            _ => {}
        }
    }
    prose.to_lowercase()
}

/// Whether a sentence can't go on behind it.
fn is_end_of_sentence(end: TagEnd) -> bool {
    let ends = [TagEnd::Paragraph, TagEnd::Item, TagEnd::TableCell];
    ends.contains(&end) || matches!(end, TagEnd::Heading(_))
}

/// Whether a text has a phrase, as whole words.
fn has_phrase(text: &str, phrase: &str) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.match_indices(phrase).any(|(at, found)| {
        let before = text.as_bytes()[..at].last();
        !is_word(before) && !is_word(text.as_bytes().get(at + found.len()))
    })
}

#[test]
fn the_documents_are_in_plain_english() {
    let mut found = Vec::new();
    for document in own_documents() {
        // What was said of a version stays.
        if document.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = prose(&read(&document));
        let phrases = PHRASES
            .iter()
            .filter(|(phrase, _)| has_phrase(&text, phrase));
        found.extend(
            phrases.map(|(phrase, better)| {
                format!("{}: '{phrase}': say {better}", document.display())
            }),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(has_phrase(&prose("It is so, of\ncourse"), "of course"));
    assert!(!has_phrase(&prose("`for ever`, a course"), "for ever"));
}

/// An HSM that is called a vault, and how it is called.
const CALLED_A_VAULT: [(&str, &str); 2] = [
    ("managedhsm:<vault>", "managedhsm:<HSM>"),
    ("<vault>.managedhsm", "<HSM>.managedhsm"),
];

/// Where the address or the scheme of an HSM calls it a vault.
fn hsm_called_a_vault(document: &str) -> Option<&str> {
    let mut lines = document.lines();
    lines.find(|line| CALLED_A_VAULT.iter().any(|(name, _)| line.contains(name)))
}

#[test]
fn an_hsm_is_called_so_wherever_it_is_named() {
    for document in own_documents() {
        let text = read(&document);
        let line = hsm_called_a_vault(&text);
        assert_eq!(line, None, "{}: write <HSM>", document.display());
    }
    assert!(hsm_called_a_vault("a\n`managedhsm:<vault>:<key>`\n").is_some());
}

/// What a source says to whoever runs the program: its texts, and the comments that clap shows as
/// help. A text goes on in the next line behind a backslash.
fn said(source: &str) -> Vec<String> {
    let production = source.split("\nmod tests {").next().unwrap_or_default();
    let mut said = vec![String::new()];
    let mut rest = production;
    while !rest.is_empty() {
        let end = match rest {
            _ if rest.starts_with("///") => {
                let end = rest.find('\n').unwrap_or(rest.len());
                let last = said.last_mut().expect("there is one");
                *last += &rest[3..end];
                let following = rest[end..].trim_start();
                if !following.starts_with("///") || following.starts_with("///\n") {
                    said.push(String::new());
                }
                end
            }
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("'\"'") => 3,
            _ if rest.starts_with('"') => {
                let mut is_escaped = false;
                let is_end = |letter: char| {
                    let ends = letter == '"' && !is_escaped;
                    is_escaped = letter == '\\' && !is_escaped;
                    ends
                };
                let end = rest[1..].find(is_end).map_or(rest.len(), |at| at + 1);
                let lines = rest[1..end].split("\\\n").map(str::trim_start);
                said.push(lines.collect::<Vec<_>>().concat());
                said.push(String::new());
                end + 1
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        rest = rest.get(end..).unwrap_or_default();
    }
    said.retain(|text| !text.is_empty());
    said
}

/// The sources in a folder, and in those within.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let each = paths.flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    each.collect()
}

#[test]
fn what_akv_says_is_in_plain_english() {
    let mut count = 0;
    let mut found = Vec::new();
    for path in sources(Path::new("crates/akv/src")) {
        if path.ends_with("tests.rs") {
            continue;
        }
        for text in said(&read(&path)) {
            count += 1;
            let text = text.to_lowercase();
            let phrases = PHRASES.iter().chain(&CALLED_A_VAULT);
            let phrases = phrases.filter(|(phrase, _)| has_phrase(&text, phrase));
            found.extend(phrases.map(|(phrase, better)| {
                format!("{}: '{phrase}' in '{text}': say {better}", path.display())
            }));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(count > 3000, "{count}");
    let source = "/// For\n    /// ever\n// a \"b\"\nf('\"', \"x \\\n    y\", \"\\\"z\")\nmod tests {\n\"w\"";
    assert_eq!(said(source), [" For ever", "x y", "\\\"z"]);
}
