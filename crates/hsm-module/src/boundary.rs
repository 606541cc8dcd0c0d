//! The one place where a panic ends: none unwinds into a program in C.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cancellation::Uncancelled;

/// A panic, as a text for the error that it becomes.
#[derive(Debug, PartialEq, Eq)]
pub struct Panicked(String);

impl Panicked {
    fn from_payload(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "a panic without a text".to_owned()))
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the body of a function that a program in C calls. The thread isn't cancelled meanwhile.
///
/// # Errors
/// The body has panicked. What it was changing may be half changed, so such a body keeps to objects
/// that the program can only give back, or makes its changes last.
pub fn run<R>(body: impl FnOnce() -> R) -> Result<R, Panicked> {
    let _uncancelled = Uncancelled::new();
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| Panicked::from_payload(&*payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(run(|| 7), Ok(7));
        let text = |body: fn()| run(body).unwrap_err().to_string();
        assert_eq!(text(|| panic!("fixed")), "fixed");
        assert_eq!(text(|| panic!("made of {}", 2)), "made of 2");
        assert_eq!(text(|| std::panic::panic_any(3)), "a panic without a text");
    }
}
