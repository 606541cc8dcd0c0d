//! The modules of the client form layers: what a file uses does not use it in turn, except for
//! pairs of files that belong together.

#![allow(
    clippy::disallowed_methods,
    reason = "a test reads the sources of its own crate"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The path of a module, without the crate's own name. The crate's root has none.
type Module = Vec<String>;

/// The production code of each module: without comments, and without its tests.
fn sources(folder: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("text");
        let mut child = module.clone();
        if !matches!(name, "lib" | "mod") {
            child.push(name.to_owned());
        }
        if path.is_dir() {
            sources(&path, &child, found);
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source");
        let production = source.split("\nmod tests {").next().unwrap_or_default();
        let lines = production.lines();
        let code: Vec<&str> = lines
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect();
        found.insert(child, code.join("\n"));
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Reads the paths that begin here, also those of a group in braces. Returns what follows them.
fn paths<'a>(text: &'a str, before: &[String], found: &mut Vec<Module>) -> &'a str {
    let mut text = text.trim_start();
    let mut path = before.to_vec();
    loop {
        if let Some(group) = text.strip_prefix('{') {
            let mut rest = group.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                rest = paths(rest, &path, found);
                // A new name after `as` is of no interest.
                let end = rest.find([',', '}']).unwrap_or(rest.len());
                rest = rest[end..].trim_start_matches(',').trim_start();
            }
            return rest.strip_prefix('}').unwrap_or_default();
        }
        let end = text.find(|character| !is_of_name(character));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        path.push(name.to_owned());
        match rest.strip_prefix("::") {
            Some(next) => text = next.trim_start(),
            None => {
                found.push(path);
                return rest;
            }
        }
    }
}

/// All paths of a source that begin with `root`, such as `crate`.
fn paths_from(source: &str, root: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices(&format!("{root}::")) {
        let before = source[..at].chars().next_back();
        let is_start = before.is_none_or(|character| !is_of_name(character) && character != ':');
        if is_start {
            paths(&source[at..], &[], &mut found);
        }
    }
    found
}

/// The modules that each module names.
fn graph(sources: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let known = |path: &[String]| {
        let mut lengths = (0..=path.len()).rev();
        let found = lengths.find(|length| sources.contains_key(&path[..*length]));
        path[..found.expect("the crate's root is there")].to_vec()
    };
    let mut graph = BTreeMap::new();
    for (module, source) in sources {
        let mut uses = BTreeSet::new();
        for path in paths_from(source, "crate") {
            uses.insert(known(&path[1..]));
        }
        for path in paths_from(source, "super") {
            let up = path.iter().take_while(|name| *name == "super").count();
            let parent = &module[..module.len().saturating_sub(up)];
            uses.insert(known(&[parent, &path[up..]].concat()));
        }
        // A module names its own children without a prefix, or with `self`.
        for child in sources
            .keys()
            .filter(|other| other.len() == module.len() + 1)
        {
            let Some((name, parent)) = child.split_last() else {
                continue;
            };
            let is_own = parent == module.as_slice();
            if is_own && !paths_from(&source.replace("self::", ""), name).is_empty() {
                uses.insert(child.clone());
            }
        }
        uses.remove(module);
        graph.insert(module.clone(), uses);
    }
    graph
}

/// All modules that a module uses, itself or through others.
fn reachable(graph: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let mut left = vec![from.clone()];
    while let Some(module) = left.pop() {
        let next = graph[&module].iter();
        left.extend(next.filter(|next| found.insert((*next).clone())).cloned());
    }
    found
}

/// The groups of modules that all use each other.
fn circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<Module>> = graph
        .keys()
        .map(|module| (module, reachable(graph, module)))
        .collect();
    let circle = |module: &Module| {
        let others = reached[module].iter();
        others
            .filter(|other| reached[*other].contains(module))
            .cloned()
            .collect()
    };
    graph.keys().map(circle).collect()
}

#[test]
fn no_module_of_the_client_takes_part_in_a_circle_of_more_than_two_files() {
    let mut found = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&folder, &Vec::new(), &mut found);
    assert!(found.len() > 40, "{}", found.len());
    let graph = graph(&found);
    let uses: usize = graph.values().map(BTreeSet::len).sum();
    assert!(uses > 100, "{uses}");
    for circle in circles(&graph) {
        let names: Vec<String> = circle.iter().map(|module| module.join("/")).collect();
        assert!(circle.len() <= 2, "a circle of {names:?}");
    }
}

#[test]
fn circles_are_found_however_modules_name_each_other() {
    let sources = [
        ("", "pub use a::A;"),
        ("a", "use crate::{b::{self as other, B}, d::D};"),
        ("b", "fn f() { crate::c::g() }"),
        ("c", "use crate::c::inner::Inner;"),
        ("c/inner", "use super::super::a::A;"),
        ("d", "use std::fmt;"),
    ];
    let module = |name: &str| -> Module {
        let parts = name.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let sources = sources
        .map(|(name, source)| (module(name), source.to_owned()))
        .into();
    let expected = ["a", "b", "c", "c/inner"].map(module).into();
    let found = circles(&graph(&sources));
    assert_eq!(found, BTreeSet::from([BTreeSet::new(), expected]));
}
