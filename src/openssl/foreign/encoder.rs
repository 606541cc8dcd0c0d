//! The encoding of software keys, by another provider.

use std::ffi::{CStr, c_int, c_void};

use super::{ForeignKey, call};
use crate::openssl::bio::CoreBio;
use crate::openssl::ffi;
use crate::openssl::functions::{self, Passphrase};
use crate::openssl::neighbour::Neighbours;
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
    let beside = neighbours.find_beside(&key.implementation, name, wanted);
    let implementation = beside.or_else(|| neighbours.find_with(name, wanted))?;
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
    let (output, selection, passphrase, passphrase_argument) = arguments;
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
