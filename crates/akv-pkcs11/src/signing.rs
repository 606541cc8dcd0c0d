//! Signatures: what is signed is hashed here, signed in the HSM, and the signature checked here.

use std::sync::Arc;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKA_SIGN, CKM_RSA_PKCS, CKR_DATA_LEN_RANGE,
    CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_INVALID,
    CKR_MECHANISM_PARAM_INVALID,
};
use hsm_keys::{Check, PublicKey, Scheme, digest_info};

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

/// A signature in progress.
pub(crate) struct Signing {
    key: Arc<StoredKey>,
    way: Signed,
    pub(crate) message: Message,
    check: Check,
}

const SIGN: Slot<Signing> = |operations| &mut operations.sign;
const RECOVER: Slot<Signing> = |operations| &mut operations.sign_recover;

pub(crate) fn sign_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, SIGN, |given| {
        Signing::new(module, &session, given, key)
    })
}

/// The HSM signs what the program has padded with a DigestInfo, or anything else, where that is
/// switched on.
pub(crate) fn sign_recover_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let is_possible =
        |given: &MechanismIn<'_>| given.type_ == CKM_RSA_PKCS && module.options.rsnull;
    if !mechanism.as_ref().is_none_or(is_possible) {
        return Err(Error::code(CKR_MECHANISM_INVALID));
    }
    operation::begin(&session, mechanism, RECOVER, |given| {
        Signing::new(module, &session, given, key)
    })
}

/// Refuses a key that may not sign: the HSM would.
fn check_use(token: &Token, key: &StoredKey) -> Result<(), Error> {
    let refused = |problem: String| Err(Error::because(CKR_KEY_FUNCTION_NOT_PERMITTED, problem));
    if let Some(obstacle) = key.obstacle() {
        return refused(obstacle);
    }
    match token.view(key, Half::Private).is(CKA_SIGN) {
        true => Ok(()),
        false if key.hsm_id().is_none() => refused(
            "a secret key that a program has brought is there to be wrapped: the HSM signs with its own keys alone".to_owned(),
        ),
        false => refused(format!(
            "key {} does not permit 'sign' (its key_ops are: {}): update it with 'sign' in its key_ops",
            key.name(),
            key.permitted()
        )),
    }
}

pub(crate) fn sign(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    whole(&session, data, output, SIGN)
}

pub(crate) fn sign_recover(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    whole(&session, data, output, RECOVER)
}

fn whole(
    session: &Session,
    data: Bytes<'_>,
    mut output: Output<'_>,
    slot: Slot<Signing>,
) -> Result<(), Error> {
    let Some(signing) = operation::take_for(session, slot, &mut output, Signing::len)? else {
        return Ok(());
    };
    signing.sign_whole(&session.token, data, output)
}

pub(crate) fn sign_update(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    part: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::update(&session, SIGN, |signing| {
        signing.message.update(part.get()?)
    })
}

pub(crate) fn sign_final(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let Some(mut signing) = operation::take_for(&session, SIGN, &mut output, Signing::len)? else {
        return Ok(());
    };
    let value = signing.message.finish();
    output.put(&signing.sign(&session.token, &value)?)
}

impl Signing {
    /// What signs by a mechanism and a key, if the HSM and the key do that.
    pub(crate) fn new(
        module: &Module,
        session: &Session,
        given: &MechanismIn<'_>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Self, Error> {
        let mechanism =
            Mechanism::find(given.type_).ok_or_else(|| Error::code(CKR_MECHANISM_INVALID))?;
        if !mechanism.can_sign(&module.options) {
            return Err(mechanism.refusal_to_sign());
        }
        let (key, half) = session.token.key(key)?;
        if !mechanism.takes(key.public()) {
            return Err(Error::code(CKR_KEY_TYPE_INCONSISTENT));
        }
        if half != Half::Private {
            return Err(Error::code(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
        let key = session
            .token
            .usable(Purpose::Sign, key, |key| check_use(&session.token, key))?;
        let (way, message) = mechanism.signed(given, key.public(), half)?;
        // What the HSM has no algorithm for is known before anything is signed.
        match &way {
            Signed::Mac(algorithm) => mac::check_key(*algorithm, &key)?,
            Signed::By(Scheme::Pkcs1 { .. }) if module.options.rsnull => {}
            Signed::By(scheme) => {
                scheme.algorithm(key.public()).map_err(|error| {
                    Error::because(CKR_MECHANISM_PARAM_INVALID, error.to_string())
                })?;
            }
        }
        Ok(Self {
            key,
            way,
            message,
            check: match module.options.verify_signatures {
                true => Check::Signature,
                false => Check::LengthOnly,
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        match self.way {
            Signed::Mac(algorithm) => algorithm.mac_len(),
            Signed::By(_) => self.key.public().raw_signature_len(),
        }
    }

    /// Signs a message that comes whole, or tells how long the signature will be.
    pub(crate) fn sign_whole(
        &self,
        token: &Token,
        data: Bytes<'_>,
        mut output: Output<'_>,
    ) -> Result<(), Error> {
        if output.wanted(self.len())? == Wanted::Size {
            return Ok(());
        }
        let value = self.message.whole(data.get()?)?;
        output.put(&self.sign(token, &value)?)
    }

    /// Has the HSM sign a digest, or what is only to be padded; or authenticate a message.
    pub(crate) fn sign(&self, token: &Token, value: &[u8]) -> Result<Vec<u8>, Error> {
        match self.way {
            Signed::Mac(algorithm) => mac::make(token, &self.key, algorithm, value),
            Signed::By(scheme) => self.sign_by(token, scheme, value),
        }
    }

    fn sign_by(&self, token: &Token, scheme: Scheme, value: &[u8]) -> Result<Vec<u8>, Error> {
        let info;
        let (scheme, value) = match scheme {
            Scheme::Pkcs1 {
                digest: Some(digest),
            } if !digest.is_for_rsa() => {
                info = digest_info::encode(digest, value);
                (Scheme::Pkcs1 { digest: None }, &info[..])
            }
            scheme => (scheme, value),
        };
        if let (PublicKey::Rsa(rsa), Scheme::Pkcs1 { digest: None }) = (self.key.public(), &scheme)
            && value.len() > rsa.len() - 11
        {
            return Err(Error::code(CKR_DATA_LEN_RANGE));
        }
        let key = self.key.to_use()?;
        token.ask(|client| {
            hsm_keys::sign(client, key, &scheme, value, self.check)
                .map(hsm_keys::RawSignature::into_raw)
                .map_err(|error| token.failure(Purpose::Sign, &error))
        })?
    }
}
