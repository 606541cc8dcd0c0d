//! The environment: only here is it read.
//!
//! A program with raised rights (setuid, setgid, file capabilities) is started by somebody who has
//! fewer than it, and who chose its environment. Nothing is taken from there then, as libcrypto's
//! own `secure_getenv` has it, and nothing is started. Front ends know which kind of program they
//! are in, and say so.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_DISTRUSTED: AtomicBool = AtomicBool::new(false);

/// From now on no variable is set and no program is started, as far as this process is concerned:
/// its rights are not those of whoever started it.
pub fn distrust() {
    IS_DISTRUSTED.store(true, Ordering::Relaxed);
}

/// Whether the environment counts, and programs may be started.
pub fn is_trusted() -> bool {
    !IS_DISTRUSTED.load(Ordering::Relaxed)
}

/// The value of a variable; None as well if the environment doesn't count.
#[allow(clippy::disallowed_methods, reason = "variables are read here")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|_| is_trusted())
}

/// All variables; none if the environment doesn't count.
#[allow(clippy::disallowed_methods, reason = "variables are read here")]
pub(crate) fn all() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|_| is_trusted())
}
