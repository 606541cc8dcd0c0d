//! Verification, which is done here with the public key; of a MAC it is done in the HSM.

use std::sync::Arc;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKA_VERIFY, CKM_RSA_PKCS, CKR_KEY_FUNCTION_NOT_PERMITTED,
    CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_INVALID, CKR_SIGNATURE_INVALID,
    CKR_SIGNATURE_LEN_RANGE,
};

use hsm_module::stack;

use crate::error::{Error, Purpose};
use crate::ffi::convert::{Bytes, MechanismIn, Output, Wanted};
use crate::mac;
use crate::mechanisms::{Mechanism, Signed};
use crate::message::Message;
use crate::module::Module;
use crate::operation::{self, Slot};
use crate::sessions::Session;
use crate::token::Token;
use crate::token::objects::StoredKey;
use crate::token::tags::Half;

/// A verification in progress.
pub(crate) struct Verifying {
    key: Arc<StoredKey>,
    way: Signed,
    pub(crate) message: Message,
    /// The signature, where it comes first.
    signature: Option<Vec<u8>>,
}

const VERIFY: Slot<Verifying> = |operations| &mut operations.verify;
const RECOVER: Slot<Verifying> = |operations| &mut operations.verify_recover;

pub(crate) fn verify_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, VERIFY, |given| {
        Verifying::new(&session, given, key)
    })
}

pub(crate) fn verify_recover_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    if mechanism.is_some_and(|given| given.type_ != CKM_RSA_PKCS) {
        return Err(Error::code(CKR_MECHANISM_INVALID));
    }
    operation::begin(&session, mechanism, RECOVER, |given| {
        Verifying::new(&session, given, key)
    })
}

/// The signature comes first, what it is of after it.
pub(crate) fn verify_signature_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
    signature: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, VERIFY, |given| {
        let verifying = Verifying::new(&session, given, key)?;
        let signature = signature.get()?;
        verifying.check_len(signature)?;
        Ok(Verifying {
            signature: Some(signature.to_vec()),
            ..verifying
        })
    })
}

pub(crate) fn verify(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    signature: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let verifying = taken(&session, false)?;
    let value = verifying.message.whole(data.get()?)?;
    verifying.check(&session.token, &value, signature.get()?)
}

pub(crate) fn verify_update(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    part: Bytes<'_>,
) -> Result<(), Error> {
    update(&*module.session(session)?, part, false)
}

pub(crate) fn verify_final(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    signature: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let verifying = taken(&session, false)?;
    verifying.finish(&session.token, signature.get()?)
}

pub(crate) fn verify_signature(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let verifying = taken(&session, true)?;
    let value = verifying.message.whole(data.get()?)?;
    let signature = verifying.signature.as_deref().unwrap_or_default();
    verifying.check(&session.token, &value, signature)
}

pub(crate) fn verify_signature_update(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    part: Bytes<'_>,
) -> Result<(), Error> {
    update(&*module.session(session)?, part, true)
}

pub(crate) fn verify_signature_final(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let mut verifying = taken(&session, true)?;
    let signature = verifying.signature.take().unwrap_or_default();
    verifying.finish(&session.token, &signature)
}

/// What a signature was made of.
pub(crate) fn verify_recover(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    signature: Bytes<'_>,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let mut operations = session.operations();
    let verifying = operations
        .verify_recover
        .take()
        .ok_or_else(operation::not_initialized)?;
    let signature = signature.get()?;
    let Signed::By(scheme) = verifying.way else {
        return Err(Error::code(CKR_MECHANISM_INVALID));
    };
    verifying.check_len(signature)?;
    let recovered = hsm_keys::recover(verifying.key.public(), &scheme, signature);
    let recovered = recovered.map_err(|_| Error::code(CKR_SIGNATURE_INVALID))?;
    let wanted = output.wanted(recovered.len());
    if operation::goes_on(&wanted) {
        operations.verify_recover = Some(verifying);
    }
    match wanted? {
        Wanted::Result => output.put(&recovered),
        Wanted::Size => Ok(()),
    }
}

/// The operation, to be ended; `has_signature`: one whose signature came first.
fn taken(session: &Session, has_signature: bool) -> Result<Verifying, Error> {
    check_way(session, has_signature)?;
    operation::take(session, VERIFY)
}

/// Refuses the functions of the other way to verify, which don't end the operation.
fn check_way(session: &Session, has_signature: bool) -> Result<(), Error> {
    let mut operations = session.operations();
    match VERIFY(&mut operations) {
        Some(verifying) if verifying.signature.is_some() != has_signature => {
            Err(operation::not_initialized())
        }
        _ => Ok(()),
    }
}

fn update(session: &Session, part: Bytes<'_>, has_signature: bool) -> Result<(), Error> {
    check_way(session, has_signature)?;
    operation::update(session, VERIFY, |verifying| {
        verifying.message.update(part.get()?)
    })
}

impl Verifying {
    /// What verifies by a mechanism and a key.
    pub(crate) fn new(
        session: &Session,
        given: &MechanismIn<'_>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Self, Error> {
        let mechanism =
            Mechanism::find(given.type_).ok_or_else(|| Error::code(CKR_MECHANISM_INVALID))?;
        let (key, half) = session.token.key(key)?;
        if !mechanism.is_signature() {
            return Err(Error::code(CKR_MECHANISM_INVALID));
        }
        if !mechanism.takes(key.public()) {
            return Err(Error::code(CKR_KEY_TYPE_INCONSISTENT));
        }
        let (way, message) = mechanism.signed(given, key.public(), half)?;
        let fitting = match way {
            Signed::By(_) => Half::Public,
            Signed::Mac(_) => Half::Private,
        };
        let key = session.token.usable(Purpose::Verify, key, |key| {
            match half == fitting && session.token.view(key, half).is(CKA_VERIFY) {
                true => Ok(()),
                false => Err(Error::code(CKR_KEY_FUNCTION_NOT_PERMITTED)),
            }
        })?;
        if let Signed::Mac(algorithm) = way {
            mac::check_key(algorithm, &key)?;
        }
        Ok(Self {
            key,
            way,
            message,
            signature: None,
        })
    }

    fn finish(mut self, token: &Token, signature: &[u8]) -> Result<(), Error> {
        let value = self.message.finish();
        self.check(token, &value, signature)
    }

    /// Checks a signature here, with the public key; a MAC is for the HSM to check.
    pub(crate) fn check(&self, token: &Token, value: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.check_len(signature)?;
        let is_good = match self.way {
            Signed::Mac(algorithm) => mac::verify(token, &self.key, algorithm, value, signature),
            Signed::By(scheme) => {
                let public = self.key.public();
                let verify = || hsm_keys::verify_raw(public, &scheme, value, signature);
                let verified = scheme.with_room(stack::has_room, verify);
                verified
                    .flatten()
                    .map_err(|error| Error::operation(Purpose::Verify, &error))
            }
        };
        match is_good? {
            true => Ok(()),
            false => Err(Error::code(CKR_SIGNATURE_INVALID)),
        }
    }

    fn check_len(&self, signature: &[u8]) -> Result<(), Error> {
        let len = match self.way {
            Signed::Mac(algorithm) => algorithm.mac_len(),
            Signed::By(_) => self.key.public().raw_signature_len(),
        };
        match signature.len() == len {
            true => Ok(()),
            false => Err(Error::code(CKR_SIGNATURE_LEN_RANGE)),
        }
    }
}
