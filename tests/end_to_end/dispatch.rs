//! `src/openssl/functions.rs` has the numbers and the types of OpenSSL's own header.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::{Outcome, program};

/// Functions whose types the C compiler can't compare.
const EXCEPTIONS: [&str; 2] = [
    // The library context has a type of its own, and is passed on only.
    "CORE_GET_LIBCTX",
    // A va_list has no type in Rust: see src/openssl/core.rs.
    "CORE_VSET_ERROR",
];

/// Types that are known by another name in C.
const NAMES: [(&str, &str); 13] = [
    ("c_void", "void"),
    ("c_char", "char"),
    ("u8", "unsigned char"),
    ("usize", "size_t"),
    ("c_int", "int"),
    ("c_uint", "unsigned int"),
    ("Param", "OSSL_PARAM"),
    ("CoreHandle", "OSSL_CORE_HANDLE"),
    ("CoreBio", "OSSL_CORE_BIO"),
    ("Algorithm", "OSSL_ALGORITHM"),
    ("Item", "OSSL_ITEM"),
    ("Entry<Base>", "OSSL_DISPATCH"),
    ("Entry<Rand>", "OSSL_DISPATCH"),
];

/// A type of Rust's, declared in C under a name.
fn declared(rust: &str, name: &str) -> String {
    let rust = without(rust, "Option<").map_or(rust, |inner| inner.trim_end_matches('>'));
    let Some((_, function)) = rust.split_once("fn(") else {
        return format!("{} {name}", in_c(rust));
    };
    let (arguments, returned) = function.rsplit_once(')').expect("a function's type");
    // In lines of its own, what stands in an Option ends with a comma.
    let returned = returned.trim().trim_end_matches(',');
    let returned = without(returned, "->").map_or_else(|| "void".to_owned(), in_c);
    let arguments: Vec<String> = arguments
        .split(',')
        .map(|argument| argument.rsplit(": ").next().unwrap_or_default().trim())
        .filter(|argument| !argument.is_empty())
        .map(in_c)
        .collect();
    let arguments = match arguments.is_empty() {
        true => "void".to_owned(),
        false => arguments.join(", "),
    };
    format!("{returned} (*{name})({arguments})")
}

/// A type in C that is no function's: those have names of their own.
fn in_c(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(target) = without(rust, "*mut ") {
        return format!("{} *", in_c(target));
    }
    if let Some(target) = without(rust, "*const ") {
        return match target.starts_with('*') {
            true => format!("{} const *", in_c(target)),
            false => format!("const {} *", in_c(target)),
        };
    }
    let rust = without(rust, "Option<").map_or(rust, |inner| inner.trim_end_matches('>'));
    let known = NAMES.iter().find(|(name, _)| *name == rust);
    known.map_or(rust, |(_, in_c)| in_c).to_owned()
}

fn without<'a>(text: &'a str, beginning: &str) -> Option<&'a str> {
    text.strip_prefix(beginning)
}

/// The parts of a source between a beginning and a `;`, in one line each.
fn statements<'a>(source: &'a str, beginning: &'a str) -> impl Iterator<Item = String> + 'a {
    let parts = source.split(beginning).skip(1);
    parts.map(|part| {
        let statement = part.split(';').next().unwrap_or_default();
        let words: Vec<&str> = statement.split_whitespace().collect();
        words.join(" ")
    })
}

/// Of each function its number and its type, as Rust has them.
fn functions(source: &str) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for block in source.split("functions! {").skip(1) {
        let block = block.split("\n}").next().unwrap_or_default();
        // Behind the documentation and the interface's name.
        let (_, lines) = block.split_once(":\n").expect("an interface's name");
        for line in lines.split(';').filter(|line| !line.trim().is_empty()) {
            let (name, rest) = line.split_once(" = ").expect("a number");
            let (number, function) = rest.split_once(':').expect("a type");
            let words: Vec<&str> = function.split_whitespace().collect();
            let function = (number.to_owned(), words.join(" "));
            assert!(found.insert(name.trim().to_owned(), function).is_none());
        }
    }
    found
}

/// The name of a function's type in the header.
fn name_in_header(name: &str) -> String {
    let name = match name.strip_prefix("BIO_") {
        Some(name) => format!("BIO_{}", name.to_lowercase()),
        None => name.to_lowercase(),
    };
    format!("OSSL_FUNC_{name}_fn")
}

#[test]
fn functions_have_the_numbers_and_types_of_openssls_header() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |name: &str| std::fs::read_to_string(format!("{root}/src/openssl/{name}")).unwrap();
    let (types, source) = (read("ffi.rs"), read("functions.rs"));
    let mut program_text = "#include <openssl/core_dispatch.h>\n".to_owned();
    let aliases =
        statements(&types, "pub(crate) type ").chain(statements(&source, "pub(super) type "));
    for alias in aliases {
        let (name, rust) = alias.split_once(" = ").expect("a type");
        program_text += &format!("typedef {};\n", declared(rust, name));
    }
    let functions = functions(&source);
    assert!(functions.len() > 120, "{}", functions.len());
    for (name, (number, rust)) in &functions {
        program_text += &format!(
            "#ifdef OSSL_FUNC_{name}\n_Static_assert(OSSL_FUNC_{name} == {number}, \"{name}: number\");\n"
        );
        if !EXCEPTIONS.contains(&name.as_str()) {
            let (ours, theirs) = (format!("of_{name}"), name_in_header(name));
            program_text += &format!("typedef {};\n", declared(rust, &ours));
            program_text += &format!(
                "_Static_assert(__builtin_types_compatible_p({ours}, {theirs} *), \"{name}: type\");\n"
            );
        }
        program_text +=
            &format!("#else\n#pragma message \"not in this header: {name}.\"\n#endif\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("functions.c");
    std::fs::write(&file, program_text).unwrap();
    let compiler = program("cc");
    let mut command = Command::new(&compiler[0]);
    command
        .args(&compiler[1..])
        .args(["-std=gnu11", "-fsyntax-only"])
        .arg(&file);
    let outcome = Outcome::of(command);
    outcome.succeeds();
    let said = outcome.text();
    let is_absent = |name: &&String| said.contains(&format!("not in this header: {name}."));
    let absent = functions.keys().filter(is_absent).count();
    eprintln!(
        "{} of {} functions are in this header",
        functions.len() - absent,
        functions.len()
    );
    assert!(absent < functions.len() / 4, "{absent}");
}
