//! The functions of PKCS#11 3.0 for many messages with one key: AES-GCM, whose initialisation
//! vectors the HSM makes.

use std::sync::Arc;

use cryptoki_sys::*;
use hsm_keys::KeyType;
use hsm_keys::aes::Parameters;
use zeroize::Zeroizing;

use crate::ciphers::{self, Cipher, Use};
use crate::encrypting::{copied, hold};
use crate::error::Error;
use crate::ffi::convert::{Bytes, MechanismIn, Output, Wanted};
use crate::ffi::parameters::{GcmMessage, MessageIn};
use crate::mechanisms::parameter_invalid;
use crate::message::{self, LONGEST};
use crate::module::Module;
use crate::operation::{self, Slot};
use crate::sessions::Session;
use crate::token::Token;
use crate::token::objects::StoredKey;

/// Encryption or decryption of messages, until the program ends it. A message that fails is no end.
pub(crate) struct MessageEncrypting {
    key: Arc<StoredKey>,
    /// The message that comes in parts just now.
    begun: Option<Begun>,
}

struct Begun {
    aad: Vec<u8>,
    parts: Option<Zeroizing<Vec<u8>>>,
}

/// Which of the two, with its place among the session's operations.
#[derive(Clone, Copy)]
struct Kind {
    of: Use,
    slot: Slot<MessageEncrypting>,
}

const ENCRYPT: Kind = Kind {
    of: Use::Encrypt,
    slot: |operations| &mut operations.message_encrypt,
};
const DECRYPT: Kind = Kind {
    of: Use::Decrypt,
    slot: |operations| &mut operations.message_decrypt,
};

/// A function for each of the two.
macro_rules! both {
    ($($encrypt:ident $decrypt:ident = $target:ident($($argument:ident: $type:ty),*);)*) => {$(
        pub(crate) fn $encrypt(
            module: &Arc<Module>,
            session: CK_SESSION_HANDLE,
            $($argument: $type),*
        ) -> Result<(), Error> {
            $target(&*module.session(session)?, ENCRYPT, $($argument),*)
        }

        pub(crate) fn $decrypt(
            module: &Arc<Module>,
            session: CK_SESSION_HANDLE,
            $($argument: $type),*
        ) -> Result<(), Error> {
            $target(&*module.session(session)?, DECRYPT, $($argument),*)
        }
    )*};
}

both! {
    encrypt_init decrypt_init = init(
        mechanism: Option<MechanismIn<'_>>, key: CK_OBJECT_HANDLE
    );
    encrypt_message decrypt_message = whole(
        parameter: MessageIn<'_>, aad: Bytes<'_>, input: Bytes<'_>, output: Output<'_>
    );
    encrypt_begin decrypt_begin = begin(parameter: MessageIn<'_>, aad: Bytes<'_>);
    encrypt_next decrypt_next = next(
        parameter: MessageIn<'_>, part: Bytes<'_>, output: Output<'_>, flags: CK_FLAGS
    );
    encrypt_final decrypt_final = finish();
}

fn init(
    session: &Session,
    kind: Kind,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    operation::begin(session, mechanism, kind.slot, |given| {
        if given.type_ != CKM_AES_GCM {
            return Err(Error::code(CKR_MECHANISM_INVALID));
        }
        let (key, half) = session.token.key(key)?;
        if key.public().key_type() != KeyType::Aes {
            return Err(Error::code(CKR_KEY_TYPE_INCONSISTENT));
        }
        let check = |key: &StoredKey| Cipher::message_gcm().check_key(key, half, kind.of);
        let key = session.token.usable(kind.of.purpose(), key, check)?;
        Ok(MessageEncrypting { key, begun: None })
    })
}

/// The key, if no message is coming in parts.
fn key_between(session: &Session, kind: Kind) -> Result<Arc<StoredKey>, Error> {
    let mut operations = session.operations();
    match (kind.slot)(&mut operations) {
        None => Err(operation::not_initialized()),
        Some(MessageEncrypting { begun: Some(_), .. }) => Err(Error::code(CKR_OPERATION_ACTIVE)),
        Some(operation) => Ok(Arc::clone(&operation.key)),
    }
}

fn whole(
    session: &Session,
    kind: Kind,
    parameter: MessageIn<'_>,
    aad: Bytes<'_>,
    input: Bytes<'_>,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let key = key_between(session, kind)?;
    let message = checked(&parameter, kind.of)?;
    let input = copied(input, LONGEST, kind.of)?;
    let (token, aad) = (&session.token, checked_aad(aad)?);
    one(token, &key, kind.of, &message, aad, &input, &mut output).map(drop)
}

fn begin(
    session: &Session,
    kind: Kind,
    parameter: MessageIn<'_>,
    aad: Bytes<'_>,
) -> Result<(), Error> {
    key_between(session, kind)?;
    checked(&parameter, kind.of)?;
    let aad = checked_aad(aad)?.to_vec();
    if let Some(operation) = (kind.slot)(&mut session.operations()) {
        operation.begun = Some(Begun { aad, parts: None });
    }
    Ok(())
}

/// Takes a part. All comes out with the last one.
fn next(
    session: &Session,
    kind: Kind,
    parameter: MessageIn<'_>,
    part: Bytes<'_>,
    mut output: Output<'_>,
    flags: CK_FLAGS,
) -> Result<(), Error> {
    let (key, mut begun) = {
        let mut operations = session.operations();
        let operation = (kind.slot)(&mut operations).as_mut();
        let operation = operation.ok_or_else(operation::not_initialized)?;
        let begun = operation.begun.take();
        let begun = begun.ok_or_else(operation::not_initialized)?;
        (Arc::clone(&operation.key), begun)
    };
    let message = checked(&parameter, kind.of)?;
    let part = part.get()?;
    let goes_on;
    let outcome = if flags & CKF_END_OF_MESSAGE == 0 {
        let is_result = output.wanted_at_most(part.len())? == Wanted::Result;
        let held = match is_result {
            true => hold(&mut begun.parts, part, LONGEST, kind.of).and_then(|()| output.put(&[])),
            false => Ok(()),
        };
        // A message of which a part was refused has no end without it.
        goes_on = held.is_ok();
        held
    } else {
        let held = begun.parts.take().unwrap_or_default();
        kind.of
            .check_len(held.len().saturating_add(part.len()), LONGEST)?;
        let input = Zeroizing::new([&held[..], part].concat());
        let (token, aad) = (&session.token, &begun.aad[..]);
        let outcome = one(token, &key, kind.of, &message, aad, &input, &mut output);
        goes_on = operation::goes_on(&outcome);
        begun.parts = Some(held);
        outcome.map(drop)
    };
    if goes_on && let Some(operation) = (kind.slot)(&mut session.operations()) {
        operation.begun = Some(begun);
    }
    outcome
}

fn finish(session: &Session, kind: Kind) -> Result<(), Error> {
    operation::take(session, kind.slot).map(drop)
}

/// The parameter of a message, if the HSM can do what it says.
fn checked(parameter: &MessageIn<'_>, of: Use) -> Result<GcmMessage, Error> {
    let message = parameter.gcm()?;
    let by_hsm = matches!(message.generator, CKG_GENERATE | CKG_GENERATE_RANDOM);
    match of.encrypts() && (!by_hsm || message.fixed_bits != 0) {
        false => Ok(message),
        true => Err(parameter_invalid(
            "the HSM makes the whole initialisation vector: set ivGenerator to CKG_GENERATE, and \
             ulIvFixedBits to 0",
        )),
    }
}

/// The data that a message is bound to, unless there is more than the HSM takes.
fn checked_aad(aad: Bytes<'_>) -> Result<&[u8], Error> {
    let aad = aad.get()?;
    message::check_aad(aad, CKR_ARGUMENTS_BAD).map(|()| aad)
}

/// Encrypts or decrypts a message, whose length was checked.
fn one(
    token: &Token,
    key: &StoredKey,
    of: Use,
    message: &GcmMessage,
    aad: &[u8],
    input: &[u8],
    output: &mut Output<'_>,
) -> Result<Wanted, Error> {
    // The tag is elsewhere, so both have the same length.
    if output.wanted_at_most(input.len())? == Wanted::Size {
        return Ok(Wanted::Size);
    }
    output.wanted(input.len())?;
    if of.encrypts() {
        let sealed = ciphers::seal(token, key, of, aad, input)?;
        message.iv_place.put(&sealed.iv)?;
        message.tag_place.put(&sealed.tag)?;
        output.put(&sealed.ciphertext)?;
        return Ok(Wanted::Result);
    }
    let parameters = Parameters {
        padding: false,
        iv: Some(&message.iv),
        aad,
        tag: Some(&message.tag),
    };
    let opened = ciphers::open(token, key, &parameters, input);
    let opened = opened.map_err(|error| match error.code {
        CKR_ENCRYPTED_DATA_INVALID => Error {
            code: CKR_AEAD_DECRYPT_FAILED,
            ..error
        },
        _ => error,
    })?;
    output.put(&opened)?;
    Ok(Wanted::Result)
}
