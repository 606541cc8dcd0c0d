//! What the documents promise to list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

#[path = "documentation/blocks.rs"]
mod blocks;
#[path = "documentation/prose.rs"]
mod prose;

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The messages that a file of source code gives its errors: of each, the fixed parts that are long
/// enough to be looked for.
fn messages(source: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for block in source.split("#[error(").skip(1) {
        let string = block.split_once('"');
        let Some((_, text)) = string.filter(|(before, _)| before.trim().is_empty()) else {
            continue;
        };
        // A line that ends in a backslash goes on with the next one's first word.
        let text = text.split('"').next().unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.trim_start().trim_end_matches('\\'));
        let joined: String = lines.collect();
        let parts = joined.split(['{', '}']).step_by(2);
        let parts = parts.map(|part| {
            part.trim_matches([' ', ':', '(', ')', ';', '\''])
                .to_owned()
        });
        let parts: Vec<String> = parts.filter(|part| part.len() > 8).collect();
        if !parts.is_empty() {
            found.push(parts);
        }
    }
    found
}

/// The first words of a text.
fn beginning(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').take(5).collect();
    words.join(" ")
}

#[test]
fn the_troubleshooting_guide_has_every_error() {
    let guide = read("docs/troubleshooting.md");
    let mut count = 0;
    for source in [
        "src/error.rs",
        "crates/hsm-keys/src/error.rs",
        "crates/managed-hsm/src/error.rs",
        "crates/managed-hsm/src/uri/error.rs",
    ] {
        let messages = messages(&read(source));
        assert!(!messages.is_empty(), "{source} has no messages");
        for parts in messages {
            assert!(
                parts.iter().any(|part| guide.contains(&beginning(part))),
                "docs/troubleshooting.md lacks {parts:?} of {source}"
            );
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_names_of_all_settings_are_documented() {
    let document = read("docs/configuration.md");
    for source in [
        "crates/managed-hsm/src/settings/client.rs",
        "crates/managed-hsm/src/settings/credentials.rs",
    ] {
        let source = read(source);
        let names = source.split("variable: \"").skip(1);
        let names: Vec<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
        assert!(names.len() > 5);
        for name in names {
            assert!(
                document.contains(&format!("`{name}`")),
                "docs/configuration.md lacks {name}"
            );
        }
    }
}

/// All files below a folder with this ending, as one text.
fn all_sources(folder: &str, ending: &str) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let path = entry.expect("an entry").path();
        let name = path.to_str().expect("the path is text");
        if path.is_dir() {
            text.push_str(&all_sources(name, ending));
        } else if name.ends_with(ending) {
            text.push_str(&read(name));
        }
    }
    text
}

/// All sources of the project in Rust.
fn sources() -> String {
    let folders = ["src", "crates", "tests"];
    folders.map(|folder| all_sources(folder, ".rs")).concat()
}

/// Whether there is a test of this name, or a file.
fn exists(name: &str, sources: &str) -> bool {
    match name.contains('/') {
        true => fs::metadata(name).is_ok(),
        false => sources.contains(&format!("fn {name}(")),
    }
}

#[test]
fn every_defence_is_shown_by_a_test_that_exists() {
    let sources = sources();
    let document = read("docs/security.md");
    let mut tests = 0;
    for table in document.split("| attack | defence | shown by |").skip(1) {
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        for row in rows {
            let column = row
                .trim_end_matches('|')
                .rsplit('|')
                .next()
                .unwrap_or_default();
            let names: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "nothing shows this: {row}");
            for name in names {
                let exists = exists(name, &sources);
                assert!(exists, "docs/security.md names {name}, which there is not");
                tests += 1;
            }
        }
    }
    assert!(tests > 40, "{tests}");
}

/// The words of a source that have a form, without its comments.
fn words(source: &str, has_form: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let lines = source.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.starts_with("//"));
    let is_apart = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '"');
    let words = lines.flat_map(|line| line.split(is_apart));
    let words = words.filter(|word| has_form(word));
    words.map(str::to_owned).collect()
}

/// A name in quotes: a key of a configuration file, or one of its values.
fn is_quoted_name(word: &str) -> bool {
    let name = word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'));
    name.is_some_and(|name| name.len() > 2 && name.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[test]
fn the_pkcs11_modules_configuration_is_documented() {
    let document = read("docs/pkcs11.md").to_ascii_lowercase();
    let has = |name: &str| {
        let parts = document.split(|c: char| !c.is_ascii_alphanumeric());
        parts.clone().any(|part| part == name)
    };
    let mut count = 0;
    for file in ["mod", "log", "token"] {
        let source = read(format!("crates/akv-pkcs11/src/configuration/{file}.rs"));
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        for word in words(source, is_quoted_name) {
            let name = word.trim_matches('"').to_ascii_lowercase();
            // What the settings that follow are called there, and a name for errors.
            if ["endpoints", "keyvaultendpoint", "managedhsm"].contains(&name.as_str()) {
                continue;
            }
            assert!(has(&name), "docs/pkcs11.md lacks {word} of {file}.rs");
            count += 1;
        }
    }
    for file in ["client", "credentials"] {
        let source = read(format!("crates/managed-hsm/src/settings/{file}.rs"));
        let keys = source.split("key: Some(\"").skip(1);
        for key in keys.filter_map(|rest| rest.split('"').next()) {
            let name = key.replace('-', "");
            if !["endpoints", "keyvaultendpoint"].contains(&name.as_str()) {
                assert!(has(&name), "docs/pkcs11.md lacks {key}");
                count += 1;
            }
        }
    }
    assert!(count > 80, "{count}");
}

#[test]
fn the_pkcs11_modules_mechanisms_and_codes_are_documented() {
    let document = read("docs/pkcs11.md");
    let mechanisms = read("crates/akv-pkcs11/src/mechanisms.rs");
    let mechanisms = words(&mechanisms, |word| word.starts_with("CKM_"));
    let codes = words(&all_sources("crates/akv-pkcs11/src", ".rs"), |word| {
        word.starts_with("CKR_") && word != "CKR_OK"
    });
    assert!(mechanisms.len() > 40 && codes.len() > 20);
    for name in mechanisms.iter().chain(&codes) {
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/pkcs11.md lacks {name}"
        );
    }
}

#[test]
fn every_reason_of_the_provider_is_documented_with_its_number() {
    let document = read("docs/troubleshooting.md");
    let source = read("src/error.rs");
    let reasons = source.split("reasons! {").nth(1).unwrap_or_default();
    let reasons = reasons.split("\n}").next().unwrap_or_default();
    let texts: Vec<&str> = reasons
        .lines()
        .filter_map(|line| line.split("=> c\"").nth(1)?.strip_suffix("\","))
        .collect();
    assert!(texts.len() > 50);
    for (index, text) in texts.iter().enumerate() {
        let row = format!("\n| {} `{text}` | ", index + 1);
        assert!(
            document.contains(&row),
            "docs/troubleshooting.md lacks {row}"
        );
    }
}

/// All documents in a folder and those within, but for what is built there or hidden, and the
/// report that `nginx-example/test-client.sh` writes.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(documents(&path));
        } else if name.ends_with(".md") && name != "test-results.md" {
            found.push(path);
        }
    }
    found
}

/// The project's own documents, without those of others, which tests read.
fn own_documents() -> Vec<PathBuf> {
    let mut documents = documents(Path::new("."));
    documents.retain(|path| !path.iter().any(|part| part == "tests"));
    documents
}

/// A document: where its links lead, and the anchors of its headings as GitHub makes them.
fn links_and_anchors(text: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut links, mut anchors, mut seen) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => links.push(dest_url.into_string()),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let title = heading.take().unwrap_or_default().to_lowercase();
                let kept = |character: &char| {
                    character.is_alphanumeric() || matches!(character, ' ' | '-' | '_')
                };
                let anchor = title.chars().filter(kept).collect::<String>();
                let anchor = anchor.replace(' ', "-");
                // Of equal headings all but the first have a number.
                let before = seen.entry(anchor.clone()).or_insert(0);
                anchors.insert(match *before {
                    0 => anchor,
                    number => format!("{anchor}-{number}"),
                });
                *before += 1;
            }
            _ => {}
        }
    }
    (links, anchors)
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let (mut count, mut broken) = (0, Vec::new());
    for document in documents(Path::new(".")) {
        let folder = document.parent().expect("a folder");
        let (links, _) = links_and_anchors(&read(&document));
        for link in links.iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => folder.join(path),
            };
            let is_there = match anchor {
                "" => target.exists(),
                anchor => {
                    let text = fs::read_to_string(&target).unwrap_or_default();
                    links_and_anchors(&text).1.contains(anchor)
                }
            };
            if !is_there {
                broken.push(format!("{}: {link}", document.display()));
            }
            count += 1;
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 100, "{count}");
}

#[test]
fn the_architecture_names_every_module_and_no_other() {
    let document = read("ARCHITECTURE.md");
    for package in [
        "akv-pkcs11",
        "hsm-keys",
        "hsm-module",
        "managed-hsm",
        "managed-hsm-emulator",
    ] {
        let folder = format!("crates/{package}/src");
        let rows = rows(
            &document,
            &format!("| module of `{folder}/` | what it does |"),
        );
        let cells = rows.iter().flat_map(|row| spans(row[0]));
        let named: BTreeSet<&str> = cells.map(|name| name.trim_end_matches('/')).collect();
        let entries = fs::read_dir(&folder).expect("the folder");
        let stems = entries.map(|entry| entry.expect("an entry").path());
        let stems = stems.map(|path| path.file_stem().expect("a name").to_owned());
        let there: BTreeSet<String> = stems
            .map(|name| name.into_string().expect("text"))
            .filter(|name| !["lib", "main", "testdata"].contains(&name.as_str()))
            .collect();
        let named: BTreeSet<String> = named.into_iter().map(str::to_owned).collect();
        assert_eq!(named, there, "{package}");
    }
}

/// Images are built from what their files copy, and from nothing else.
#[test]
fn the_containers_build_has_the_documents_that_akv_reads() {
    let sources = all_sources("crates/akv/src", ".rs");
    let included: BTreeSet<&str> = sources
        .split("include_str!(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter_map(|path| path.trim_start_matches("../").split('/').next())
        .collect();
    assert!(included.len() > 1, "{included:?}");
    for image in ["container", "emulator"] {
        let container = read(format!("deploy/{image}/Containerfile"));
        let copied: BTreeSet<&str> = container
            .lines()
            .filter_map(|line| line.strip_prefix("COPY "))
            .flat_map(str::split_whitespace)
            .collect();
        for name in &included {
            assert!(copied.contains(name), "{image} copies no {name}");
        }
    }
}

/// What stands as code in a cell.
fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of all tables of a document with this heading, each with its cells.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let tables = document.split(heading).skip(1);
    let lines = tables.flat_map(|table| {
        let rows = table.lines().skip(2);
        rows.take_while(|line| line.starts_with('|'))
    });
    lines
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect()
}

#[test]
fn what_azure_cloud_hsm_has_is_there_with_its_test_or_missing_with_the_reason() {
    let document = read("docs/cloud-hsm.md");
    let sources = sources();
    let mechanisms = words(&read("crates/akv-pkcs11/src/mechanisms.rs"), |word| {
        word.starts_with("CKM_")
    });
    let attributes = words(&read("crates/akv-pkcs11/src/attributes.rs"), |word| {
        word.starts_with("CKA_")
    });
    let functions = all_sources("crates/akv-pkcs11/src/ffi", ".rs");
    let is_there = |name: &str| match name.get(..4) {
        Some("CKM_") => mechanisms.contains(name),
        Some("CKA_") => attributes.contains(name),
        _ => functions.contains(name),
    };
    let mut seen = BTreeSet::new();
    for kind in ["mechanism", "function", "attribute", "command"] {
        let supported = rows(&document, &format!("| {kind} | how | shown by |"));
        assert!(supported.len() > 5, "{kind}: {}", supported.len());
        for row in supported {
            let [names, _, tests] = row.as_slice() else {
                panic!("docs/cloud-hsm.md has a row without three cells: {row:?}");
            };
            assert!(!spans(tests).is_empty(), "nothing shows this: {names}");
            for test in spans(tests) {
                assert!(exists(test, &sources), "docs/cloud-hsm.md names {test}");
            }
            for name in spans(names) {
                let is_known = kind == "command" || is_there(name);
                assert!(is_known, "the module has no {name}");
                assert!(seen.insert(name), "docs/cloud-hsm.md has {name} twice");
            }
        }
        for row in rows(&document, &format!("| {kind} | why not |")) {
            for name in spans(row[0]) {
                let is_missing = kind != "mechanism" || !is_there(name);
                assert!(is_missing, "the module has {name}");
                assert!(seen.insert(name), "docs/cloud-hsm.md has {name} twice");
                assert!(row[1].len() > 10, "no reason for {name}");
            }
        }
    }
    assert!(seen.len() > 250, "{}", seen.len());
    let guide = read("crates/akv-pkcs11/tests/cloud_hsm/integrating-pkcs11.md");
    let named = words(&guide.replace('"', " "), |word| {
        ["C_", "CKM_", "CKA_"]
            .iter()
            .any(|start| word.starts_with(start))
    });
    assert!(named.len() > 8, "{named:?}");
    for name in &named {
        let is_told = seen.contains(name.as_str());
        assert!(
            is_told,
            "docs/cloud-hsm.md says nothing of the guide's {name}"
        );
    }
}

/// The scripts of a folder whose names begin so.
fn scripts(folder: &str, beginning: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with(beginning) && name.ends_with(".sh"))
        .collect()
}

#[test]
fn every_test_of_a_program_by_pkcs11_is_named_by_a_row_and_every_named_one_exists() {
    let document = read("docs/applications.md");
    let rows = rows(
        &document,
        "| program | versions tried | by | what is tried | test |",
    );
    let named: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.last().unwrap().trim().split(", "))
        .collect();
    let mut there = scripts("tests/apps", "pkcs11-");
    there.extend(scripts("tests/pkcs11", ""));
    assert!(there.len() > 20, "{}", there.len());
    for script in &there {
        assert!(named.contains(script.as_str()), "no row names {script}");
    }
    for name in named.iter().filter(|name| name.ends_with(".sh")) {
        assert!(there.iter().any(|script| script == name), "{name} is gone");
    }
}
