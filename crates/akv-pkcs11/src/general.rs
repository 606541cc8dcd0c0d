//! General functions: the module's start and end, and what it is.

use std::ffi::c_void;
use std::sync::Arc;

use cryptoki_sys::{
    CK_INFO, CK_VERSION, CKR_ARGUMENTS_BAD, CKR_CRYPTOKI_ALREADY_INITIALIZED,
    CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_FAILED,
};
use hsm_module::process;
use managed_hsm::Client;

use crate::configuration::Configuration;
use crate::error::Error;
use crate::ffi::convert::{InitializeArgs, Place};
use crate::module::{self, Module};
use crate::rejection;

/// Starts the module: reads its configuration, and nothing else. The HSM is asked when it is
/// needed.
///
/// The four kinds of locking arguments come to the same: the module has locks of its own. It has
/// threads of its own as well, for idle connections, renewals of tokens, names of hosts and keys
/// that are loaded at a time, also where `CKF_LIBRARY_CANT_CREATE_OS_THREADS` is set: NSS sets that
/// whenever it loads a module, so to refuse it would be to refuse NSS. They take no signals and
/// call nothing of the program's.
pub(crate) fn initialize(args: InitializeArgs) -> Result<(), Error> {
    if module::is_initialized() {
        return Err(Error::code(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    if !matches!(args.mutex_functions, 0 | 4) {
        return Err(Error::because(
            CKR_ARGUMENTS_BAD,
            "some of the functions for mutexes are NULL and others not",
        ));
    }
    let reserved = match args.reserved {
        None => None,
        Some(Ok(text)) => Some(String::from_utf8(text).map_err(|_| {
            Error::because(CKR_ARGUMENTS_BAD, "pReserved holds a text that isn't UTF-8")
        })?),
        Some(Err(())) => {
            return Err(Error::because(
                CKR_ARGUMENTS_BAD,
                "pReserved is neither NULL nor the address of a text",
            ));
        }
    };
    rejection::prepare()?;
    process::watch_for_the_end(|| ());
    process::watch_for_forks();
    // A server's worker may have lost the variables, as nginx's do, or the right to read the file.
    let inherited = module::inherited_configuration();
    let inherited = inherited.filter(|known| known.is_meant_by(reserved.as_deref()));
    let configuration = match inherited {
        Some(configuration) => configuration,
        None => Configuration::read(reserved.as_deref())
            .map(Arc::new)
            .map_err(|problem| Error::because(CKR_FUNCTION_FAILED, problem))?,
    };
    for token in &configuration.tokens {
        log::debug!("C_Initialize: {}", token.summary());
    }
    module::start(configuration)
}

/// Ends the module: sessions, logins and connections. The program may start it again.
pub(crate) fn finalize(_: &Arc<Module>, reserved: Place<'_, c_void>) -> Result<(), Error> {
    if reserved.check().is_ok() {
        return Err(Error::because(CKR_ARGUMENTS_BAD, "pReserved is not NULL"));
    }
    // Of two threads one ends it.
    let module = module::end().ok_or_else(|| Error::code(CKR_CRYPTOKI_NOT_INITIALIZED))?;
    module.close();
    Client::shutdown();
    Ok(())
}

pub(crate) fn get_info(_: &Arc<Module>, mut info: Place<'_, CK_INFO>) -> Result<(), Error> {
    info.put(CK_INFO {
        cryptokiVersion: CK_VERSION { major: 3, minor: 0 },
        manufacturerID: padded(MANUFACTURER),
        flags: 0,
        libraryDescription: padded("Azure Managed HSM"),
        libraryVersion: VERSION,
    })
}

/// Who has made the module.
pub(crate) const MANUFACTURER: &str = "akv_provider";

/// The module's version.
pub(crate) const VERSION: CK_VERSION = CK_VERSION {
    major: number(env!("CARGO_PKG_VERSION_MAJOR")),
    minor: number(env!("CARGO_PKG_VERSION_MINOR")),
};

const fn number(digits: &str) -> u8 {
    match u8::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("a version is a number"),
    }
}

/// A text in a field of fixed length: blanks behind it, and cut between characters if need be.
pub(crate) fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
    let mut field = [b' '; LEN];
    let end = (0..=text.len().min(LEN))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default();
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_padded_and_cut_between_characters() {
        assert_eq!(padded::<4>("ab"), *b"ab  ");
        assert_eq!(padded::<4>("abcdef"), *b"abcd");
        assert_eq!(padded::<4>("abc\u{e9}"), *b"abc ");
    }
}
