//! What holds in all packages: which may know which (a front end knows what it stands on, and
//! nothing knows a front end), what `unsafe` is for, and how long files and functions may be.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[cfg(unix)]
#[path = "house/toolchain.rs"]
mod toolchain;

/// The packages of the workspace that a manifest belongs to.
fn packages(manifest: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .args(["--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {problem}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn name(value: &Value) -> String {
    value["name"].as_str().expect("a name").to_owned()
}

/// What a package uses whenever it is used, and not only when it is tested: that has no kind.
fn used(package: &Value) -> impl Iterator<Item = &Value> {
    let all = package["dependencies"].as_array().expect("dependencies");
    all.iter().filter(|dependency| dependency["kind"].is_null())
}

/// The packages of the workspace, each with those of them that it is built from.
fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let packages = packages("Cargo.toml");
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let known = |package: &Value| {
        used(package)
            .map(name)
            .filter(|name| members.contains(name))
            .collect()
    };
    packages
        .iter()
        .map(|package| (name(package), known(package)))
        .collect()
}

/// All that a package is built from.
fn dependencies(name: &str) -> BTreeSet<String> {
    let direct = direct_dependencies();
    let mut found = BTreeSet::new();
    let mut left = vec![name.to_owned()];
    while let Some(name) = left.pop() {
        let next = direct.get(&name).unwrap_or_else(|| panic!("no {name}"));
        left.extend(
            next.iter()
                .filter(|next| found.insert((*next).clone()))
                .cloned(),
        );
    }
    found
}

#[test]
fn dependencies_lead_from_the_front_ends_to_the_client_and_nowhere_else() {
    for (package, expected) in [
        ("managed-hsm", &[][..]),
        ("hsm-keys", &["managed-hsm"]),
        ("akv", &["hsm-keys", "managed-hsm"]),
        ("hsm-module", &["managed-hsm"]),
        ("akv_provider", &["hsm-keys", "hsm-module", "managed-hsm"]),
        ("akv-pkcs11", &["hsm-keys", "hsm-module", "managed-hsm"]),
        ("managed-hsm-emulator", &[]),
    ] {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(dependencies(package), expected, "{package}");
    }
}

/// The different lines that `cargo tree` has of what a package is built from, itself included.
fn tree(package: &str, options: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--locked", "--prefix", "none"]);
    command.args(["--package", package]);
    let output = command.args(options).output().expect("cargo runs");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {problem}");
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().map(str::to_owned).collect()
}

/// What a package is built from in the end: no tools of its build.
const RUNTIME: [&str; 2] = ["--edges", "normal"];

/// Otherwise what both are built from, the client among it, would be built twice.
#[test]
fn both_modules_are_built_from_the_same_crates_with_the_same_features() {
    let [provider, token] = ["akv_provider", "akv-pkcs11"].map(|package| {
        let options = [
            "--edges",
            "normal,build",
            "--no-dedupe",
            "--format",
            "{p} [{f}]",
        ];
        tree(package, &options)
    });
    let differing: Vec<&str> = (provider.symmetric_difference(&token))
        .filter_map(|line| line.split(' ').next())
        .collect();
    // Themselves, and the types of PKCS#11, which the provider has no use for.
    let allowed = ["akv-pkcs11", "akv_provider", "cryptoki-sys", "libloading"];
    assert_eq!(differing, allowed);
}

/// A crate has one line where what it needs is told each time, else one more that refers to it.
#[test]
fn the_documents_tell_how_many_crates_there_are() {
    let document = std::fs::read_to_string("docs/authentication.md").expect("a document");
    let count = |package, options: &[&str]| tree(package, &[&RUNTIME, options].concat()).len();
    let crates = |package| count(package, &["--no-dedupe"]);
    let without = |package| count(package, &["--no-dedupe", "--no-default-features"]);
    let [provider, akv] =
        ["akv_provider", "akv"].map(|package| (crates(package), without(package)));
    assert!(
        provider.1 < provider.0 && akv.1 < akv.0,
        "{provider:?} {akv:?}"
    );
    // As many as there were when the provider was all that there was, counted as then.
    let lines = count("akv_provider", &[]);
    assert!(lines < 279, "{lines}");
    let told = format!(
        "the provider has {} crates instead of {}, and `akv` {} instead of {}",
        provider.1, provider.0, akv.1, akv.0
    );
    let document = document.replace('\n', " ");
    assert!(document.contains(&told), "{told}");
}

/// The fuzzers build the modules' sources in packages of their own, which name all that these need.
#[test]
fn fuzzers_have_the_dependencies_of_the_modules() {
    let modules = packages("Cargo.toml");
    let fuzzers = packages("fuzz/Cargo.toml");
    let features = |dependency: &Value| -> BTreeSet<String> {
        let all = dependency["features"].as_array().expect("features");
        all.iter()
            .map(|feature| feature.as_str().expect("a name").to_owned())
            .collect()
    };
    for module in ["akv_provider", "akv-pkcs11"] {
        let find = |all: &[Value], wanted: &str| {
            let found = all.iter().find(|package| name(package) == wanted);
            found.unwrap_or_else(|| panic!("no {wanted}")).clone()
        };
        let fuzzer = find(&fuzzers, &format!("{module}-fuzz"));
        let had: BTreeMap<String, BTreeSet<String>> = used(&fuzzer)
            .map(|dependency| (name(dependency), features(dependency)))
            .collect();
        for dependency in used(&find(&modules, module)) {
            let lacking = match had.get(&name(dependency)) {
                Some(had) => &features(dependency) - had,
                None => panic!("fuzz: {module}-fuzz lacks {}", name(dependency)),
            };
            assert!(
                lacking.is_empty(),
                "{module}-fuzz: {} without {lacking:?}",
                name(dependency)
            );
        }
    }
}

#[test]
fn each_dependency_of_the_workspace_is_one_of_a_package() {
    let manifest = std::fs::read_to_string("Cargo.toml").expect("a manifest");
    let (_, section) = manifest
        .split_once("\n[workspace.dependencies]\n")
        .expect("they are there");
    let section = section.split("\n[").next().unwrap_or_default();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    let named: BTreeSet<&str> = lines
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    assert!(named.len() > 50, "{named:?}");
    let packages = packages("Cargo.toml");
    let used = packages.iter().flat_map(|package| {
        let all = package["dependencies"].as_array().expect("dependencies");
        all.iter().map(name)
    });
    let used: BTreeSet<String> = used.collect();
    let unused: Vec<_> = named.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn keys_have_no_word_of_openssls_provider_interface() {
    let sources = sources(Path::new("crates/hsm-keys/src"));
    for (path, source) in &sources {
        for word in [
            "OSSL_",
            "EVP_",
            "CStr",
            "akv_provider",
            "pkeyopt",
            "unsafe {",
            "CKM_RSA",
        ] {
            assert!(!source.contains(word), "{} has {word}", path.display());
        }
    }
    assert!(sources.len() > 10);
}

/// All sources in Rust in a folder, and in those within.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    files(folder, &["rs"])
}

/// All files with these endings in a folder, and in those within, but for what tests have installed
/// or built there.
fn files(folder: &Path, endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let is_foreign = ["target", "node_modules"].map(OsStr::new);
        if path.is_dir() {
            if !is_foreign.contains(&path.file_name().unwrap_or_default()) {
                found.extend(files(&path, endings));
            }
        } else if path
            .extension()
            .is_some_and(|end| endings.iter().any(|one| end == *one))
        {
            let source = std::fs::read_to_string(&path).expect("a source");
            found.push((path, source));
        }
    }
    found
}

#[test]
fn each_unsafe_block_names_the_rule_that_it_keeps() {
    let mut count = 0;
    for folder in ["src", "crates", "fuzz/fuzz_targets", "tests", "benches"] {
        for (path, source) in sources(Path::new(folder)) {
            let comments = source
                .lines()
                .filter_map(|line| line.split_once("// SAFETY: "));
            for (_, rule) in comments {
                let names_none = [
                    "as above",
                    "as below",
                    "as in",
                    "see ",
                    "the caller's promise.",
                ];
                let is_none = names_none.iter().any(|words| rule.starts_with(words));
                assert!(!is_none, "{}: {rule}", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 200, "{count}");
}

#[test]
fn functions_become_bare_pointers_in_one_place() {
    let folders = ["src", "crates/akv-pkcs11/src"].map(Path::new);
    let sources: Vec<_> = folders.into_iter().flat_map(sources).collect();
    for (path, source) in &sources {
        for words in [
            "as *const c_void",
            "as *const ()",
            "Box::into_raw",
            "Arc::into_raw",
        ] {
            assert!(!source.contains(words), "{} has {words}", path.display());
        }
    }
    assert!(sources.len() > 80, "{}", sources.len());
}

/// What `then_some` takes is made first, and ends where the condition doesn't hold: what has
/// something to give back then gives back what it never had, such as a NULL pointer.
#[test]
fn values_are_made_once_the_condition_holds() {
    let makes_one = |argument: &str| {
        let name = argument.trim_start().split(['{', '(', ')']).next();
        let name = name.unwrap_or_default().trim_end();
        let is_type = name.starts_with(|first: char| first.is_ascii_uppercase());
        is_type
            && argument.trim_start()[name.len()..]
                .trim_start()
                .starts_with('{')
    };
    for folder in ["src", "crates"].map(Path::new) {
        for (path, source) in sources(folder) {
            if !source.contains(" Drop for ") {
                continue;
            }
            let eager = source.split(".then_some(").skip(1).find(|it| makes_one(it));
            assert!(eager.is_none(), "{}: {eager:?}", path.display());
        }
    }
    assert!(makes_one("Self { handle })") && makes_one("\n    Method {\n"));
    assert!(!makes_one("found)") && !makes_one("Task::Sign(algorithm)).ok_or_else(|| {"));
}

/// A line without `pub` and what stands in its parentheses.
fn without_visibility(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("pub") else {
        return line;
    };
    let rest = match rest.strip_prefix('(').and_then(|it| it.split_once(')')) {
        Some((_, rest)) => rest,
        None => rest,
    };
    rest.trim_start()
}

/// The names of documents' files in the lines of a source that are neither comments nor name what
/// is compiled in.
fn named_documents(source: &str) -> Vec<&str> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.contains("include_str!("));
    let named = code.flat_map(|line| line.split("docs/").skip(1));
    let name = |rest: &'_ str| {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        rest[end..].starts_with(".md").then_some(end)
    };
    named
        .filter_map(|rest| name(rest).map(|end| &rest[..end]))
        .collect()
}

/// The lines of a source that send a reader of messages to what only the sources have: a script
/// without the package beside it, a document by the name of its file, the README other than as a
/// page of `akv docs`.
fn lines_for_readers_of_sources(source: &str) -> Vec<&str> {
    let lines: Vec<&str> = source.lines().collect();
    let is_shown = |line: &str| {
        let line = line.trim_start();
        // What clap shows as help is written as a comment.
        let is_comment = line.starts_with("//") && !line.starts_with("/// ");
        !is_comment && !line.contains("include_str!(")
    };
    let is_for_few = |at: usize| {
        let line = lines[at];
        let around = lines[at.saturating_sub(2)..lines.len().min(at + 3)].concat();
        let names_script = ["ubuntubuild", "release-build"].map(|script| line.contains(script));
        let names_file = line
            .match_indices(".md")
            .any(|(end, _)| line[..end].ends_with(|c: char| c.is_ascii_alphanumeric()));
        names_script.contains(&true) && !around.contains("package")
            || names_file
            || line.contains("the README")
    };
    let found = (0..lines.len()).filter(|at| is_shown(lines[*at]) && is_for_few(*at));
    found.map(|at| lines[at]).collect()
}

/// What `akv` says is for somebody who may have its package and nothing else.
#[test]
fn akv_names_what_the_user_of_a_package_has() {
    let mut count = 0;
    for (path, source) in sources(Path::new("crates/akv/src")) {
        let production = source.split("\nmod tests {").next().unwrap_or_default();
        let found = lines_for_readers_of_sources(production);
        assert!(found.is_empty(), "{}: {found:?}", path.display());
        count += 1;
    }
    assert!(count > 70, "{count}");
    for (line, is_good) in [
        ("\"install it by ubuntubuild.sh\"", false),
        ("/// where ubuntubuild.sh installs it", false),
        ("\"install the package akv, or run ubuntubuild.sh\"", true),
        ("// where ubuntubuild.sh installs it", true),
        ("\"see pkcs11.md\"", false),
        ("\"see 'Identity' in the README\"", false),
        ("\"{name}.md\"", true),
    ] {
        let found = lines_for_readers_of_sources(line);
        assert_eq!(found.is_empty(), is_good, "{line}");
    }
}

/// Who reads a message has the programs, and `akv docs`, but not the folder `docs`.
#[test]
fn messages_name_documents_as_akv_shows_them() {
    let packages = std::fs::read_dir("crates").expect("the packages");
    let packages = packages.map(|entry| entry.expect("an entry").path().join("src"));
    let mut count = 0;
    for folder in packages.chain([PathBuf::from("src")]) {
        for (path, source) in sources(&folder) {
            if path.ends_with("tests.rs") {
                continue;
            }
            let production = source.split("\nmod tests {").next().unwrap_or_default();
            let named = named_documents(production);
            assert!(named.is_empty(), "{}: {named:?}", path.display());
            count += 1;
        }
    }
    assert!(count > 200, "{count}");
    let source = "// docs/a.md\ninclude_str!(\"../docs/a.md\")\n\"see docs/b-c.md)\"\n";
    assert_eq!(named_documents(source), ["b-c"]);
}

/// The functions of a source that have more than `most` lines.
fn long_functions(source: &str, most: usize) -> Vec<&str> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let words = ["const ", "async ", "unsafe ", "extern \"C\" "];
        let mut rest = without_visibility(text);
        while let Some(after) = words.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = after;
        }
        if !rest.starts_with("fn ") {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - text.len()]);
        let length = lines[at..].iter().position(|line| *line == end);
        if length.is_some_and(|length| length >= most) {
            found.push(text);
        }
    }
    found
}

/// Tests are no production code, so they may have long functions.
#[test]
fn files_and_functions_fit_on_a_few_screens() {
    let mut count = 0;
    let folders = ["src", "crates", "tests", "benches", "fuzz", "scripts"].map(Path::new);
    let endings = ["rs", "sh", "py", "c", "h", "js", "ts"];
    let files = |folder| files(folder, &endings);
    for (path, source) in folders.into_iter().flat_map(files) {
        let length = source.lines().count();
        assert!(length <= 600, "{} has {length} lines", path.display());
        let of_tests = ["tests", "tests.rs", "benches", "fuzz"].map(OsStr::new);
        let is_of_tests = path.iter().any(|part| of_tests.contains(&part));
        if is_of_tests || path.extension() != Some(OsStr::new("rs")) {
            continue;
        }
        count += 1;
        let path = path.display();
        let production = source.split("\nmod tests {").next();
        let long = long_functions(production.unwrap_or_default(), 70);
        assert!(long.is_empty(), "{path} has long functions: {long:?}");
    }
    assert!(count > 200, "{count}");
    for head in [
        "fn f() {",
        "pub async fn f() {",
        "pub(super) const fn f() {",
        "pub(in crate::openssl) unsafe extern \"C\" fn f() {",
    ] {
        let source = format!("    {head}\n{}    }}\n", "\n".repeat(69));
        assert_eq!(long_functions(&source, 71).len(), 0, "{head}");
        assert_eq!(long_functions(&source, 70), [head]);
    }
}

/// What stands in a terminal and in a review without being broken. Not meant are tables, code,
/// links' targets, and one word or one code span that is longer.
#[test]
fn comments_and_prose_are_wrapped_at_100_columns() {
    let is_whole = |text: &str| {
        let spans = text.matches('`').count() == 2 && text.starts_with('`') && text.ends_with('`');
        spans || !text.contains(' ')
    };
    let too_wide = |line: &str| line.chars().count() > 100;
    let folders = ["src", "crates", "tests", "benches"].map(Path::new);
    for (path, source) in folders.into_iter().flat_map(sources) {
        for (at, line) in source
            .lines()
            .enumerate()
            .filter(|(_, line)| too_wide(line))
        {
            let comment = line.trim_start().strip_prefix("//");
            let is_good =
                comment.is_none_or(|text| is_whole(text.trim_start_matches(['/', '!', ' '])));
            assert!(
                is_good,
                "{}:{}: wider than 100 columns",
                path.display(),
                at + 1
            );
        }
    }
    let documents = std::fs::read_dir("docs").expect("the documents");
    let documents = documents.map(|entry| entry.expect("a document").path());
    let further = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ];
    let documents = documents.chain(further.map(PathBuf::from));
    for path in documents.filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = std::fs::read_to_string(&path).expect("a document");
        let mut in_code = false;
        for (at, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            let is_prose = !in_code && !line.starts_with('|');
            let is_good = !is_prose || !too_wide(line) || is_whole(line.trim());
            assert!(
                is_good,
                "{}:{}: wider than 100 columns",
                path.display(),
                at + 1
            );
        }
    }
}
