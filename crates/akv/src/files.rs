//! Input from files and standard input, output to files.

use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Args;
use managed_hsm::MAX_INPUT;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::{Report, redacted};
use crate::{render, standard_input};

/// Where a result goes that is no secret.
#[derive(Args)]
pub(crate) struct Out {
    /// File to write the result to, as it is; - is standard output. Without it, it is printed,
    /// bytes as base64
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over a file that exists, which is left alone otherwise
    #[arg(long, requires = "out")]
    force: bool,
}

impl Out {
    /// Refuses a file that is there and may not be written over, before there is anything to write.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let path = self.out.as_deref().filter(|path| !is_standard(path));
        match path.filter(|path| !self.force && path.symlink_metadata().is_ok()) {
            Some(path) => Err(Failure::write(
                path,
                std::io::ErrorKind::AlreadyExists.into(),
            )),
            None => Ok(()),
        }
    }

    /// Whether that is standard output, as it is.
    pub(crate) fn is_standard(&self) -> bool {
        self.out.as_deref().is_some_and(is_standard)
    }
}

/// Where a secret goes.
#[derive(Args)]
pub(crate) struct SecretOut {
    /// File to write, readable for its owner only; - is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write over a file that exists, which is left alone otherwise
    #[arg(long)]
    force: bool,
}

/// A file to read; `-` is standard input.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if is_standard(path) {
        let input = standard_input::open().map_err(|error| Failure::read(path, error))?;
        return Ok(Box::new(input));
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

/// All of a text that is not large, without the mark that editors of Windows begin it with.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = read(path)?;
    let text = managed_hsm::files::without_mark(&bytes);
    let text = text.map_err(|problem| Failure::told(format!("{} {problem}", path.display())))?;
    Ok(Zeroizing::new(text.to_vec()))
}

/// A file that did not exist, or takes the place of one; for its owner only if it holds a secret.
fn create(path: &Path, contents: &[u8], is_secret: bool, force: bool) -> Result<(), Failure> {
    if !force {
        return create_new(path, contents, is_secret);
    }
    let there = match std::fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => {
            return Err(Failure::told(format!(
                "{} is no regular file, and nothing is written over it: name another for --out",
                path.display()
            )));
        }
        Ok(there) => there,
        Err(_) => return create_new(path, contents, is_secret),
    };
    replace(path, &there, contents, is_secret)
}

fn create_new(path: &Path, contents: &[u8], is_secret: bool) -> Result<(), Failure> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = is_secret;
    let mut file = options
        .open(path)
        .map_err(|error| Failure::write(path, error))?;
    file.write_all(contents).map_err(|error| {
        // A part of it is of no use to anybody.
        let _ = std::fs::remove_file(path);
        Failure::write(path, error)
    })
}

/// Replaces what a file holds by a text.
pub(crate) fn replace_text(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let there = std::fs::symlink_metadata(path).map_err(|error| Failure::write(path, error))?;
    replace(path, &there, text, false)
}

/// Replaces a file by another as a whole: who reads it sees the one or the other. It gets
/// the other's owner and permissions; if it is a secret, those of its owner alone.
fn replace(path: &Path, there: &Metadata, contents: &[u8], is_secret: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::write(path, error);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Its name is short, however long the file's own is, and it goes if anything fails.
    let mut beside = tempfile::Builder::new()
        .prefix(".akv-")
        .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
        .map_err(failed)?;
    beside.write_all(contents).map_err(failed)?;
    keep_access(beside.as_file(), there, is_secret).map_err(failed)?;
    beside
        .persist(path)
        .map(drop)
        .map_err(|problem| failed(problem.error))
}

#[cfg(unix)]
fn keep_access(file: &File, there: &Metadata, is_secret: bool) -> std::io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (there.uid(), there.gid()) {
        fchown(file, Some(there.uid()), Some(there.gid()))?;
    }
    let allowed = if is_secret { 0o700 } else { 0o777 };
    file.set_permissions(Permissions::from_mode(there.mode() & allowed))
}

#[cfg(not(unix))]
fn keep_access(file: &File, there: &Metadata, _is_secret: bool) -> std::io::Result<()> {
    file.set_permissions(there.permissions())
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
    force: bool,
    mut about: Value,
) -> Result<Report, Failure> {
    about["out"] = json!(out.to_string_lossy());
    let mut report = Report::new("", about);
    match is_standard(out) {
        true => report.contents = Some(Zeroizing::new(contents.to_vec())),
        false => create(out, contents, is_secret, force)?,
    }
    Ok(report)
}

/// Where a result that is no secret goes: to a file as it is, else to standard output as base64.
pub(crate) fn deliver(
    result: &[u8],
    name: &str,
    out: &Out,
    about: Value,
) -> Result<Report, Failure> {
    deliver_bytes(result, name, out, false, about)
}

/// The same for what is of no use without what is told: a file is written after that.
pub(crate) fn deliver_last(
    result: Vec<u8>,
    name: &str,
    out: &Out,
    mut about: Value,
) -> Result<Report, Failure> {
    let Some(path) = out.out.clone().filter(|path| !is_standard(path)) else {
        return deliver(&result, name, out, about);
    };
    about["bytes"] = result.len().into();
    about["out"] = json!(path.to_string_lossy());
    let (mut report, force) = (Report::new("", about), out.force);
    report.last = Some(Box::new(move || create(&path, &result, false, force)));
    Ok(report)
}

/// The same for what may become a secret: a file is for its owner only.
pub(crate) fn deliver_private(
    result: &[u8],
    name: &str,
    out: &Out,
    about: Value,
) -> Result<Report, Failure> {
    deliver_bytes(result, name, out, true, about)
}

fn deliver_bytes(
    result: &[u8],
    name: &str,
    out: &Out,
    is_secret: bool,
    mut about: Value,
) -> Result<Report, Failure> {
    about["bytes"] = result.len().into();
    match &out.out {
        Some(path) => write(path, result, is_secret, out.force, about),
        None => {
            let text = format!("{}\n", STANDARD.encode(result));
            let data = URL_SAFE_NO_PAD.encode(result);
            Ok(Report::new(text, about).with_data(name, data))
        }
    }
}

/// Where data that are text go: to a file, else to standard output. They are as they are made here,
/// or have a form in which there is nothing to hide.
pub(crate) fn deliver_text(
    text: String,
    name: &str,
    out: &Out,
    about: Value,
) -> Result<Report, Failure> {
    match out.out.as_ref().filter(|path| !is_standard(path)) {
        Some(path) => write(path, text.as_bytes(), false, out.force, about),
        None => {
            let data = text.clone();
            Ok(Report::new(text, about).with_data(name, data))
        }
    }
}

/// Where JSON goes: to a file, else to standard output, and to programs with what else is told.
pub(crate) fn deliver_json(
    value: Value,
    name: &str,
    out: &Out,
    mut about: Value,
) -> Result<Report, Failure> {
    let value = redacted(value);
    let text = render::json(&value);
    match out.out.as_ref().filter(|path| !is_standard(path)) {
        Some(path) => write(path, text.as_bytes(), false, out.force, about),
        None => {
            about[name] = value;
            Ok(Report::new(text, about))
        }
    }
}

/// Where a secret result goes: to a file that only its owner can read, or to standard output if
/// that is asked for by `-`.
pub(crate) fn deliver_secret(
    result: &[u8],
    out: &SecretOut,
    mut about: Value,
) -> Result<Report, Failure> {
    about["bytes"] = result.len().into();
    write(&out.out, result, true, out.force, about)
}
