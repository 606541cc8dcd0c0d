//! The part of `akv doctor` about the PKCS#11 module.

use serde_json::json;

use super::calls::Task;
use super::module;
use super::process::{ARROW, Identity, Place, Told};
use crate::doctor::{Status, Steps};
use crate::explain;
use crate::failure::Failure;

/// Loads the module, has it read its configuration, and lists the keys of each token.
pub(crate) fn check(steps: &mut Steps) -> Result<(), Failure> {
    let (place, identity) = (Place::default(), Identity::default());
    steps.doing("loading the PKCS#11 module");
    let told = match place.tell(&Task::Describe, &identity) {
        Ok(told) => told,
        Err(failure) => {
            steps.add(
                "pkcs11-module",
                Status::Failed,
                failure.to_string(),
                module::INSTALL,
            );
            return Ok(());
        }
    };
    if !starts(steps, &told) {
        return Ok(());
    }
    for slot in &told.answer.slots {
        let Some(token) = &slot.token else {
            let wanted = format!("slot {}: ", slot.id);
            let problems = told.problems();
            let line = problems.iter().find(|line| line.starts_with(&wanted));
            steps.add(
                "pkcs11-token",
                Status::Failed,
                line.cloned()
                    .unwrap_or_else(|| format!("{wanted}there is no token in it")),
                explain::pkcs11_remedy("C_GetTokenInfo", "CKR_TOKEN_NOT_PRESENT"),
            );
            continue;
        };
        let detail = format!("slot {}: {} ({})", slot.id, token.label, slot.description);
        steps.good_with("pkcs11-token", detail, json!({ "slot": slot.id }));
        let pin = identity.pin()?;
        if token.login_required && pin.is_none() {
            steps.skip(
                "pkcs11-keys",
                "the token asks for a PIN: set MHSM_CLIENT_ID and MHSM_CLIENT_SECRET to check it",
            );
            continue;
        }
        steps.doing("listing the keys of the token");
        let slot = Some(slot.id);
        keys(steps, &place.tell(&Task::List { slot, pin }, &identity)?);
    }
    Ok(())
}

fn starts(steps: &mut Steps, told: &Told) -> bool {
    if let Some(failure) = &told.answer.failure {
        failed(steps, "pkcs11-module", &told.failure(failure));
        return false;
    }
    let version = told.answer.library.as_ref();
    let version = version.map_or("", |library| library.version.as_str());
    let detail = format!("{} loads: version {version}", told.module.display());
    steps.good_with("pkcs11-module", detail, json!({ "path": told.module }));
    true
}

fn keys(steps: &mut Steps, told: &Told) {
    match &told.answer.failure {
        Some(failure) => failed(steps, "pkcs11-keys", &told.failure(failure)),
        None => {
            let count = told.answer.keys.len();
            let detail = format!("{count} keys can be seen");
            steps.good_with("pkcs11-keys", detail, json!({ "count": count }));
        }
    }
}

/// A failure as [`Told::failure`] words it, which has its remedy behind an arrow.
fn failed(steps: &mut Steps, step: &'static str, text: &str) {
    let (detail, remedy) = text
        .split_once(ARROW)
        .unwrap_or((text, "correct what the message names"));
    steps.add(step, Status::Failed, detail.to_owned(), remedy);
}
