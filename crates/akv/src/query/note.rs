//! What is said when a query asks for a member that the output doesn't have: which are there, and
//! what to type for the names that Azure's command line has.

use std::collections::BTreeSet;

use jmespath::ast::Ast;
use serde_json::Value;

use super::{Query, find, parts, query};
use crate::output::one_line;

/// What `az` calls members, and what they are called here: the first that the output has counts.
const AZURES: [(&str, &[&str]); 28] = [
    ("accessToken", &["token"]),
    ("attributes.created", &["created"]),
    ("attributes.enabled", &["enabled"]),
    ("attributes.expires", &["expires"]),
    ("attributes.expiryTime", &["expires_after"]),
    ("attributes.exportable", &["exportable"]),
    ("attributes.notBefore", &["not_before"]),
    ("attributes.updated", &["updated"]),
    ("deletedDate", &["deleted"]),
    ("expiresIn", &["expires_after"]),
    ("expiresOn", &["expires"]),
    ("expires_on", &["expires"]),
    ("expiryTime", &["expires_after"]),
    ("key.crv", &["curve"]),
    ("key.keyOps", &["operations"]),
    ("key.key_ops", &["operations"]),
    ("key.kid", &["kid", "key"]),
    ("key.kty", &["type"]),
    ("kid", &["key"]),
    ("kty", &["type"]),
    ("lifetimeActions", &["actions"]),
    ("principalId", &["principal"]),
    ("principalName", &["principal"]),
    ("result", &["ciphertext", "plaintext", "value"]),
    ("roleDefinitionId", &["role_id"]),
    ("roleName", &["role"]),
    ("scheduledPurgeDate", &["purged"]),
    ("tenantId", &["tenant"]),
];

/// Members whose own members have names that somebody else gave.
const FREE: [&str; 2] = ["settings", "tags"];

/// What to say of a query that finds nothing. None: it asks for what there is, or something may be
/// there that this command has no value for.
pub(crate) fn note(asked: &Query, told: &Value, found: &Value) -> Option<String> {
    let members = members(told);
    if members.is_empty() || !is_lacking(found) {
        return None;
    }
    let absent = absent(asked, told);
    let is_of_list = told.is_array() && found.is_null() && begins_with_field(asked.as_ast());
    if absent.is_empty() && !is_of_list {
        return None;
    }
    let why = match absent.first() {
        None => "the output is a list".to_owned(),
        Some(name) => format!("the output has no member '{}'", one_line(name)),
    };
    let better = better(asked.as_str(), told, is_of_list);
    let better = better.map(|better| format!("type --query \"{better}\"; "));
    let members: Vec<String> = members.iter().map(|name| one_line(name)).collect();
    Some(format!(
        "note: --query '{}' finds nothing: {why}; {}the members{} are {}",
        one_line(asked.as_str()),
        better.unwrap_or_default(),
        if told.is_array() { " of each" } else { "" },
        members.join(", ")
    ))
}

/// The names that an output has for a query to begin with.
fn members(told: &Value) -> BTreeSet<&str> {
    let objects = match told {
        Value::Array(rows) => rows.iter().collect(),
        one => vec![one],
    };
    let objects = objects.into_iter().filter_map(Value::as_object);
    objects
        .flat_map(|object| object.keys().map(String::as_str))
        .collect()
}

/// Whether something is missing in what was found.
fn is_lacking(found: &Value) -> bool {
    match found {
        Value::Null => true,
        Value::Array(values) => values.is_empty() || values.iter().any(is_lacking),
        Value::Object(members) => members.values().any(Value::is_null),
        _ => false,
    }
}

/// The names that a query asks for, and the output has nowhere.
fn absent(asked: &Query, told: &Value) -> Vec<String> {
    let mut names = Names::default();
    names.add(told);
    names.collect(asked.as_ast());
    let is_absent = |name: &String| !names.there.contains(name);
    names.asked.into_iter().filter(is_absent).collect()
}

#[derive(Default)]
struct Names {
    /// Those that are looked for, in their order.
    asked: Vec<String>,
    /// Those that are there, or that the query itself makes: `{name: ...}`.
    there: BTreeSet<String>,
    /// Those of members that have members or elements.
    with_inner: BTreeSet<String>,
    /// Those of texts, numbers and so on.
    simple: BTreeSet<String>,
}

impl Names {
    /// Adds the names of a value, and of what is in it.
    fn add(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.add(value)),
            Value::Object(members) => {
                for (name, value) in members {
                    self.there.insert(name.clone());
                    match value {
                        Value::Null => false,
                        Value::Array(_) | Value::Object(_) => self.with_inner.insert(name.clone()),
                        _ => self.simple.insert(name.clone()),
                    };
                    self.add(value);
                }
            }
            _ => {}
        }
    }

    fn collect(&mut self, ast: &Ast) {
        match ast {
            Ast::Field { name, .. } => self.asked.push(name.clone()),
            Ast::Subexpr { lhs, rhs, .. } => return self.collect_path(lhs, rhs),
            Ast::MultiHash { elements, .. } => {
                let made = elements.iter().map(|element| element.key.clone());
                self.there.extend(made);
            }
            _ => {}
        }
        for part in parts(ast) {
            self.collect(part);
        }
    }

    /// A member of a member: a text has none, whatever else has such a name.
    fn collect_path(&mut self, outer: &Ast, inner: &Ast) {
        self.collect(outer);
        match (last_field(outer), inner) {
            (Some(name), _) if FREE.contains(&name) => {}
            (Some(name), Ast::Field { name: of_it, .. })
                if self.simple.contains(name) && !self.with_inner.contains(name) =>
            {
                self.asked.push(format!("{name}.{of_it}"));
            }
            _ => self.collect(inner),
        }
    }
}

fn last_field(ast: &Ast) -> Option<&str> {
    match ast {
        Ast::Field { name, .. } => Some(name),
        Ast::Subexpr { rhs, .. } | Ast::Projection { rhs, .. } => last_field(rhs),
        _ => None,
    }
}

fn begins_with_field(ast: &Ast) -> bool {
    match ast {
        Ast::Field { .. } => true,
        Ast::Subexpr { lhs, .. } => begins_with_field(lhs),
        _ => false,
    }
}

/// The same query by the names that members have here, if it finds something.
fn better(asked: &str, told: &Value, is_of_list: bool) -> Option<String> {
    let mut names = Names::default();
    names.add(told);
    let mut better = if is_of_list { "[]." } else { "" }.to_owned();
    better += &translated(asked, &names.there);
    let made = query(&better).ok()?;
    let found = find(&made, told).ok()?;
    let is_fit = !found.is_null() && absent(&made, told).is_empty();
    (is_fit && one_line(&better) == better && !better.contains(['"', '$', '`', '\\', '!']))
        .then_some(better)
}

/// A query in which each of Azure's names that stands outside of quotes is the one that is there.
fn translated(asked: &str, there: &BTreeSet<String>) -> String {
    let mut text = String::new();
    let mut rest = asked;
    while let Some(first) = rest.chars().next() {
        let is_of_path = |c: char| c.is_ascii_alphanumeric() || ['_', '.'].contains(&c);
        let end = match first {
            '\'' | '"' | '`' => rest[1..].find(first).map(|at| at + 2),
            first if is_of_path(first) => rest.find(|c| !is_of_path(c)),
            first => Some(first.len_utf8()),
        };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let path = word.trim_start_matches('.');
        let known = AZURES.iter().find(|(azures, _)| *azures == path);
        let ours = known.and_then(|(_, ours)| ours.iter().find(|name| there.contains(**name)));
        // In {kid: key.kid} the first is a name that the query gives.
        let is_given = after.trim_start().starts_with(':');
        match ours.filter(|_| !is_given) {
            Some(ours) => {
                text.push_str(&word[..word.len() - path.len()]);
                text.push_str(ours);
            }
            None => text.push_str(word),
        }
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn noted(text: &str, told: &Value) -> String {
        let asked = query(text).unwrap();
        let found = find(&asked, told).unwrap();
        note(&asked, told, &found).unwrap_or_default()
    }

    #[test]
    fn azures_names_are_answered_with_those_that_are_there() {
        let key = json!({
            "key": "managedhsm:MyHSM:web", "kid": "https://x/keys/web", "type": "EC", "expires": null,
            "enabled": true, "operations": ["sign"], "tags": {}, "name": "web",
        });
        for (asked, better) in [
            ("key.kty", "type"),
            ("key.kid", "kid"),
            ("attributes.enabled", "enabled"),
            (
                "{kid: key.kid, on: attributes.enabled}",
                "{kid: kid, on: enabled}",
            ),
            ("[key.kty, name]", "[type, name]"),
            ("key.keyOps[0]", "operations[0]"),
        ] {
            let told = noted(asked, &key);
            let words = format!("type --query \"{better}\"; the members are enabled, expires, ");
            assert!(told.contains(&words), "{asked}: {told}");
            assert!(told.starts_with("note: --query '"), "{told}");
        }
        let list = json!([
            {"key": "managedhsm:MyHSM:web", "name": "web", "enabled": true},
            {"key": "managedhsm:MyHSM:old", "name": "old", "enabled": false},
        ]);
        for (asked, better) in [
            ("[].kid", "[].key"),
            ("[?attributes.enabled].kid", "[?enabled].key"),
            ("[0].attributes.enabled", "[0].enabled"),
            ("[?name=='kid'].kid | [0]", ""),
            ("name", "[].name"),
            ("kid", "[].key"),
        ] {
            let told = noted(asked, &list);
            let words = format!("type --query \"{better}\"; the members of each are enabled, key");
            assert_eq!(told.contains(&words), !better.is_empty(), "{asked}: {told}");
            assert!(told.ends_with("are enabled, key, name"), "{asked}: {told}");
        }
    }

    #[test]
    fn what_may_be_there_is_asked_for_without_a_note() {
        let key = json!({"name": "web", "expires": null, "tags": {"a": "b"}, "enabled": true});
        let list = json!([key]);
        for asked in [
            "expires",
            "tags.owner",
            "name",
            "title || name",
            "{n: name}",
        ] {
            assert_eq!(noted(asked, &key), "", "{asked}");
        }
        for asked in [
            "[?tags.owner=='me'].name",
            "[?name=='none'].name | [0]",
            "[?!enabled]",
            "[].tags.owner",
            "[].{n: name, x: expires} | [0].n",
            "[7].name",
        ] {
            assert_eq!(noted(asked, &list), "", "{asked}");
        }
        // An HSM without keys has nothing to tell names by.
        assert_eq!(noted("[].kid", &json!([])), "");
        assert!(noted("nothing", &key).contains("no member 'nothing'; the members are enabled,"));
        assert!(noted("[].{n: nothing}", &list).contains("no member 'nothing'"));
        let told = noted("\"a\\u001b\"", &key);
        assert!(
            !told.contains('\u{1b}') && told.contains("no member"),
            "{told}"
        );
    }
}
