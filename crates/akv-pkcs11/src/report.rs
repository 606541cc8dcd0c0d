//! What a person is told: PKCS#11 has codes and no texts. A line for each failure goes to the log,
//! or to standard error if there is no log; of the same failure with the same cause one a second at
//! most, so that a server whose HSM is away does not fill a disk. A log has each request that
//! failed besides, as the client tells it, with the id by which Azure knows it.

use std::cell::RefCell;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cryptoki_sys::{CK_RV, CKR_OK};
use hsm_module::pipe_signal;

use crate::cause::hash_of;
use crate::error::Error;
use crate::locks::lock;

/// How often the same failure is told.
const EACH: Duration = Duration::from_secs(1);
/// How many kinds of failures are remembered, and so told within that time.
const MOST: usize = 64;

/// What is told once: a function, its code, and the hash value of its cause.
type Kind = (&'static str, CK_RV, u64);

/// A kind of failure, when it was told last, and how often it has not been since.
struct Told {
    kind: Kind,
    at: Instant,
    untold: u32,
}

static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Tells of a call that failed, if there is more to say than its code.
pub(crate) fn failure(function: &'static str, error: &Error) {
    let Some(cause) = &error.cause else { return };
    // Where the thread's variables have gone, as in functions of atexit(3), nothing is kept.
    let _ = LAST.try_with(|last| last.replace(cause.clone()));
    let kind = (function, error.code, hash_of(cause));
    let Some(untold) = admit(kind, Instant::now()) else {
        return;
    };
    say(
        log::Level::Error,
        &with_untold(&format!("{function}: {cause}"), untold),
    );
}

/// Tells of something that is no failure of a call.
pub(crate) fn warning(text: &str) {
    say(log::Level::Warn, text);
}

/// The same for what may come again and again: of each kind one a second.
pub(crate) fn repeated_warning(kind: &'static str, text: &str) {
    warn_of((kind, CKR_OK, 0), text);
}

/// The same where there are few texts, and none may go unsaid for another: each is a kind.
pub(crate) fn repeated_text(kind: &'static str, text: &str) {
    warn_of((kind, CKR_OK, hash_of(text)), text);
}

fn warn_of(kind: Kind, text: &str) {
    if let Some(untold) = admit(kind, Instant::now()) {
        warning(&with_untold(text, untold));
    }
}

fn with_untold(text: &str, untold: u32) -> String {
    match untold {
        0 => text.to_owned(),
        count => format!("{text} ({count} more of the kind before)"),
    }
}

/// The cause of this thread's last failure that had one.
pub(crate) fn last() -> String {
    LAST.try_with(|last| last.borrow().clone())
        .unwrap_or_default()
}

fn say(level: log::Level, text: &str) {
    if log::log_enabled!(level) {
        log::log!(level, "{text}");
    } else {
        managed_hsm::logging::tell(&format!("akv_pkcs11: {text}"), pipe_signal::without);
    }
}

/// Whether a failure is told now; if so, how many of its kind were not since the last one.
fn admit(kind: Kind, now: Instant) -> Option<u32> {
    let mut told = lock(&TOLD);
    let is_fresh = |told: &Told| now.saturating_duration_since(told.at) < EACH;
    match told.iter_mut().find(|told| told.kind == kind) {
        Some(known) if is_fresh(known) => {
            known.untold += 1;
            None
        }
        Some(known) => {
            known.at = now;
            Some(std::mem::take(&mut known.untold))
        }
        None => {
            if told.len() == MOST {
                // The others were told a moment ago: this one has to wait.
                let over = told.iter().position(|told| !is_fresh(told))?;
                told.swap_remove(over);
            }
            told.push(Told {
                kind,
                at: now,
                untold: 0,
            });
            Some(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_told_once_a_second_and_the_others_are_counted() {
        let start = Instant::now();
        let told = |code, cause: &str, at| admit(("C_Sign", code, hash_of(cause)), at);
        let first = "HTTP 403 (request id 1a-2): ask for a role";
        assert_eq!(told(0x30, first, start), Some(0));
        let again = "HTTP 403 (request id 3b-4): ask for a role";
        assert_eq!(
            (told(0x30, first, start), told(0x30, again, start)),
            (None, None)
        );
        assert_eq!(told(0x68, first, start), Some(0));
        let other = "HTTP 404 (request id 3b-4): ask for a role";
        assert_eq!(told(0x30, other, start), Some(0));
        assert_eq!(told(0x30, again, start + EACH), Some(2));
        // However many kinds there are, no more than so many are told at a time.
        let later = start + 3 * EACH;
        let all = (0..1000).filter(|number| told(0x30, &number.to_string(), later).is_some());
        assert_eq!(all.count(), MOST);
    }
}
