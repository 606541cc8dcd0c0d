//! The configuration file: one that others can write is not read, since it says whom the
//! credentials go to.

use std::path::Path;

use managed_hsm::files;
use zeroize::Zeroizing;

/// The bytes of a configuration file.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = files::read_text(path)
        .map_err(|problem| format!("the configuration file '{}' {problem}", path.display()))?;
    check_owner(path)?;
    Ok(bytes)
}

#[cfg(unix)]
fn check_owner(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|error| {
        format!(
            "the configuration file '{}' can't be read: {error}",
            path.display()
        )
    })?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "the configuration file '{}' can be written by others than its owner: chmod go-w {0}",
            path.display()
        ));
    }
    if ![0, own].contains(&metadata.uid()) {
        return Err(format!(
            "the configuration file '{}' belongs to user {}, who is neither root nor the user of this process ({own})",
            path.display(),
            metadata.uid()
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(_: &Path) -> Result<(), String> {
    Ok(())
}
