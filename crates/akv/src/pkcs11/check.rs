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
    let verdict = Verdict {
        told: ask(place, &Task::Describe)?,
    };
    if !verdict.is_good() {
        return Ok(verdict);
    }
    // The log was off, so that all was told here. In a program it is on, and may keep the module
    // from starting.
    let started = ask(place, &Task::Start)?;
    Ok(match started.answer.failure {
        None => verdict,
        Some(_) => Verdict { told: started },
    })
}

/// Has the module do a task. That it doesn't start is no failure here.
fn ask(place: &Place, task: &Task) -> Result<Told, Failure> {
    let told = place.tell(task, &Identity::default())?;
    match &told.answer.failure {
        Some(failure) if failure.function.as_deref() != Some("C_Initialize") => {
            Err(Failure::told(told.failure(failure)))
        }
        _ => Ok(told),
    }
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
