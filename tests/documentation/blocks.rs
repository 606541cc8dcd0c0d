//! That each block of code in a document is run by a test, or read, or says why not.

use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{exists, own_documents, read};

/// The blocks of code of a document: what stands behind the fence, and the text.
fn code_blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut is_open = false;
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                is_open = true;
                let CodeBlockKind::Fenced(info) = kind else {
                    panic!("a block of code without fences");
                };
                blocks.push((info.into_string(), String::new()));
            }
            Event::Text(text) if is_open => blocks.last_mut().expect("one").1.push_str(&text),
            Event::End(TagEnd::CodeBlock) => is_open = false,
            _ => {}
        }
    }
    blocks
}

/// Why a block is run by no test, where none can.
const REASONS: [&str; 7] = [
    "it is a build",
    "it is a test",
    "needs Azure",
    "needs GitHub",
    "needs root",
    "needs tests of yours",
    "needs the engine",
];

/// What is wrong with a block, by what stands behind its fence: `sh` is run by the tests of
/// `walks`, data are read, and whatever is neither names in brackets the test that runs the like,
/// or why there is none.
fn fault_of_block(document: &Path, info: &str, text: &str, walks: &str) -> Option<String> {
    let fault = |fault: &str| Some(format!("{fault}: {text}"));
    let (language, reason) = info.split_once(" (").unwrap_or((info, ""));
    if let Some(reason) = reason.strip_suffix(')') {
        let is_known = REASONS.contains(&reason) || (reason.contains('/') && exists(reason, ""));
        return (!is_known).then(|| format!("there is no test or reason '{reason}'"));
    }
    match language {
        "sh" => {
            let path = document.strip_prefix(".").unwrap_or(document);
            let walk = format!("include_str!(\"../../{}\")", path.display());
            (!walks.contains(&walk)).then(|| "no test types its blocks".to_owned())
        }
        "json" => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => None,
            Err(error) => fault(&error.to_string()),
        },
        "ini" => match text.lines().all(is_line_of_configuration) {
            true => None,
            false => fault("not as a configuration file is written"),
        },
        "text" | "mermaid" => None,
        _ => fault("neither run nor read, and it doesn't say why"),
    }
}

/// Whether a line is a section, a value, a comment or nothing.
fn is_line_of_configuration(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    let is_section = line.starts_with('[') && line.ends_with(']');
    let value = line.split_once('=');
    let is_value = value.is_some_and(|(name, value)| !name.trim().is_empty() && !value.is_empty());
    line.is_empty() || is_section || is_value
}

#[test]
fn every_block_of_every_document_is_run_or_read_or_says_why_not() {
    let walks = read("tests/end_to_end/walk_through.rs");
    let (mut faults, mut run, mut seen) = (Vec::new(), 0, 0);
    for document in own_documents() {
        for (info, text) in code_blocks(&read(&document)) {
            let fault = fault_of_block(&document, &info, &text, &walks);
            faults.extend(fault.map(|fault| format!("{}: {fault}", document.display())));
            run += usize::from(info == "sh");
            seen += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(run > 40 && seen > 150, "{run} of {seen}");
}

#[test]
fn a_block_that_is_neither_run_nor_read_is_found() {
    let fault = |info, text, walks| fault_of_block(Path::new("./docs/a.md"), info, text, walks);
    let walk = "blocks_in(include_str!(\"../../docs/a.md\"))";
    assert_eq!(fault("sh", "true", walk), None);
    assert!(fault("sh", "true", "").is_some());
    assert_eq!(fault("sh (needs Azure)", "true", ""), None);
    assert_eq!(fault("conf (tests/apps/nginx.sh)", "x", ""), None);
    for info in [
        "",
        "bash",
        "conf",
        "sh (some day)",
        "conf (tests/apps/none.sh)",
    ] {
        assert!(fault(info, "true", walk).is_some(), "{info}");
    }
    assert_eq!(fault("json", "{}", ""), None);
    assert!(fault("json", "{", "").is_some());
    assert_eq!(fault("ini", "[a]\n# b\nc = d   # e\n", ""), None);
    assert!(fault("ini", "[a]\nc\n", "").is_some());
}
