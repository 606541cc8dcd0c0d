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

/// What stands in a block and not in its test, which does the same in another way.
const OTHERWISE: [(&str, &str); 5] = [
    // There is no systemd in the test, which starts what the timer starts.
    ("tests/apps/acme.sh", "--now"),
    // By the options of `mariadbd`, as the page says.
    ("tests/apps/mariadb.sh", "ssl_cert"),
    ("tests/apps/mariadb.sh", "ssl_key"),
    // The number is that of the machine's Java.
    ("tests/apps/pkcs11-java.sh", "security.provider.12"),
    // The socket comes from the packaged unit's `ExecStart`.
    ("tests/apps/pkcs11-p11-kit.sh", "--name"),
];

/// What a block has its program do: the first word of each line of a configuration, and the long
/// options of commands.
fn directives<'a>(language: &str, text: &'a str) -> Vec<&'a str> {
    let lines = text.lines().map(|line| match line.split_once(" #") {
        Some((code, _)) => code.trim(),
        None => line.trim(),
    });
    let is_option = |word: &&str| word.starts_with("--") && word.len() > 3;
    let name = |word: &'a str| word.split(['=', ';', '"']).next().unwrap_or_default();
    lines
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            match language {
                "sh" => words.filter(is_option).map(name).collect(),
                _ => Vec::from_iter(words.next().map(name)),
            }
        })
        // Names of sections are the reader's.
        .filter(|word| word.len() > 2 && !word.starts_with('['))
        .collect()
}

/// A script with those of its folder that it reads.
fn with_what_it_reads(script: &str) -> String {
    let text = read(script);
    let folder = Path::new(script).parent().expect("a folder");
    let read_too = text.lines().filter_map(|line| {
        line.strip_prefix(". \"$(dirname \"$0\")/")?
            .strip_suffix('"')
    });
    let further = read_too.map(|name| read(folder.join(name)));
    further.fold(text.clone(), |all, one| all + &one)
}

/// A block that no test types names one that does the like: with the same directives and options.
#[test]
fn what_a_block_shows_is_in_the_test_that_it_names() {
    let (mut missing, mut seen) = (Vec::new(), 0);
    let mut otherwise = OTHERWISE.to_vec();
    for document in own_documents() {
        for (info, text) in code_blocks(&read(&document)) {
            let (language, reason) = info.split_once(" (").unwrap_or((&info, ""));
            let script = reason.trim_end_matches(')');
            let is_of_a_program = ["tests/apps/", "tests/pkcs11/"]
                .iter()
                .any(|folder| script.starts_with(folder));
            if !is_of_a_program || !["sh", "conf", "nginx"].contains(&language) {
                continue;
            }
            let test = with_what_it_reads(script);
            for word in directives(language, &text) {
                seen += 1;
                if test.contains(word) {
                    continue;
                }
                otherwise.retain(|one| *one != (script, word));
                if !OTHERWISE.contains(&(script, word)) {
                    missing.push(format!("{}: {script} has no {word}", document.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(otherwise.is_empty(), "excused without need: {otherwise:?}");
    assert!(seen > 150, "{seen}");
    let shown = directives("conf", "[web]\naccept = 443   # --x\nkey=a;\n");
    assert_eq!(shown, ["accept", "key"]);
    assert_eq!(
        directives("sh", "a --bc=d -e \"--f\" --gh"),
        ["--bc", "--gh"]
    );
}
