//! That the README's tables have a row for each route.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};

use super::Route;
use crate::service::Service;

/// Where routes are read. What they are made of are words there.
const SOURCES: [&str; 2] = [include_str!("../route.rs"), include_str!("../ekm/mod.rs")];

/// What stands for a name, a version or an id.
const ANY: &str = "{}";

/// What paths begin with: most with nothing, those of roles with a scope's.
const BEGINNINGS: [&str; 2] = ["", "/providers/microsoft.authorization"];

/// No route has more parts after that.
const MOST_PARTS: usize = 4;

const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// A kind of route, or a refusal, for each method.
type Outcomes = [Result<String, StatusCode>; METHODS.len()];

/// The texts of the sources that can be a part of a path, and one that stands for a name.
fn parts() -> BTreeSet<&'static str> {
    let code = SOURCES.map(|source| source.split("#[cfg(test)]").next().unwrap_or_default());
    let texts = code.into_iter().flat_map(|code| code.split('"'));
    let is_part = |text: &&str| {
        let mut bytes = text.bytes();
        !text.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte == b'.')
    };
    texts.filter(is_part).chain([ANY]).collect()
}

/// The route without the names in it, and without the version of a key.
fn kind(route: &Route) -> String {
    let text = format!("{route:?}");
    let outside_of_quotes: String = text.split('"').step_by(2).collect();
    outside_of_quotes.replace("Some()", "None")
}

/// What a path is with each method.
fn outcomes(service: Service, path: &str) -> Outcomes {
    METHODS.map(|method| {
        let route = Route::parse(service, &method, &path.replace(ANY, "k"));
        route.map(|it| kind(&it)).map_err(|failure| failure.status)
    })
}

/// Whether a path is more than unknown.
fn knows(outcomes: &Outcomes) -> bool {
    let unknown = Err(StatusCode::NOT_FOUND);
    outcomes.iter().any(|outcome| *outcome != unknown)
}

/// Every method and path that leads anywhere, the shortest for each kind of route. All paths of two
/// parts are tried, and what goes on from those that are known or begin with a known part; of parts
/// that do there what any name does, the name alone.
fn routes(service: Service) -> BTreeSet<String> {
    let parts = parts();
    let is_known = |path: &str| knows(&outcomes(service, path));
    let mut found = BTreeMap::new();
    for beginning in BEGINNINGS {
        let mut paths = vec![beginning.to_owned()];
        for depth in 1..=MOST_PARTS {
            let mut longer = Vec::new();
            for parent in &paths {
                let of_any_name = outcomes(service, &format!("{parent}/{ANY}"));
                for part in &parts {
                    let path = format!("{parent}/{part}");
                    let outcomes = outcomes(service, &path);
                    let goes_on = match depth {
                        1 => true,
                        2 if *part != ANY && outcomes == of_any_name => false,
                        2 => knows(&outcomes) || is_known(parent),
                        _ => knows(&outcomes),
                    };
                    note(&mut found, &path, outcomes);
                    if goes_on {
                        longer.push(path);
                    }
                }
            }
            paths = longer;
        }
    }
    found.into_values().map(|(_, _, row)| row).collect()
}

/// Keeps a path for each kind of route that it leads to, unless there is a shorter one, or one with
/// fewer words: a name that is a word elsewhere is a name.
fn note(
    found: &mut BTreeMap<(usize, String), (usize, usize, String)>,
    path: &str,
    outcomes: Outcomes,
) {
    let length = path.matches('/').count();
    let words = length - path.matches(ANY).count();
    for (index, kind) in outcomes.into_iter().enumerate() {
        let Ok(kind) = kind else { continue };
        let candidate = (length, words, format!("{} {path}", METHODS[index]));
        let best = found.entry((index, kind));
        let best = best.or_insert_with(|| candidate.clone());
        if candidate < *best {
            *best = candidate;
        }
    }
}

/// The operations of a table, whose first column is called so.
fn rows(title: &str) -> BTreeSet<String> {
    let readme = include_str!("../../../README.md");
    let (_, table) = readme.split_once(&format!("| {title} |")).unwrap();
    let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
    let row = |line: &str| {
        let row = line.split('`').nth(1).unwrap();
        let row = row.replace("{scope}", "providers/microsoft.authorization");
        row.replace("{name}", ANY).replace("{id}", ANY)
    };
    rows.map(row).collect()
}

#[test]
fn every_route_has_a_row_in_the_tables_of_operations() {
    for (service, title) in [
        (Service::ManagedHsm, "operation"),
        (Service::KeyVault, "operation of a vault"),
    ] {
        let (routes, rows) = (routes(service), rows(title));
        let without_row: Vec<_> = routes.difference(&rows).collect();
        let without_route: Vec<_> = rows.difference(&routes).collect();
        assert!(
            without_row.is_empty() && without_route.is_empty(),
            "{title}: without a row {without_row:?}, without a route {without_route:?}"
        );
    }
}
