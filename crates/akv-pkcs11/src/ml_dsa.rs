//! ML-DSA as PKCS#11 3.2 has it: the numbers of parameter sets, and what a signature may be told.

use cryptoki_sys::{
    CK_HEDGE_TYPE, CK_ML_DSA_PARAMETER_SET_TYPE, CKA_PARAMETER_SET, CKH_DETERMINISTIC_REQUIRED,
    CKH_HEDGE_PREFERRED, CKH_HEDGE_REQUIRED, CKP_ML_DSA_44, CKP_ML_DSA_65, CKP_ML_DSA_87,
};
use hsm_keys::{Hasher, MlDsaPublicKey};
use managed_hsm::ParameterSet;

use crate::error::Error;
use crate::ffi::convert::MechanismIn;
use crate::mechanisms::parameter_invalid;
use crate::template::{self, Template};
use crate::token::tags::Half;

/// The number of a parameter set.
pub(crate) const fn number(of: ParameterSet) -> CK_ML_DSA_PARAMETER_SET_TYPE {
    match of {
        ParameterSet::MlDsa44 => CKP_ML_DSA_44,
        ParameterSet::MlDsa65 => CKP_ML_DSA_65,
        ParameterSet::MlDsa87 => CKP_ML_DSA_87,
    }
}

/// The parameter set that a public key's template names.
///
/// # Errors
/// It names none, or one that there isn't.
pub(crate) fn parameter_set(public: &Template<'_>) -> Result<ParameterSet, Error> {
    let given = public
        .number(CKA_PARAMETER_SET)?
        .ok_or_else(|| template::incomplete(CKA_PARAMETER_SET))?;
    let mut all = ParameterSet::ALL.into_iter();
    all.find(|set| number(*set) == given).ok_or_else(|| {
        let problem = "it is none of CKP_ML_DSA_44, CKP_ML_DSA_65 and CKP_ML_DSA_87";
        template::invalid(CKA_PARAMETER_SET, problem)
    })
}

/// What hashes a message, with the context of the parameter that a program passes. The private half
/// signs, the public one verifies.
///
/// # Errors
/// The parameter has another form, a context that is too long, or a wish that the HSM can't fulfil.
pub(crate) fn hasher(
    key: &MlDsaPublicKey,
    half: Half,
    given: &MechanismIn<'_>,
) -> Result<Hasher, Error> {
    let context = match given.sign_context()? {
        None => &[],
        Some(told) => {
            if half == Half::Private {
                check_hedge(told.hedge)?;
            }
            told.context
        }
    };
    key.hasher(context)
        .map_err(|error| parameter_invalid(&error.to_string()))
}

/// Refuses what the service can't be told. No public source says whether it makes signatures
/// hedged, by a random value of its own, as FIPS 204 has it by default; it is taken to do so.
fn check_hedge(hedge: CK_HEDGE_TYPE) -> Result<(), Error> {
    match hedge {
        CKH_HEDGE_PREFERRED | CKH_HEDGE_REQUIRED => Ok(()),
        CKH_DETERMINISTIC_REQUIRED => Err(parameter_invalid(
            "the HSM can't be told to make the same signature each time: use CKH_HEDGE_PREFERRED",
        )),
        _ => Err(parameter_invalid(
            "hedgeVariant is neither CKH_HEDGE_PREFERRED nor CKH_HEDGE_REQUIRED",
        )),
    }
}
