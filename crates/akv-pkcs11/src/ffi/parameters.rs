//! Parameters that lead to further memory: those of AES-GCM, of ML-DSA, and of keys that are
//! wrapped by two others.

use std::ffi::c_void;

use cryptoki_sys::{
    CK_BYTE, CK_GCM_MESSAGE_PARAMS, CK_GCM_PARAMS, CK_GENERATOR_FUNCTION, CK_HEDGE_TYPE,
    CK_MECHANISM_TYPE, CK_RSA_AES_KEY_WRAP_PARAMS, CK_RSA_PKCS_MGF_TYPE, CK_RSA_PKCS_OAEP_PARAMS,
    CK_RSA_PKCS_OAEP_SOURCE_TYPE, CK_SIGN_ADDITIONAL_CONTEXT, CK_ULONG, CKR_ARGUMENTS_BAD,
    CKR_MECHANISM_PARAM_INVALID,
};

use hsm_keys::aes::GCM_TAG_LEN;
use hsm_module::memory::{self, Untouched};

use super::convert::{MechanismIn, slice};
use crate::error::Error;

/// Memory of the program's that a result of the same call is written to.
#[derive(Debug)]
pub(crate) struct Place {
    place: *mut CK_BYTE,
    len: usize,
}

impl Place {
    /// Writes what fills the place.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<(), Error> {
        if self.place.is_null() || bytes.len() != self.len {
            return Err(Error::code(CKR_MECHANISM_PARAM_INVALID));
        }
        // SAFETY: whoever asks for a result there has this many bytes there during the call.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.place, bytes.len()) };
        Ok(())
    }
}

/// Memory of the program's that the initialisation vector of AES-GCM is written to in a later call,
/// as modules have it whose device makes that. It holds zeros until then. Other modules read it at
/// once, so programs there are that have given it back by then.
#[derive(Debug)]
pub(crate) struct Later {
    place: *mut CK_BYTE,
}

// SAFETY: only an address, which any thread may write to that the program lets make the call.
unsafe impl Send for Later {}

impl Later {
    /// Refuses a place that can't be written to already.
    fn begin(place: *mut CK_BYTE) -> Result<Self, Error> {
        let later = Self { place };
        later.write(&[0; GCM_IV_LEN])?;
        Ok(later)
    }

    /// Refuses a place that is no longer there, or doesn't hold the zeros any more that it held: a
    /// program that passes zeros without having the place filled may have freed it, and it may be
    /// in use for something else.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut now = [1; GCM_IV_LEN];
        // SAFETY: whoever asks for a result there keeps the memory until it is there (AES-GCM in
        // PKCS#11), which only Linux finds out.
        unsafe { memory::read(self.place, &mut now) }.map_err(not_kept)?;
        match now == [0; GCM_IV_LEN] {
            true => Ok(()),
            false => Err(not_kept(Untouched::Gone)),
        }
    }

    /// Writes the initialisation vector, if the place is as it was.
    pub(crate) fn put(&self, iv: &[u8]) -> Result<(), Error> {
        self.check()?;
        self.write(iv)
    }

    fn write(&self, iv: &[u8]) -> Result<(), Error> {
        if iv.len() != GCM_IV_LEN {
            return Err(Error::code(CKR_MECHANISM_PARAM_INVALID));
        }
        // SAFETY: what is there is the program's, which keeps it there, as only Linux finds out.
        unsafe { memory::write(self.place, iv) }.map_err(not_kept)
    }
}

/// Why there is no place for the initialisation vector. Without the system's help none is taken: a
/// program that has given it back would crash, or lose other data.
fn not_kept(untouched: Untouched) -> Error {
    const REMEDY: &str =
        "use CKM_CLOUDHSM_AES_GCM or C_MessageEncryptInit, where it has another place";
    match untouched {
        Untouched::Gone => invalid(&format!(
            "the program has not kept the 12 zero bytes, which the HSM's initialisation vector \
             replaces, where they can be written to until the ciphertext comes out: {REMEDY}"
        )),
        Untouched::Refused(error) => invalid(&format!(
            "the system doesn't tell whether the program has kept the place for the HSM's \
             initialisation vector ({error}): have the filter of its system calls (seccomp) allow \
             process_vm_readv and process_vm_writev, or {REMEDY}"
        )),
    }
}

/// What a `CK_GCM_PARAMS` says.
#[derive(Debug)]
pub(crate) struct GcmIn<'a> {
    pub(crate) iv: &'a [u8],
    pub(crate) aad: &'a [u8],
    pub(crate) tag_bits: CK_ULONG,
    iv_place: *mut CK_BYTE,
}

impl GcmIn<'_> {
    /// Where the HSM's initialisation vector, of the usual length, is to go.
    ///
    /// # Errors
    /// It can't be written there.
    pub(crate) fn place_of_iv(&self) -> Result<Later, Error> {
        match self.iv.len() {
            GCM_IV_LEN => Later::begin(self.iv_place),
            _ => Err(invalid(GCM_IVS)),
        }
    }
}

/// What a `CK_SIGN_ADDITIONAL_CONTEXT` says.
#[derive(Debug)]
pub(crate) struct SignContextIn<'a> {
    pub(crate) hedge: CK_HEDGE_TYPE,
    pub(crate) context: &'a [u8],
}

/// The length of the initialisation vector of AES-GCM.
pub(crate) const GCM_IV_LEN: usize = 12;

/// What the HSM has no others of.
pub(crate) const GCM_IVS: &str = "the HSM's initialisation vectors for AES-GCM have 12 bytes";
pub(crate) const GCM_TAGS: &str = "AES-GCM of the HSM has tags of 128 bits: set ulTagBits to 128";

fn invalid(problem: &str) -> Error {
    Error::because(CKR_MECHANISM_PARAM_INVALID, problem)
}

impl<'a> MechanismIn<'a> {
    /// The parameter of AES-GCM.
    ///
    /// # Errors
    /// It has another length, or leads nowhere.
    pub(crate) fn gcm(&self) -> Result<GcmIn<'a>, Error> {
        let bytes = self.parameter()?;
        if bytes.len() != size_of::<CK_GCM_PARAMS>() {
            return Err(invalid(
                "AES-GCM has a CK_GCM_PARAMS as its parameter, of six fields",
            ));
        }
        let nowhere = || invalid("a pointer in the CK_GCM_PARAMS is NULL");
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11); the
        // parameter of this mechanism is such a structure.
        unsafe {
            let given = bytes.as_ptr().cast::<CK_GCM_PARAMS>().read_unaligned();
            let iv = slice(given.pIv.cast_const(), given.ulIvLen).ok_or_else(nowhere)?;
            Ok(GcmIn {
                iv,
                aad: slice(given.pAAD.cast_const(), given.ulAADLen).ok_or_else(nowhere)?,
                tag_bits: given.ulTagBits,
                iv_place: given.pIv,
            })
        }
    }

    /// The parameter of ML-DSA; None: there is none, and needn't be.
    ///
    /// # Errors
    /// It has another length, or leads nowhere.
    pub(crate) fn sign_context(&self) -> Result<Option<SignContextIn<'a>>, Error> {
        let bytes = self.parameter()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() != size_of::<CK_SIGN_ADDITIONAL_CONTEXT>() {
            return Err(invalid(
                "ML-DSA has a CK_SIGN_ADDITIONAL_CONTEXT as its parameter, or none",
            ));
        }
        let given = bytes.as_ptr().cast::<CK_SIGN_ADDITIONAL_CONTEXT>();
        // SAFETY: so many bytes are there, and any bytes are such a structure.
        let given = unsafe { given.read_unaligned() };
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
        let context = unsafe { slice(given.pContext.cast_const(), given.ulContextLen) };
        Ok(Some(SignContextIn {
            hedge: given.hedgeVariant,
            context: context.ok_or_else(|| invalid("pContext is NULL"))?,
        }))
    }
}

/// The parameter of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageIn<'a> {
    parameter: Option<&'a [u8]>,
}

/// # Safety
/// As `convert` says.
pub(super) unsafe fn message<'a>(parameter: *mut c_void, len: CK_ULONG) -> MessageIn<'a> {
    MessageIn {
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
        parameter: unsafe { slice(parameter.cast::<CK_BYTE>().cast_const(), len) },
    }
}

/// What a `CK_GCM_MESSAGE_PARAMS` says.
#[derive(Debug)]
pub(crate) struct GcmMessage {
    pub(crate) iv: [u8; GCM_IV_LEN],
    pub(crate) fixed_bits: CK_ULONG,
    pub(crate) generator: CK_GENERATOR_FUNCTION,
    pub(crate) tag: [u8; GCM_TAG_LEN],
    /// Where the initialisation vector is.
    pub(crate) iv_place: Place,
    /// Where the tag is.
    pub(crate) tag_place: Place,
}

impl MessageIn<'_> {
    /// Refuses a parameter: for signatures it is the mechanism's.
    pub(crate) fn check_none(&self) -> Result<(), Error> {
        match self.parameter {
            Some([]) => Ok(()),
            Some(_) => Err(invalid(
                "a message that is signed has no parameter of its own: the mechanism has it",
            )),
            None => Err(Error::code(CKR_ARGUMENTS_BAD)),
        }
    }

    /// The parameter of a message of AES-GCM.
    ///
    /// # Errors
    /// It has another length, or leads nowhere; or the HSM has no such initialisation vectors or
    /// tags.
    pub(crate) fn gcm(&self) -> Result<GcmMessage, Error> {
        let bytes = self
            .parameter
            .ok_or_else(|| Error::code(CKR_ARGUMENTS_BAD))?;
        if bytes.len() != size_of::<CK_GCM_MESSAGE_PARAMS>() {
            return Err(invalid(
                "a message of AES-GCM has a CK_GCM_MESSAGE_PARAMS as its parameter",
            ));
        }
        let nowhere = || invalid("a pointer in the CK_GCM_MESSAGE_PARAMS is NULL");
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11); the
        // parameter of such a message is such a structure.
        unsafe {
            let given = bytes
                .as_ptr()
                .cast::<CK_GCM_MESSAGE_PARAMS>()
                .read_unaligned();
            // Whatever the lengths are, no more is copied than the HSM takes.
            let iv = slice(given.pIv.cast_const(), given.ulIvLen).ok_or_else(nowhere)?;
            let iv = iv.try_into().map_err(|_| invalid(GCM_IVS))?;
            if given.ulTagBits != 8 * GCM_TAG_LEN as CK_ULONG {
                return Err(invalid(GCM_TAGS));
            }
            let tag = slice(given.pTag.cast_const(), GCM_TAG_LEN as CK_ULONG);
            let tag = tag.ok_or_else(nowhere)?;
            let at = |place, len| Place { place, len };
            Ok(GcmMessage {
                iv,
                fixed_bits: given.ulIvFixedBits,
                generator: given.ivGenerator,
                tag: tag.try_into().map_err(|_| invalid(GCM_TAGS))?,
                iv_place: at(given.pIv, GCM_IV_LEN),
                tag_place: at(given.pTag, GCM_TAG_LEN),
            })
        }
    }
}

/// What a `CK_RSA_PKCS_OAEP_PARAMS` says.
#[derive(Debug)]
pub(crate) struct OaepIn {
    pub(crate) hash: CK_MECHANISM_TYPE,
    pub(crate) mgf: CK_RSA_PKCS_MGF_TYPE,
    pub(crate) source: CK_RSA_PKCS_OAEP_SOURCE_TYPE,
    pub(crate) label_len: CK_ULONG,
}

impl MechanismIn<'_> {
    /// The parameter of OAEP.
    ///
    /// # Errors
    /// It has another length.
    pub(crate) fn oaep(&self) -> Result<OaepIn, Error> {
        let bytes = self.parameter()?;
        if bytes.len() != size_of::<CK_RSA_PKCS_OAEP_PARAMS>() {
            return Err(invalid(
                "OAEP has a CK_RSA_PKCS_OAEP_PARAMS as its parameter",
            ));
        }
        let given = bytes.as_ptr().cast::<CK_RSA_PKCS_OAEP_PARAMS>();
        // SAFETY: so many bytes are there, and any bytes are such a structure.
        Ok(OaepIn::from(unsafe { given.read_unaligned() }))
    }

    /// The parameter of CKM_RSA_AES_KEY_WRAP.
    ///
    /// # Errors
    /// It has another length, or leads nowhere.
    pub(crate) fn rsa_aes(&self) -> Result<RsaAesIn, Error> {
        let bytes = self.parameter()?;
        if bytes.len() != size_of::<CK_RSA_AES_KEY_WRAP_PARAMS>() {
            return Err(invalid(
                "the mechanism has a CK_RSA_AES_KEY_WRAP_PARAMS as its parameter",
            ));
        }
        let given = bytes.as_ptr().cast::<CK_RSA_AES_KEY_WRAP_PARAMS>();
        // SAFETY: so many bytes are there, and any bytes are such a structure.
        let given = unsafe { given.read_unaligned() };
        if given.pOAEPParams.is_null() {
            return Err(invalid("pOAEPParams is NULL"));
        }
        // SAFETY: a program's pointer is NULL, or leads to what its type says (PKCS#11).
        let oaep = unsafe { given.pOAEPParams.read_unaligned() };
        Ok(RsaAesIn {
            aes_bits: given.ulAESKeyBits,
            oaep: OaepIn::from(oaep),
        })
    }
}

impl From<CK_RSA_PKCS_OAEP_PARAMS> for OaepIn {
    fn from(given: CK_RSA_PKCS_OAEP_PARAMS) -> Self {
        Self {
            hash: given.hashAlg,
            mgf: given.mgf,
            source: given.source,
            label_len: given.ulSourceDataLen,
        }
    }
}

/// What a `CK_RSA_AES_KEY_WRAP_PARAMS` says.
#[derive(Debug)]
pub(crate) struct RsaAesIn {
    pub(crate) aes_bits: CK_ULONG,
    pub(crate) oaep: OaepIn,
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CK_MECHANISM, CKH_HEDGE_REQUIRED, CKM_ML_DSA};

    use super::*;
    use crate::ffi::convert::mechanism;

    /// What is read of a parameter of so many bytes.
    fn read(
        parameter: *mut CK_SIGN_ADDITIONAL_CONTEXT,
        len: usize,
    ) -> Result<Option<(CK_HEDGE_TYPE, Vec<u8>)>, Error> {
        let mut given = CK_MECHANISM {
            mechanism: CKM_ML_DSA,
            pParameter: parameter.cast(),
            ulParameterLen: len as CK_ULONG,
        };
        // SAFETY: it is a mechanism, and its parameter is NULL or has so many bytes.
        let given = unsafe { mechanism(&raw mut given) }.expect("it is not NULL");
        let told = given.sign_context()?;
        Ok(told.map(|told| (told.hedge, told.context.to_vec())))
    }

    #[test]
    fn a_context_for_a_signature_is_a_whole_structure_or_none() {
        let mut context = *b"context";
        let mut parameter = CK_SIGN_ADDITIONAL_CONTEXT {
            hedgeVariant: CKH_HEDGE_REQUIRED,
            pContext: context.as_mut_ptr(),
            ulContextLen: context.len() as CK_ULONG,
        };
        let whole = size_of::<CK_SIGN_ADDITIONAL_CONTEXT>();
        assert_eq!(read(std::ptr::null_mut(), 0).unwrap(), None);
        assert_eq!(read(&raw mut parameter, 0).unwrap(), None);
        let expected = (CKH_HEDGE_REQUIRED, context.to_vec());
        assert_eq!(read(&raw mut parameter, whole).unwrap(), Some(expected));
        for len in [1, whole - 1] {
            let error = read(&raw mut parameter, len).unwrap_err();
            assert_eq!(error.code, CKR_MECHANISM_PARAM_INVALID, "{len}");
        }
        let error = read(std::ptr::null_mut(), whole).unwrap_err();
        assert_eq!(error.code, CKR_MECHANISM_PARAM_INVALID);
        parameter.pContext = std::ptr::null_mut();
        let error = read(&raw mut parameter, whole).unwrap_err();
        assert_eq!(error.code, CKR_MECHANISM_PARAM_INVALID);
        parameter.ulContextLen = 0;
        let expected = (CKH_HEDGE_REQUIRED, Vec::new());
        assert_eq!(read(&raw mut parameter, whole).unwrap(), Some(expected));
    }
}
