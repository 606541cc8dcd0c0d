//! What is signed, verified or hashed: it comes whole, or in parts.

use std::borrow::Cow;

use cryptoki_sys::{CKR_DATA_LEN_RANGE, CKR_OPERATION_NOT_INITIALIZED};
use hsm_keys::{Digest, Hasher};

use crate::error::Error;

/// More than any key signs of what a program has hashed itself.
const MOST: usize = 1024;

/// A message on its way.
pub(crate) struct Message {
    /// None: the program has hashed it, or the HSM does.
    hash: Option<&'static Digest>,
    /// How many bytes are kept of what is not hashed here.
    most: usize,
    /// What came in parts. The standard has none of what is hashed already; OpenSC and others send
    /// them all the same.
    parts: Option<Parts>,
}

enum Parts {
    Hashed(Hasher),
    Kept(Vec<u8>),
}

impl Message {
    pub(crate) fn new(hash: Option<&'static Digest>) -> Self {
        Self {
            hash,
            most: MOST,
            parts: None,
        }
    }

    /// One that goes to the HSM as it is, of so many bytes at most.
    pub(crate) fn unhashed(most: usize) -> Self {
        Self {
            most,
            ..Self::new(None)
        }
    }

    /// The digest of a message that comes whole, or what the program has hashed.
    ///
    /// # Errors
    /// A part has come before.
    pub(crate) fn whole<'a>(&self, data: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        match (self.hash, &self.parts) {
            (_, Some(_)) => Err(Error::code(CKR_OPERATION_NOT_INITIALIZED)),
            (Some(hash), None) => Ok(hash.of(data).into_vec().into()),
            (None, None) => Ok(data.into()),
        }
    }

    /// Takes a part.
    ///
    /// # Errors
    /// It is more than any key signs.
    pub(crate) fn update(&mut self, part: &[u8]) -> Result<(), Error> {
        let parts = self.parts.take().unwrap_or_else(|| self.no_parts());
        self.parts = Some(match parts {
            Parts::Hashed(mut hasher) => {
                hasher.update(part);
                Parts::Hashed(hasher)
            }
            Parts::Kept(bytes) if bytes.len() + part.len() > self.most => {
                return Err(Error::code(CKR_DATA_LEN_RANGE));
            }
            Parts::Kept(mut bytes) => {
                bytes.extend_from_slice(part);
                Parts::Kept(bytes)
            }
        });
        Ok(())
    }

    /// The digest of all parts, or the parts of what the program has hashed.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        match self.parts.take().unwrap_or_else(|| self.no_parts()) {
            Parts::Hashed(hasher) => hasher.finalize().into_vec(),
            Parts::Kept(bytes) => bytes,
        }
    }

    fn no_parts(&self) -> Parts {
        match self.hash {
            Some(hash) => Parts::Hashed(hash.hasher()),
            None => Parts::Kept(Vec::new()),
        }
    }
}
