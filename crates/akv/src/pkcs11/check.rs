//! `akv pkcs11 check`: whether the module can use its configuration.

use serde_json::{Value, json};

use super::calls::Task;
use super::process::{Identity, Place, Told};
use crate::failure::Failure;

/// What the module makes of its configuration.
pub(super) struct Verdict {
    pub(super) told: Told,
}

/// Has the module read its configuration; the HSM is not asked.
pub(super) fn check(place: &Place) -> Result<Verdict, Failure> {
    let told = place.tell(&Task::Describe, &Identity::default())?;
    if let Some(failure) = &told.answer.failure
        && failure.function.as_deref() != Some("C_Initialize")
    {
        return Err(Failure::told(told.failure(failure)));
    }
    Ok(Verdict { told })
}

impl Verdict {
    /// Good: the module starts, and each slot has its token.
    pub(super) fn is_good(&self) -> bool {
        let answer = &self.told.answer;
        answer.failure.is_none() && answer.slots.iter().all(|slot| slot.token.is_some())
    }

    pub(super) fn json(&self) -> Value {
        let slots = self.told.answer.slots.iter();
        let slots = slots.map(|slot| json!({ "slot": slot.id, "has_token": slot.token.is_some() }));
        json!({
            "module": self.told.module,
            "valid": self.is_good(),
            "problems": self.told.problems(),
            "warnings": self.told.warnings(),
            "slots": slots.collect::<Vec<_>>(),
        })
    }
}
