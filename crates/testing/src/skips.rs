//! Checks that can't run here.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The variable with a file that gets a line for each check that could not run.
const SKIPS: &str = "AKV_TEST_SKIPS";

/// Says loudly that a check is skipped.
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
    if let Some(file) = std::env::var_os(SKIPS) {
        let file = File::options().create(true).append(true).open(file);
        let mut file = file.expect("the file of skipped checks can be written");
        writeln!(file, "{reason}").expect("the file of skipped checks can be written");
    }
}

/// Whether a program is there: a path, or the name of one on PATH.
#[must_use]
pub fn is_there(program: &str) -> bool {
    match program.starts_with('/') {
        true => Path::new(program).exists(),
        false => Command::new("which")
            .arg(program)
            .output()
            .is_ok_and(|output| output.status.success()),
    }
}
