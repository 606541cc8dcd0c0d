//! The audit log: a file with a line of JSON for each request, so that queries can be tried that
//! are to run on Azure's logs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::error::Error;

/// An open audit log. Records are appended whole, so that several emulators may share one.
pub(crate) struct AuditLog(Mutex<File>);

impl AuditLog {
    /// Opens the file, or makes it, for its owner alone.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::file("open", path))?;
        Ok(Self(Mutex::new(file)))
    }

    pub(crate) fn write(&self, record: &Value) {
        let line = format!("{record}\n");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            crate::log::event(format_args!("writing the audit log failed: {error}"));
        }
    }
}
