//! Whether an attestation meets a release policy, by the grammar that Microsoft documents for
//! secure key release.

use serde_json::Value;

/// Whether `policy` lets out what an environment with these `claims`, attested by `issuer`, asks
/// for. A policy that does not follow the grammar lets nothing out.
pub(crate) fn is_met(policy: &Value, issuer: &str, claims: &Value) -> bool {
    let authorities = member(policy, "anyOf").and_then(Value::as_array);
    authorities.into_iter().flatten().any(|authority| {
        let name = member(authority, "authority").and_then(Value::as_str);
        let named =
            name.is_some_and(|name| name.trim_end_matches('/') == issuer.trim_end_matches('/'));
        named && holds(authority, claims)
    })
}

/// The version of the grammar that a policy says it follows.
pub(crate) fn version(policy: &Value) -> Option<&str> {
    member(policy, "version").and_then(Value::as_str)
}

/// The members of a policy that a vault writes before others, in its order.
const FIRST_IN_VAULTS: [&str; 3] = ["version", "authority", "claim"];

/// A policy as a vault writes it, recorded by azure-sdk-for-cpp
/// (`CreateKeyWithReleasePolicyOptions`).
pub(crate) fn as_vaults_write(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let rank = |name: &str| FIRST_IN_VAULTS.iter().position(|first| *first == name);
            members.sort_by_key(|(name, _)| rank(name).unwrap_or(FIRST_IN_VAULTS.len()));
            let texts = members.into_iter().map(|(name, value)| {
                let name = Value::from(name.as_str());
                format!("{name}:{}", as_vaults_write(value))
            });
            format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => {
            let texts = values.iter().map(as_vaults_write);
            format!("[{}]", texts.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// Gives each authority that is a host alone its path, as an HSM stores them.
pub(crate) fn write_out_authorities(policy: &mut Value) {
    let authorities = member_mut(policy, "anyOf").and_then(Value::as_array_mut);
    for authority in authorities.into_iter().flatten() {
        if let Some(Value::String(url)) = member_mut(authority, "authority") {
            let host = url.split_once("://").map_or("", |(_, rest)| rest);
            if !host.is_empty() && !host.contains(['/', '?', '#']) {
                url.push('/');
            }
        }
    }
}

/// A condition, or an authority's: `allOf`, `anyOf`, or one about a claim.
fn holds(rule: &Value, claims: &Value) -> bool {
    let listed = |name| member(rule, name).and_then(Value::as_array);
    if let Some(all) = listed("allOf") {
        return !all.is_empty() && all.iter().all(|one| holds(one, claims));
    }
    if let Some(any) = listed("anyOf") {
        return any.iter().any(|one| holds(one, claims));
    }
    let Some(name) = member(rule, "claim").and_then(Value::as_str) else {
        return false;
    };
    let Some((operator, wanted)) = operator(rule) else {
        return false;
    };
    let found = claim(claims, name);
    match (operator.as_str(), found) {
        ("exists", found) => text(wanted) == found.is_some().to_string(),
        (_, None) => false,
        ("equals", Some(found)) => text(found) == text(wanted),
        ("notequals", Some(found)) => text(found) != text(wanted),
        (operator, Some(found)) => {
            let numbers = number(found).zip(number(wanted));
            numbers.is_some_and(|(found, wanted)| match operator {
                "less" => found < wanted,
                "lessorequals" => found <= wanted,
                "greater" => found > wanted,
                "greaterorequals" => found >= wanted,
                _ => false,
            })
        }
    }
}

/// The operator of a condition about a claim, in lower case, and its operand.
fn operator(condition: &Value) -> Option<(String, &Value)> {
    let mut members = condition.as_object()?.iter();
    let found = members.find(|(name, _)| !name.eq_ignore_ascii_case("claim"));
    found.map(|(name, value)| (name.to_ascii_lowercase(), value))
}

/// Policies are written with the names of members in any case.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let mut members = object.as_object()?.iter();
    let found = members.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

fn member_mut<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let mut members = object.as_object_mut()?.iter_mut();
    let found = members.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

/// A claim by its name, in which dots also lead into objects.
fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let dots = name.match_indices('.');
    dots.map(|(at, _)| name.split_at(at))
        .find_map(|(head, tail)| claim(claims.get(head)?, &tail[1..]))
}

/// Booleans and numbers are the same whether they are quoted or not.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn number(value: &Value) -> Option<f64> {
    text(value).parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://attest.example";

    fn met(condition: &Value, claims: &Value) -> bool {
        let policy = json!({"version": "1.0.0", "anyOf": [
            {"authority": "https://other.example", "allOf": [{"claim": "a", "exists": "false"}]},
            {"authority": "https://attest.example/", "allOf": [condition]},
        ]});
        is_met(&policy, ISSUER, claims)
    }

    #[test]
    fn conditions_mean_what_the_grammar_says() {
        let claims = json!({"debug": false, "level": 3, "tee": {"x-ms.kind": "sevsnp"}, "a": "b"});
        for (condition, expected) in [
            (json!({"claim": "debug", "equals": "false"}), true),
            (json!({"claim": "debug", "equals": true}), false),
            (json!({"claim": "debug", "notEquals": "true"}), true),
            (json!({"claim": "none", "notEquals": "true"}), false),
            (json!({"claim": "level", "greater": 2}), true),
            (json!({"claim": "level", "greaterOrEquals": "3"}), true),
            (json!({"claim": "level", "less": 3}), false),
            (json!({"claim": "level", "lessOrEquals": 3}), true),
            (json!({"claim": "a", "less": 3}), false),
            (json!({"claim": "tee.x-ms.kind", "equals": "sevsnp"}), true),
            (json!({"claim": "none", "exists": "false"}), true),
            (json!({"claim": "a", "exists": true}), true),
            (json!({"claim": "a", "resembles": "b"}), false),
            (json!({"claim": "a"}), false),
            (json!({}), false),
            (json!({"allof": []}), false),
            (
                json!({"ANYOF": [{"claim": "a", "equals": "c"}, {"claim": "a", "equals": "b"}]}),
                true,
            ),
        ] {
            assert_eq!(met(&condition, &claims), expected, "{condition}");
        }
    }

    #[test]
    fn a_vault_writes_the_version_and_the_authority_first() {
        let policy = json!({"anyOf": [{"allOf": [{"claim": "a\"b", "equals": "c"}],
            "authority": "https://a.example/"}], "version": "1.0.0"});
        let written = r#"{"version":"1.0.0","anyOf":[{"authority":"https://a.example/","allOf":[{"claim":"a\"b","equals":"c"}]}]}"#;
        assert_eq!(as_vaults_write(&policy), written);
    }

    #[test]
    fn an_authority_that_is_a_host_gets_its_path() {
        for (sent, stored) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example:8443", "https://a.example:8443/"),
            ("https://a.example/", "https://a.example/"),
            ("https://a.example/b", "https://a.example/b"),
            ("a.example", "a.example"),
            ("https://", "https://"),
        ] {
            let mut policy = json!({"version": "1.0.0", "ANYOF": [{"Authority": sent}, {}]});
            write_out_authorities(&mut policy);
            assert_eq!(policy["ANYOF"][0]["Authority"], stored);
        }
    }

    #[test]
    fn only_a_named_authority_counts() {
        let policy = json!({"anyOf": [
            {"authority": "https://other.example", "allOf": [{"claim": "a", "equals": "b"}]}
        ]});
        assert!(!is_met(&policy, ISSUER, &json!({"a": "b"})));
        assert!(!is_met(&json!({}), ISSUER, &json!({"a": "b"})));
    }
}
