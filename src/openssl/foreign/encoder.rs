//! The encoding of software keys, by another provider.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use super::{ForeignKey, NOTHING_TO_DO, call};
use crate::openssl::bio::CoreBio;
use crate::openssl::ffi::{self, Param};
use crate::openssl::functions::{self, Encoder, Passphrase};
use crate::openssl::neighbour::{Implementation, Neighbours};
use crate::openssl::params::ParamList;

/// The stream, the selection, and the caller's pass-phrase callback with its argument.
pub(in crate::openssl) type EncoderArguments = (*mut CoreBio, c_int, Passphrase, *mut c_void);

/// Has another provider encode a key: its own, or, where that one has no such encoder, what that
/// one tells of it. `name` and `wanted`: the key type's name, and the properties that the encoder
/// must have. None: no provider has one.
pub(in crate::openssl) fn encode_foreign(
    neighbours: &Neighbours,
    (name, wanted): (&CStr, &[&str]),
    params: &mut ParamList,
    key: &ForeignKey,
    arguments: EncoderArguments,
) -> Option<c_int> {
    let implementation = chosen(neighbours, (name, wanted), key, arguments.1)?;
    let new = functions::ENCODER_NEWCTX;
    let context = call!(implementation, new, (implementation.context));
    if context.is_null() {
        return Some(0);
    }
    let encoding = Encoding {
        implementation,
        context,
        arguments,
    };
    params.with(|params| encoding.set(params));
    let encoded = match encoding.implementation.is_beside(&key.implementation) {
        true => encoding.encode(key.keydata),
        false => encoding.encode_told(key),
    };
    Some(encoded)
}

/// The encoder that libcrypto would choose. Some provider's encoders, such as those of tokens,
/// write its own keys alone.
fn chosen(
    neighbours: &Neighbours,
    (name, wanted): (&CStr, &[&str]),
    key: &ForeignKey,
    selection: c_int,
) -> Option<Arc<Implementation<Encoder>>> {
    let selects = |encoder: &Arc<Implementation<Encoder>>| {
        let does_selection = functions::ENCODER_DOES_SELECTION;
        call!(encoder, does_selection, (encoder.context, selection), or NOTHING_TO_DO) == 1
    };
    let imports = |encoder: &Arc<Implementation<Encoder>>| {
        let import = functions::ENCODER_IMPORT_OBJECT;
        selects(encoder) && encoder.functions.get(import).is_some()
    };
    let beside = neighbours.find_beside(&key.implementation, name, wanted);
    beside
        .filter(selects)
        .or_else(|| neighbours.find_with(name, wanted).filter(imports))
        .or_else(|| neighbours.first_told_of(name, wanted, |encoder| Some(encoder).filter(imports)))
}

/// An encoder with a context of its own, which ends with it.
struct Encoding {
    implementation: Arc<Implementation<Encoder>>,
    context: *mut c_void,
    arguments: EncoderArguments,
}

impl Encoding {
    fn set(&self, params: *const Param) {
        let set = functions::ENCODER_SET_CTX_PARAMS;
        call!(self.implementation, set, (self.context, params));
    }

    /// Encodes an object that is the encoder's provider's.
    fn encode(&self, object: *mut c_void) -> c_int {
        let (output, selection, passphrase, passphrase_argument) = self.arguments;
        call!(
            self.implementation,
            functions::ENCODER_ENCODE,
            (
                self.context,
                output,
                object,
                std::ptr::null(),
                selection,
                passphrase,
                passphrase_argument
            )
        )
    }

    /// Encodes what a key's provider tells of it.
    fn encode_told(&self, key: &ForeignKey) -> c_int {
        let selection = self.arguments.1;
        // A private key is written with the public one.
        let parts = match selection & ffi::SELECT_PRIVATE_KEY {
            0 => selection,
            _ => selection | ffi::SELECT_PUBLIC_KEY,
        };
        let import = functions::ENCODER_IMPORT_OBJECT;
        let mut object = std::ptr::null_mut();
        key.exported(parts, |params| {
            object = call!(self.implementation, import, (self.context, parts, params));
            c_int::from(!object.is_null())
        });
        if object.is_null() {
            return 0;
        }
        let encoded = self.encode(object);
        call!(
            self.implementation,
            functions::ENCODER_FREE_OBJECT,
            (object)
        );
        encoded
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        call!(
            self.implementation,
            functions::ENCODER_FREECTX,
            (self.context)
        );
    }
}
