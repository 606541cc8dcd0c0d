//! Where metrics go.

use std::path::PathBuf;

use crate::error::Error;
use crate::settings::origin::Origin;
use crate::settings::setting::Setting;

/// The longest path of a folder for sockets, in bytes. The system has room for 107 of a socket's.
const LONGEST: usize = 70;

pub(super) static FOLDER: Setting = Setting {
    key: Some("metrics-folder"),
    variable: "AKV_METRICS_FOLDER",
    default: "",
    range: None,
    help: "folder, by its whole path, where each process keeps a file with its metrics for Prometheus, such as that of node_exporter's textfile collector",
};
pub(super) static SOCKETS: Setting = Setting {
    key: Some("metrics-sockets"),
    variable: "AKV_METRICS_SOCKETS",
    default: "",
    range: None,
    help: "folder, by its whole path of at most 70 bytes, where each process has a Unix socket at which akv top asks for its metrics",
};

/// A folder that is the same wherever a process goes: daemons change theirs.
pub(super) fn folder((text, origin): (String, Origin)) -> Result<PathBuf, Error> {
    let path = PathBuf::from(text.trim());
    match path.is_absolute() {
        true => Ok(path),
        false => {
            let problem = "it does not begin with '/': give the folder's whole path";
            Err(Error::setting(&origin, problem))
        }
    }
}

/// The same of one for sockets.
pub(super) fn of_sockets((text, origin): (String, Origin)) -> Result<PathBuf, Error> {
    let path = folder((text, origin.clone()))?;
    match path.as_os_str().len() {
        ..=LONGEST => Ok(path),
        len => {
            let problem =
                format!("it has {len} bytes, and the path of a socket has room for {LONGEST}");
            Err(Error::setting(&origin, &problem))
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_its_whole_path_and_one_for_sockets_by_a_short_one() {
        let found = |text: &str| (text.to_owned(), Origin::Variable("AKV_METRICS_SOCKETS"));
        let long = format!("/{}", "x".repeat(LONGEST));
        assert_eq!(folder(found(" /a/b ")).unwrap(), PathBuf::from("/a/b"));
        assert_eq!(folder(found(&long)).unwrap(), PathBuf::from(&long));
        assert!(of_sockets(found(&long[..LONGEST])).is_ok());
        for (outcome, words) in [
            (folder(found("a/b")), "whole path"),
            (of_sockets(found("a/b")), "whole path"),
            (of_sockets(found(&long)), "71 bytes"),
        ] {
            let error = outcome.unwrap_err().to_string();
            assert!(
                error.contains(words) && error.contains("AKV_METRICS_SOCKETS"),
                "{error}"
            );
        }
    }
}
