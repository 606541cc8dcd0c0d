//! Where the module is.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::openssl;

/// The module's name without what the system adds.
const MODULE: &str = "akv_pkcs11";

/// How the module gets to where it is looked for.
pub(super) const INSTALL: &str =
    "install the package akv-pkcs11, or run ubuntubuild.sh in the project's sources";

/// The module: the file that is named, else where it is installed or was built.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        // What has no folder would be looked for in those of the system's libraries.
        let path = std::path::absolute(named).map_err(|error| Failure::read(named, error))?;
        return match std::fs::File::open(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(Failure::read(&path, error)),
        };
    }
    let places = places();
    let found = places.iter().find(|place| place.exists());
    found.cloned().ok_or_else(|| {
        let places = places.iter().map(|place| place.display().to_string());
        Failure::not_found(format!(
            "the PKCS#11 module is in none of its places: {}; {INSTALL}, or name it with --module \
             FILE",
            places.collect::<Vec<_>>().join(", ")
        ))
    })
}

/// Beside this program, as installed together or as built; else beside the folder of OpenSSL's
/// modules, where the system has PKCS#11 modules.
fn places() -> Vec<PathBuf> {
    let file = openssl::module_name(MODULE);
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent);
    let beside = own.into_iter().flat_map(|folder| {
        let built = format!("{}{file}", std::env::consts::DLL_PREFIX);
        [folder.join(&file), folder.join(built)]
    });
    let system = openssl::modules();
    let system = system.as_deref().and_then(Path::parent);
    let system = system.map(|folder| folder.join("pkcs11").join(&file));
    beside.chain(system).collect()
}
