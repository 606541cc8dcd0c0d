//! Standard error, when nobody reads it or it is full, too.

use std::fmt::Display;
use std::io::Write;

/// Writes it, if that can be done: nobody is left to tell that it can't, and the exit status still
/// says what came of the command. `eprintln!` would panic in its place.
pub(crate) fn tell(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// The same with the end of the line.
pub(crate) fn tell_line(line: impl Display) {
    tell(format_args!("{line}\n"));
}
