//! Encryption and decryption. The HSM takes a message whole, so parts of one are held until its
//! end.

use std::sync::Arc;

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};
use zeroize::Zeroizing;

use crate::ciphers::{Cipher, Use};
use crate::error::Error;
use crate::ffi::convert::{Bytes, MechanismIn, Output, Wanted};
use crate::module::Module;
use crate::operation::{self, Slot};
use crate::sessions::Session;
use crate::token::Token;
use crate::token::objects::StoredKey;

/// An encryption or a decryption in progress.
pub(crate) struct Encrypting {
    key: Arc<StoredKey>,
    cipher: Cipher,
    /// What came in parts.
    parts: Option<Zeroizing<Vec<u8>>>,
    /// What was decrypted, and found to be longer than the program's buffer.
    answered: Option<Answered>,
}

struct Answered {
    input: Vec<u8>,
    plaintext: Zeroizing<Vec<u8>>,
}

/// Which of the two, with its place among the session's operations.
#[derive(Clone, Copy)]
struct Kind {
    of: Use,
    slot: Slot<Encrypting>,
}

const ENCRYPT: Kind = Kind {
    of: Use::Encrypt,
    slot: |operations| &mut operations.encrypt,
};
const DECRYPT: Kind = Kind {
    of: Use::Decrypt,
    slot: |operations| &mut operations.decrypt,
};

pub(crate) fn encrypt_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    init(module, session, mechanism, key, ENCRYPT)
}

pub(crate) fn decrypt_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    init(module, session, mechanism, key, DECRYPT)
}

fn init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
    kind: Kind,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, kind.slot, |given| {
        let cipher = Cipher::new(given, kind.of, &module.options)?;
        let (key, half) = session.token.key(key)?;
        let check = |key: &StoredKey| cipher.check_key(key, half, kind.of);
        let key = session.token.usable(kind.of.purpose(), key, check)?;
        Ok(Encrypting {
            key,
            cipher,
            parts: None,
            answered: None,
        })
    })
}

pub(crate) fn encrypt(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    whole(&*module.session(session)?, data, output, ENCRYPT)
}

pub(crate) fn decrypt(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    whole(&*module.session(session)?, data, output, DECRYPT)
}

fn whole(
    session: &Session,
    data: Bytes<'_>,
    mut output: Output<'_>,
    kind: Kind,
) -> Result<(), Error> {
    let mut encrypting = operation::take(session, kind.slot)?;
    if encrypting.parts.is_some() {
        return Err(operation::not_initialized());
    }
    let data = copied(data, encrypting.cipher.longest(kind.of), kind.of)?;
    let outcome = encrypting.answer(&session.token, kind.of, &data, &mut output);
    put_back(session, kind, encrypting, outcome)
}

pub(crate) fn encrypt_update(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    part: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    update(&*module.session(session)?, part, output, ENCRYPT)
}

pub(crate) fn decrypt_update(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    part: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    update(&*module.session(session)?, part, output, DECRYPT)
}

/// Holds a part. Nothing comes out before the end; who asks how much may is told the part's length,
/// as by other modules.
fn update(
    session: &Session,
    part: Bytes<'_>,
    mut output: Output<'_>,
    kind: Kind,
) -> Result<(), Error> {
    let mut encrypting = operation::take(session, kind.slot)?;
    let part = part.get()?;
    if output.wanted_at_most(part.len())? == Wanted::Result {
        let most = encrypting.cipher.longest(kind.of);
        hold(&mut encrypting.parts, part, most, kind.of)?;
        output.put(&[])?;
    }
    put_back(session, kind, encrypting, Ok(Wanted::Size))
}

/// A message that comes whole: the output may have the same place. One that is too long to go to
/// the HSM isn't copied.
pub(crate) fn copied(data: Bytes<'_>, most: usize, of: Use) -> Result<Zeroizing<Vec<u8>>, Error> {
    let data = data.get()?;
    of.check_len(data.len(), most)?;
    Ok(Zeroizing::new(data.to_vec()))
}

/// Adds a part to those that came before.
pub(crate) fn hold(
    parts: &mut Option<Zeroizing<Vec<u8>>>,
    part: &[u8],
    most: usize,
    of: Use,
) -> Result<(), Error> {
    let parts = parts.get_or_insert_default();
    of.check_len(parts.len().saturating_add(part.len()), most)?;
    parts.extend_from_slice(part);
    Ok(())
}

pub(crate) fn encrypt_final(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    output: Output<'_>,
) -> Result<(), Error> {
    last(&*module.session(session)?, output, ENCRYPT)
}

pub(crate) fn decrypt_final(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    output: Output<'_>,
) -> Result<(), Error> {
    last(&*module.session(session)?, output, DECRYPT)
}

fn last(session: &Session, mut output: Output<'_>, kind: Kind) -> Result<(), Error> {
    let mut encrypting = operation::take(session, kind.slot)?;
    // None have come of a message that may come as a whole still.
    let parts = encrypting.parts.take();
    let message = parts.as_deref().map_or(&[][..], |parts| parts);
    let outcome = encrypting.answer(&session.token, kind.of, message, &mut output);
    encrypting.parts = parts;
    put_back(session, kind, encrypting, outcome)
}

/// Puts the operation back if the call has not ended it.
fn put_back(
    session: &Session,
    kind: Kind,
    encrypting: Encrypting,
    outcome: Result<Wanted, Error>,
) -> Result<(), Error> {
    if operation::goes_on(&outcome) {
        (kind.slot)(&mut session.operations()).get_or_insert(encrypting);
    }
    outcome.map(drop)
}

impl Encrypting {
    /// Hands out what becomes of a message, or says how long it is.
    fn answer(
        &mut self,
        token: &Token,
        of: Use,
        input: &[u8],
        output: &mut Output<'_>,
    ) -> Result<Wanted, Error> {
        let len = self.cipher.output_len(&self.key, of, input.len())?;
        if of.encrypts() {
            let wanted = output.wanted(len)?;
            if wanted == Wanted::Result {
                output.put(&self.cipher.encrypt(token, &self.key, of, input)?)?;
            }
            return Ok(wanted);
        }
        let wanted = output.wanted_at_most(len)?;
        if wanted == Wanted::Size {
            return Ok(wanted);
        }
        let known = self.answered.take().filter(|known| known.input == input);
        let plaintext = match known {
            Some(known) => known.plaintext,
            None => self.cipher.decrypt(token, &self.key, of, input, &[])?,
        };
        let put = output.put(&plaintext);
        if put.is_err() {
            let input = input.to_vec();
            self.answered = Some(Answered { input, plaintext });
        }
        put.map(|()| wanted)
    }
}
