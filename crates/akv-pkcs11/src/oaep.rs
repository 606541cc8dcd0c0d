//! The parameter of OAEP, as far as the HSM can undo what it says.

use cryptoki_sys::CKZ_DATA_SPECIFIED;
use hsm_keys::RsaEncryption;

use crate::error::Error;
use crate::ffi::parameters::OaepIn;
use crate::mechanisms::{digest_of, mask_of, parameter_invalid};

/// OAEP with a parameter.
pub(crate) fn oaep(given: &OaepIn) -> Result<RsaEncryption, Error> {
    if given.label_len != 0 {
        return Err(parameter_invalid(
            "the HSM decrypts OAEP without a label only: leave it empty",
        ));
    }
    // Without a label programs have 0 there as well.
    if !matches!(given.source, 0 | CKZ_DATA_SPECIFIED) {
        return Err(parameter_invalid(
            "the source of the OAEP label is not known: set source to CKZ_DATA_SPECIFIED",
        ));
    }
    let (Some(hash), Some(mask)) = (digest_of(given.hash), mask_of(given.mgf)) else {
        return Err(parameter_invalid(
            "the hash functions of the OAEP parameter are not known",
        ));
    };
    RsaEncryption::oaep(hash, mask).map_err(|error| parameter_invalid(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKG_MGF1_SHA256, CKM_SHA256, CKR_MECHANISM_PARAM_INVALID};

    use super::*;

    #[test]
    fn the_source_of_an_oaep_label_is_a_known_one() {
        let told = |source| {
            let (hash, mgf) = (CKM_SHA256, CKG_MGF1_SHA256);
            let given = OaepIn {
                hash,
                mgf,
                source,
                label_len: 0,
            };
            oaep(&given).map_err(|error| error.code)
        };
        for known in [0, CKZ_DATA_SPECIFIED] {
            assert_eq!(told(known), Ok(RsaEncryption::OaepSha256));
        }
        assert_eq!(told(7), Err(CKR_MECHANISM_PARAM_INVALID));
    }
}
