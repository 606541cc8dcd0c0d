//! Input from files and standard input, output to files.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::Report;

/// The most that is read of what goes to the HSM as a whole, in bytes.
const MAX_INPUT: usize = 1 << 20;

/// A file to read; `-` is standard input.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if is_standard(path) {
        return Ok(Box::new(std::io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::read(path, error)),
    }
}

/// All of a file that is not large. Wiped from memory when dropped.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(MAX_INPUT + 1));
    let limit = MAX_INPUT as u64 + 1;
    let taken = open(path)?.take(limit).read_to_end(&mut buffer);
    taken.map_err(|error| Failure::read(path, error))?;
    match buffer.len() > MAX_INPUT {
        false => Ok(buffer),
        true => Err(Failure::told(format!(
            "{} is longer than {MAX_INPUT} bytes",
            path.display()
        ))),
    }
}

/// A file that did not exist, for its owner only if it holds a secret.
fn create(path: &Path, contents: &[u8], is_secret: bool) -> Result<(), Failure> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = is_secret;
    options
        .open(path)
        .and_then(|mut file| file.write_all(contents))
        .map_err(|error| Failure::write(path, error))
}

/// Whether a path stands for standard input or standard output.
fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// What a command writes, as it is: to standard output with the report's end if that is where it is
/// to go, else to a file.
fn write(
    out: &Path,
    contents: &[u8],
    is_secret: bool,
    mut about: Value,
) -> Result<Report, Failure> {
    about["out"] = json!(out);
    let mut report = Report::new("", about);
    match is_standard(out) {
        true => report.contents = Some(Zeroizing::new(contents.to_vec())),
        false => create(out, contents, is_secret)?,
    }
    Ok(report)
}

/// Where a result that is no secret goes: to a file as it is, else to standard output as base64.
pub(crate) fn deliver(
    result: &[u8],
    name: &str,
    out: Option<&PathBuf>,
    mut about: Value,
) -> Result<Report, Failure> {
    about["bytes"] = result.len().into();
    match out {
        Some(path) => write(path, result, false, about),
        None => {
            about[name] = URL_SAFE_NO_PAD.encode(result).into();
            Ok(Report::new(format!("{}\n", STANDARD.encode(result)), about))
        }
    }
}

/// Where PEM goes: to a file, else to standard output.
pub(crate) fn deliver_pem(
    pem: String,
    out: Option<&Path>,
    mut about: Value,
) -> Result<Report, Failure> {
    match out.filter(|path| !is_standard(path)) {
        Some(path) => write(path, pem.as_bytes(), false, about),
        None => {
            about["pem"] = pem.as_str().into();
            Ok(Report::new(pem, about))
        }
    }
}

/// Where a secret result goes: to a file that only its owner can read, or to standard output if
/// that is asked for by `-`.
pub(crate) fn deliver_secret(
    result: &[u8],
    out: &Path,
    mut about: Value,
) -> Result<Report, Failure> {
    about["bytes"] = result.len().into();
    write(out, result, true, about)
}
