//! The encoding of software keys, by another provider.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use super::{ForeignKey, NOTHING_TO_DO, call};
use crate::openssl::bio::CoreBio;
use crate::openssl::ffi;
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
    let (output, selection, passphrase, passphrase_argument) = arguments;
    // As libcrypto chooses: some provider's encoders, such as those of tokens, write its own keys
    // alone.
    let selects = |encoder: &Arc<Implementation<Encoder>>| {
        let does_selection = functions::ENCODER_DOES_SELECTION;
        call!(encoder, does_selection, (encoder.context, selection), or NOTHING_TO_DO) == 1
    };
    let imports = |encoder: &Arc<Implementation<Encoder>>| {
        selects(encoder)
            && encoder
                .functions
                .get(functions::ENCODER_IMPORT_OBJECT)
                .is_some()
    };
    let beside = neighbours.find_beside(&key.implementation, name, wanted);
    let implementation = beside
        .filter(selects)
        .or_else(|| neighbours.find_with(name, wanted).filter(imports))
        .or_else(|| neighbours.first_told_of(name, wanted, imports))?;
    let context = call!(
        implementation,
        functions::ENCODER_NEWCTX,
        (implementation.context)
    );
    if context.is_null() {
        return Some(0);
    }
    params.with(|params| {
        call!(
            implementation,
            functions::ENCODER_SET_CTX_PARAMS,
            (context, params)
        )
    });
    let encode = |object: *mut c_void| {
        call!(
            implementation,
            functions::ENCODER_ENCODE,
            (
                context,
                output,
                object,
                std::ptr::null(),
                selection,
                passphrase,
                passphrase_argument
            )
        )
    };
    let encoded = if implementation.is_beside(&key.implementation) {
        encode(key.keydata)
    } else {
        // A private key is written with the public one.
        let parts = match selection & ffi::SELECT_PRIVATE_KEY {
            0 => selection,
            _ => selection | ffi::SELECT_PUBLIC_KEY,
        };
        let mut object = std::ptr::null_mut();
        key.exported(parts, |params| {
            object = call!(
                implementation,
                functions::ENCODER_IMPORT_OBJECT,
                (context, parts, params)
            );
            c_int::from(!object.is_null())
        });
        if object.is_null() {
            0
        } else {
            let encoded = encode(object);
            call!(implementation, functions::ENCODER_FREE_OBJECT, (object));
            encoded
        }
    };
    call!(implementation, functions::ENCODER_FREECTX, (context));
    Some(encoded)
}
