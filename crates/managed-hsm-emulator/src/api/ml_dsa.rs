//! Signatures of ML-DSA, whose requests have members of their own: the whole message with a context
//! string, or the message representative μ of FIPS 204 alone.

use super::Call;
use super::body::OperationRequest;
use super::failure::Failure;
use super::operations::{binary, optional};
use super::unconfirmed;
use crate::keys::Secret;
use crate::ml_dsa::{MAX_CONTEXT, MU_BYTES, MlDsaKey, Signed};
use crate::store::KeyVersion;

/// The key of ML-DSA, if it is one and the version of the API knows of such keys. Unconfirmed: what
/// other versions say, which is here what they say to any key that doesn't fit.
pub(super) fn key<'a>(
    call: &Call<'_>,
    version: &'a KeyVersion,
    request: &OperationRequest,
) -> Result<Option<&'a MlDsaKey>, Failure> {
    if !call.version.has_ml_dsa() {
        return Ok(None);
    }
    if let Secret::Akp(key) = version.material.secret() {
        return Ok(Some(key));
    }
    let own = [
        ("external_mu", &request.external_mu),
        ("context", &request.context),
    ];
    match own.into_iter().find(|(_, value)| value.is_some()) {
        Some((member, _)) => Err(unconfirmed::only_for_akp(member)),
        None => Ok(None),
    }
}

pub(super) fn sign(key: &MlDsaKey, request: &OperationRequest) -> Result<Vec<u8>, Failure> {
    let input = Input::read(key, request, ("value", request.value()))?;
    let signature = key.sign(&input.signed());
    signature.map_err(|_| unconfirmed::internal("the signature could not be made"))
}

pub(super) fn verify(key: &MlDsaKey, request: &OperationRequest) -> Result<bool, Failure> {
    let input = Input::read(key, request, ("digest", request.digest.as_deref()))?;
    let signature = binary("value", request.value())?;
    Ok(key.verify(&input.signed(), &signature))
}

/// What a request says is signed.
enum Input {
    Message { message: Vec<u8>, context: Vec<u8> },
    ExternalMu([u8; MU_BYTES]),
}

impl Input {
    /// `message`: the member that has it, with its value.
    fn read(
        key: &MlDsaKey,
        request: &OperationRequest,
        message: (&str, Option<&str>),
    ) -> Result<Self, Failure> {
        let (member, value) = message;
        let context = optional("context", request.context.as_deref())?;
        let Some(mu) = optional("external_mu", request.external_mu.as_deref())? else {
            check_algorithm(key, request.alg.as_deref())?;
            let context = context.unwrap_or_default();
            if context.len() > MAX_CONTEXT {
                return Err(unconfirmed::context_length(context.len()));
            }
            let message = binary(member, value)?;
            return Ok(Self::Message { message, context });
        };
        let others = [
            ("alg", request.alg.is_some()),
            (member, value.is_some()),
            ("context", context.is_some()),
        ];
        if let Some((excluded, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
            return Err(unconfirmed::excluded(excluded, "external_mu"));
        }
        let mu = mu.try_into();
        mu.map(Self::ExternalMu)
            .map_err(|mu: Vec<u8>| unconfirmed::external_mu_length(mu.len()))
    }

    fn signed(&self) -> Signed<'_> {
        match self {
            Self::Message { message, context } => Signed::Message { message, context },
            Self::ExternalMu(mu) => Signed::ExternalMu(mu),
        }
    }
}

/// Unconfirmed: whether a request may name the algorithm. Here it may if it is the key's.
fn check_algorithm(key: &MlDsaKey, named: Option<&str>) -> Result<(), Failure> {
    match named.filter(|named| *named != key.set().name()) {
        None => Ok(()),
        Some(other) => Err(unconfirmed::incompatible(other, key.set().name())),
    }
}
