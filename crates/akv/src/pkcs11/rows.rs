//! Keys, slots and mechanisms as tables and as JSON.

use serde_json::{Value, json};

use super::calls::{MechanismFacts, SlotFacts, TokenFacts};
use super::objects::KeyFacts;
use crate::output::table;

/// The identifier of a key's version in what the module gives an object of it for an id.
pub(super) fn kid_of(unique_id: &str) -> &str {
    let kid = unique_id.split_once('#');
    kid.map_or(unique_id, |(kid, _)| kid)
}

/// The key's name in the service, by its identifier `https://<host>/keys/<name>/<version>`.
pub(super) fn name_in(kid: &str) -> &str {
    kid.split('/').nth(4).unwrap_or_default()
}

impl KeyFacts {
    /// The key's name in the service.
    pub(super) fn name(&self) -> &str {
        name_in(&self.kid)
    }

    pub(super) fn version(&self) -> &str {
        self.kid.split('/').nth(5).unwrap_or_default()
    }
}

pub(super) fn json(keys: &[KeyFacts]) -> Value {
    let rows = keys.iter().map(|key| {
        json!({
            "slot": key.slot,
            "label": key.label,
            "id": key.id,
            "type": key.kind,
            "usage": key.usage,
            "name": key.name(),
            "version": key.version(),
            "kid": key.kid,
            "starts": key.starts,
            "ends": key.ends,
        })
    });
    rows.collect()
}

pub(super) fn keys(keys: &[KeyFacts]) -> String {
    let heading = ["slot", "label", "id", "type", "usage", "name", "version"];
    let rows = keys.iter().map(|key| {
        vec![
            key.slot.to_string(),
            key.label.clone(),
            key.id.clone(),
            key.kind.clone(),
            key.usage.join(","),
            key.name().to_owned(),
            key.version().to_owned(),
        ]
    });
    table(&heading, rows.collect())
}

/// How programs log in to a slot's token.
pub(super) fn login(slot: &SlotFacts) -> &'static str {
    match &slot.token {
        None => "-",
        Some(token) if token.login_required => "by PIN",
        Some(_) => "by the configuration's credential; any PIN is ignored",
    }
}

pub(super) fn slots(slots: &[SlotFacts]) -> String {
    let heading = ["slot", "token", "model", "serial", "what", "login"];
    let rows = slots.iter().map(|slot| {
        let token = |text: fn(&TokenFacts) -> &String| {
            slot.token
                .as_ref()
                .map_or_else(|| "-".to_owned(), |token| text(token).clone())
        };
        vec![
            slot.id.to_string(),
            token(|token| &token.label),
            token(|token| &token.model),
            token(|token| &token.serial),
            slot.description.clone(),
            login(slot).to_owned(),
        ]
    });
    table(&heading, rows.collect())
}

pub(super) fn mechanisms(mechanisms: &[MechanismFacts]) -> String {
    let rows = mechanisms.iter().map(|mechanism| {
        let bits = match mechanism.bits {
            Some((least, most)) => format!("{least}-{most}"),
            None => "-".to_owned(),
        };
        let or_none = |words: &[String]| match words.is_empty() {
            true => "-".to_owned(),
            false => words.join(", "),
        };
        vec![
            mechanism.name.clone(),
            bits,
            or_none(&mechanism.in_hsm),
            or_none(&mechanism.here),
        ]
    });
    table(&["mechanism", "bits", "in the HSM", "here"], rows.collect())
}
