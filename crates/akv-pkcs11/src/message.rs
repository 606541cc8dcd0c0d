//! What is signed, verified or hashed: it comes whole, or in parts.

use std::borrow::Cow;

use cryptoki_sys::{CK_RV, CKR_DATA_LEN_RANGE, CKR_OPERATION_NOT_INITIALIZED};
use hsm_keys::{Digest, Hasher};

use crate::error::Error;

/// More than any key signs of what a program has hashed itself.
const MOST: usize = 1024;

/// The longest message that goes to the HSM as it is, in bytes: the service takes it whole, and
/// answers are bounded. No public source has a limit.
pub(crate) const LONGEST: usize = 1 << 19;

/// Refuses a message that is too long to go to the HSM as it is: longer than `most`.
pub(crate) fn check_len(len: usize, most: usize, code: CK_RV) -> Result<(), Error> {
    match len <= most {
        true => Ok(()),
        false => Err(Error::because(
            code,
            format!("the HSM takes a message whole, and {most} bytes at most here"),
        )),
    }
}

/// Refuses more data that a message is bound to than goes to the HSM.
pub(crate) fn check_aad(aad: &[u8], code: CK_RV) -> Result<(), Error> {
    match aad.len() <= LONGEST {
        true => Ok(()),
        false => Err(Error::because(
            code,
            format!("the HSM takes {LONGEST} bytes of additional data at most here"),
        )),
    }
}

/// A message on its way.
pub(crate) struct Message {
    way: Way,
    /// What came in parts. The standard has none of what is hashed already; OpenSC and others send
    /// them all the same.
    parts: Option<Parts>,
}

/// What is done with a message.
enum Way {
    /// It is hashed.
    Digest(&'static Digest),
    /// It is hashed by what has taken something in already.
    Begun(Hasher),
    /// The program has hashed it, or the HSM does: so many bytes at most.
    Kept(usize),
}

enum Parts {
    Hashed(Hasher),
    /// So many bytes at most.
    Kept(Vec<u8>, usize),
}

impl Message {
    pub(crate) fn new(hash: Option<&'static Digest>) -> Self {
        Self::of(hash.map_or(Way::Kept(MOST), Way::Digest))
    }

    /// One that is hashed by what has taken something in already.
    pub(crate) fn begun(hasher: Hasher) -> Self {
        Self::of(Way::Begun(hasher))
    }

    /// One that goes to the HSM as it is.
    pub(crate) fn unhashed() -> Self {
        Self::of(Way::Kept(LONGEST))
    }

    /// Another one of the same kind.
    pub(crate) fn anew(&self) -> Self {
        Self::of(match &self.way {
            Way::Digest(hash) => Way::Digest(hash),
            Way::Begun(hasher) => Way::Begun(hasher.fork()),
            Way::Kept(most) => Way::Kept(*most),
        })
    }

    fn of(way: Way) -> Self {
        Self { way, parts: None }
    }

    /// The digest of a message that comes whole, or what the program has hashed.
    ///
    /// # Errors
    /// A part has come before.
    pub(crate) fn whole<'a>(&self, data: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        if self.parts.is_some() {
            return Err(Error::code(CKR_OPERATION_NOT_INITIALIZED));
        }
        Ok(match &self.way {
            Way::Digest(hash) => hash.of(data).into_vec().into(),
            Way::Begun(hasher) => {
                let mut hasher = hasher.fork();
                hasher.update(data);
                hasher.finalize().into_vec().into()
            }
            Way::Kept(_) => data.into(),
        })
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
            Parts::Kept(bytes, most) if bytes.len() + part.len() > most => {
                return Err(Error::code(CKR_DATA_LEN_RANGE));
            }
            Parts::Kept(mut bytes, most) => {
                bytes.extend_from_slice(part);
                Parts::Kept(bytes, most)
            }
        });
        Ok(())
    }

    /// The digest of all parts, or the parts of what the program has hashed.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        match self.parts.take().unwrap_or_else(|| self.no_parts()) {
            Parts::Hashed(hasher) => hasher.finalize().into_vec(),
            Parts::Kept(bytes, _) => bytes,
        }
    }

    fn no_parts(&self) -> Parts {
        match &self.way {
            Way::Digest(hash) => Parts::Hashed(hash.hasher()),
            Way::Begun(hasher) => Parts::Hashed(hasher.fork()),
            Way::Kept(most) => Parts::Kept(Vec::new(), *most),
        }
    }
}
