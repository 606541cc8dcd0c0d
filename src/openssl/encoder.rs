//! Dispatch tables of the encoders (provider-encoder(7)).

use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::Arc;

use hsm_keys::KeyType;
use hsm_module::dispatch::Entry;
use hsm_module::{Owned, table};

use super::bio::{Bio, CoreBio};
use super::boundary;
use super::entry::provider;
use super::ffi::{self, Param};
use super::foreign::{EncoderArguments, ForeignKey, encode_foreign};
use super::functions::{self, Passphrase};
use super::keymgmt::{self, keydata};
use super::params::{ParamList, ParamsIn, descriptors};
use crate::encoder::{self, Form, Structure};
use crate::error::{Error, Reason};
use crate::names;
use crate::provider::Provider;

const CIPHER: &CStr = c"cipher";
const PROPERTIES: &CStr = c"properties";
const SAVE_PARAMETERS: &CStr = c"save-parameters";

/// Structures, for the tables below.
pub(super) const TEXT: u8 = 0;
pub(super) const SPKI: u8 = 1;
pub(super) const TYPE_SPECIFIC: u8 = 2;
pub(super) const PRIVATE: u8 = 3;
pub(super) const ENCRYPTED: u8 = 4;

const fn structure(number: u8) -> Structure {
    match number {
        TEXT => Structure::Any,
        SPKI => Structure::SubjectPublicKeyInfo,
        TYPE_SPECIFIC => Structure::TypeSpecific,
        ENCRYPTED => Structure::EncryptedPrivateKeyInfo,
        _ => Structure::PrivateKeyInfo,
    }
}

/// An encoder of keys of a type, in DER unless `PEM`.
pub(super) struct Encoding<const TYPE: u8, const STRUCTURE: u8, const PEM: bool>;

impl<const TYPE: u8, const STRUCTURE: u8, const PEM: bool> Encoding<TYPE, STRUCTURE, PEM> {
    pub(super) const FUNCTIONS: &'static [Entry<functions::Encoder>] = table![
        functions::ENCODER_NEWCTX => newctx,
        functions::ENCODER_FREECTX => freectx,
        functions::ENCODER_SET_CTX_PARAMS => set_ctx_params,
        functions::ENCODER_SETTABLE_CTX_PARAMS => settable_ctx_params,
        functions::ENCODER_DOES_SELECTION => does_selection::<TYPE, STRUCTURE>,
        functions::ENCODER_ENCODE => encode::<STRUCTURE, PEM>,
    ];
}

/// The context of an encoder: what a caller may ask of the encoding of software keys.
struct Encoder {
    provider: Arc<Provider>,
    cipher: Option<CString>,
    properties: Option<CString>,
    save_parameters: Option<i64>,
}

impl Encoder {
    fn params(&self) -> ParamList {
        let mut list = ParamList::default();
        if let Some(cipher) = &self.cipher {
            list = list.utf8(CIPHER, cipher);
        }
        if let Some(properties) = &self.properties {
            list = list.utf8(PROPERTIES, properties);
        }
        match self.save_parameters {
            Some(save) => list.integer(SAVE_PARAMETERS, (save != 0).into()),
            None => list,
        }
    }

    /// Writes to a stream that OpenSSL has passed for the present call.
    fn write(&self, output: *mut CoreBio, bytes: &[u8]) -> Result<c_int, Error> {
        // SAFETY: OpenSSL passes a stream of its own for this call.
        let mut output = unsafe { Bio::new(output, self.provider.core.bio) };
        match output.write_all(bytes) {
            true => Ok(1),
            false => Err(Error::Output),
        }
    }

    /// Has another provider encode its key, or what we told it of ours. `wanted`: the properties of
    /// an encoder that will do. None: there is none.
    fn hand_on(
        &self,
        key_type: KeyType,
        key: &ForeignKey,
        wanted: &[Option<&str>],
        arguments: EncoderArguments,
    ) -> Result<Option<c_int>, Error> {
        let (_, selection, ..) = arguments;
        let of_key = ffi::SELECT_PUBLIC_KEY | ffi::SELECT_PRIVATE_KEY;
        let reads_key = selection & of_key != 0 || key_type == KeyType::Rsa;
        if reads_key && key.has(ffi::SELECT_PUBLIC_KEY) != 1 {
            // The default provider doesn't look, and reads what isn't there.
            return Err(Error::InvalidKey("there is no public key in it".to_owned()));
        }
        let wanted: Vec<&str> = wanted.iter().flatten().copied().collect();
        Ok(encode_foreign(
            &self.provider.neighbours,
            (names::of_key_type(key_type), &wanted),
            &mut self.params(),
            key,
            arguments,
        ))
    }
}

unsafe extern "C" fn newctx(context: *mut c_void) -> *mut c_void {
    boundary::quietly(|| {
        let encoder = Encoder {
            // SAFETY: OpenSSL passes our context back.
            provider: unsafe { provider(context) },
            cipher: None,
            properties: None,
            save_parameters: None,
        };
        Some(Owned::hand_out(encoder))
    })
}

unsafe extern "C" fn freectx(context: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back what `newctx` handed out, once.
        drop(unsafe { Owned::<Encoder>::take_back(context) });
        Some(1)
    });
}

unsafe extern "C" fn settable_ctx_params(_provider: *mut c_void) -> *const Param {
    static TABLE: &[Param] = descriptors! {
        CIPHER => PARAM_UTF8_STRING,
        PROPERTIES => PARAM_UTF8_STRING,
        SAVE_PARAMETERS => PARAM_INTEGER,
    };
    TABLE.as_ptr()
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    // SAFETY: OpenSSL passes a context of ours, which one thread uses.
    let Some(encoder) = (unsafe { Owned::<Encoder>::borrow_mut(context) }) else {
        return 0;
    };
    let core = encoder.provider.core;
    boundary::call(&core, c"encoder_set_ctx_params", || {
        // SAFETY: OpenSSL passes a parameter list or NULL.
        let params = unsafe { ParamsIn::new(params) };
        let text = |key| -> Result<Option<CString>, Error> {
            let text = params.nullable_utf8(key)?;
            Ok(text.map(|text| CString::new(text).unwrap_or_default()))
        };
        encoder.cipher = text(CIPHER)?.or_else(|| encoder.cipher.take());
        encoder.properties = text(PROPERTIES)?.or_else(|| encoder.properties.take());
        encoder.save_parameters = params.integer(SAVE_PARAMETERS)?.or(encoder.save_parameters);
        Ok(1)
    })
}

unsafe extern "C" fn does_selection<const TYPE: u8, const STRUCTURE: u8>(
    _provider: *mut c_void,
    selection: c_int,
) -> c_int {
    let key_type = keymgmt::key_type(TYPE);
    encoder::does_selection(key_type, structure(STRUCTURE), selection).into()
}

unsafe extern "C" fn encode<const STRUCTURE: u8, const PEM: bool>(
    context: *mut c_void,
    output: *mut CoreBio,
    key: *const c_void,
    abstract_key: *const Param,
    selection: c_int,
    passphrase: Passphrase,
    passphrase_argument: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL passes a context of ours.
    let Some(context) = (unsafe { Owned::<Encoder>::borrow(context) }) else {
        return 0;
    };
    let core = context.provider.core;
    boundary::call(&core, c"encoder_encode", || {
        // SAFETY: OpenSSL passes a key of ours.
        let key = unsafe { keydata(key) }.filter(|_| abstract_key.is_null());
        let key =
            key.ok_or_else(|| Error::InvalidKey("the key is another provider's".to_owned()))?;
        let (form, name) = match (STRUCTURE, PEM) {
            (TEXT, _) => (Form::Text, "output=text"),
            (_, true) => (Form::Pem, "output=pem"),
            (_, false) => (Form::Der, "output=der"),
        };
        let public_text = STRUCTURE == TEXT && selection & ffi::SELECT_PRIVATE_KEY == 0;
        // How a public key reads differs from release to release.
        let handed_over = match public_text && key.foreign().is_none() {
            // All of it, whatever is to be shown: the reader of RSA keys looks at the numbers in
            // any case.
            true => keymgmt::hand_over(&key.own, selection | ffi::SELECT_PUBLIC_KEY),
            false => None,
        };
        if let Some(foreign) = key.foreign().or(handed_over.as_ref()) {
            let wanted = [Some(name), foreign_structure(structure(STRUCTURE))];
            let arguments = (output, selection, passphrase, passphrase_argument);
            let encoded = context.hand_on(key.own.key_type, foreign, &wanted, arguments)?;
            match encoded {
                Some(encoded) => return Ok(encoded),
                None if key.foreign().is_none() => {}
                None if STRUCTURE == TEXT => {
                    return context.write(output, &without_text(key.own.key_type));
                }
                None => return Ok(0),
            }
        }
        let own = key.own.require()?;
        let structure = structure(STRUCTURE);
        let encoded = encoder::encode(own, form, structure, selection)?;
        let encrypted = context
            .cipher
            .as_ref()
            .is_some_and(|cipher| !cipher.is_empty());
        if encrypted && selection & ffi::SELECT_PRIVATE_KEY != 0 {
            return Err(Error::refused(
                Reason::KeyFileEncryption,
                "encrypting a key file, which holds no secret but a URI,",
                "leave out the cipher",
            ));
        }
        context.write(output, &encoded)
    })
}

/// What libcrypto says of a key where no provider writes texts of it.
fn without_text(key_type: KeyType) -> Vec<u8> {
    let name = names::of_key_type(key_type).to_string_lossy();
    format!("Public Key algorithm \"{name}\" unsupported\n").into_bytes()
}

/// The property of an encoder of another provider's for a structure. None: any will do.
fn foreign_structure(structure: Structure) -> Option<&'static str> {
    match structure {
        Structure::Any => None,
        Structure::SubjectPublicKeyInfo => Some("structure=SubjectPublicKeyInfo"),
        Structure::TypeSpecific => Some("structure=type-specific"),
        Structure::PrivateKeyInfo => Some("structure=PrivateKeyInfo"),
        Structure::EncryptedPrivateKeyInfo => Some("structure=EncryptedPrivateKeyInfo"),
    }
}
