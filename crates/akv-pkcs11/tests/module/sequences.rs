//! Sequences of calls as they come by chance, and where SoftHSM2 may answer them otherwise.

use cryptoki::error::RvError;
use cryptoki::object::AttributeType;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

/// The most calls in one.
pub(crate) const LONGEST: usize = 16;
/// Kinds of operations.
const FAMILIES: usize = 6;

/// What is asked of keys.
pub(crate) const ATTRIBUTES: [AttributeType; 25] = [
    AttributeType::Class,
    AttributeType::KeyType,
    AttributeType::Token,
    AttributeType::Private,
    AttributeType::Label,
    AttributeType::Sign,
    AttributeType::Verify,
    AttributeType::Sensitive,
    AttributeType::AlwaysSensitive,
    AttributeType::Extractable,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::KeyGenMechanism,
    AttributeType::Modulus,
    AttributeType::ModulusBits,
    AttributeType::PublicExponent,
    AttributeType::EcParams,
    AttributeType::EcPoint,
    AttributeType::PrivateExponent,
    AttributeType::Value,
    AttributeType::ValueLen,
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Wrap,
    AttributeType::Unwrap,
];

/// The number of the template by which keys are sought that verify.
pub(crate) const TO_VERIFY: usize = 8;

/// The number of the cipher that pads, and of its ciphertext.
pub(crate) const PADDED: usize = 3;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    SignInit(usize, usize),
    Sign(usize, usize, usize),
    SignUpdate(usize),
    SignFinal,
    VerifyInit(usize, usize),
    /// The last: which of the signatures, or one that is too short, or damaged.
    Verify(usize, usize, usize, usize),
    VerifyUpdate(usize),
    VerifyFinal(usize),
    DigestInit(usize),
    Digest(usize, usize),
    DigestUpdate(usize),
    DigestFinal,
    EncryptInit(usize, usize),
    Encrypt(usize, usize, usize),
    EncryptUpdate(usize),
    EncryptFinal,
    DecryptInit(usize, usize),
    /// The last: which of the ciphertexts, or one that is too short.
    Decrypt(usize, usize, usize),
    DecryptUpdate(usize),
    DecryptFinal,
    /// By which of the templates.
    FindInit(usize),
    /// How many.
    Find(usize),
    FindFinal,
    /// Of which key, which attribute.
    Read(usize, usize),
    /// The calls after it are of the other session.
    Switch,
    /// The session is closed with all that goes on in it, and another one opened.
    Reopen,
}

impl Step {
    /// What kind of operation it belongs to; None: to none.
    const fn family(self) -> Option<usize> {
        match self {
            Self::SignInit(..) | Self::Sign(..) | Self::SignUpdate(_) | Self::SignFinal => Some(0),
            Self::VerifyInit(..)
            | Self::Verify(..)
            | Self::VerifyUpdate(_)
            | Self::VerifyFinal(_) => Some(1),
            Self::DigestInit(_) | Self::Digest(..) | Self::DigestUpdate(_) | Self::DigestFinal => {
                Some(2)
            }
            Self::EncryptInit(..)
            | Self::Encrypt(..)
            | Self::EncryptUpdate(_)
            | Self::EncryptFinal => Some(3),
            Self::DecryptInit(..)
            | Self::Decrypt(..)
            | Self::DecryptUpdate(_)
            | Self::DecryptFinal => Some(4),
            Self::FindInit(_) | Self::Find(_) | Self::FindFinal => Some(5),
            Self::Read(..) | Self::Switch | Self::Reopen => None,
        }
    }
}

/// Calls of one family, and now and then one that any sequence may have.
fn step(family: usize) -> BoxedStrategy<Step> {
    use Step::*;
    let own = match family {
        0 => prop_oneof![
            (0..7usize, 0..4usize).prop_map(|(m, k)| SignInit(m, k)),
            (0..7usize, 0..4usize, 0..4usize).prop_map(|(m, k, d)| Sign(m, k, d)),
            (0..4usize).prop_map(SignUpdate),
            Just(SignFinal),
        ]
        .boxed(),
        1 => prop_oneof![
            (0..7usize, 0..4usize).prop_map(|(m, k)| VerifyInit(m, k)),
            (0..7usize, 0..4usize, 0..4usize, 0..6usize)
                .prop_map(|(m, k, d, s)| Verify(m, k, d, s)),
            (0..4usize).prop_map(VerifyUpdate),
            (0..6usize).prop_map(VerifyFinal),
        ]
        .boxed(),
        2 => prop_oneof![
            (0..4usize).prop_map(DigestInit),
            (0..4usize, 0..4usize).prop_map(|(m, d)| Digest(m, d)),
            (0..4usize).prop_map(DigestUpdate),
            Just(DigestFinal),
        ]
        .boxed(),
        3 => prop_oneof![
            (0..6usize, 0..5usize).prop_map(|(m, k)| EncryptInit(m, k)),
            (0..6usize, 0..5usize, 0..4usize).prop_map(|(m, k, d)| Encrypt(m, k, d)),
            (0..4usize).prop_map(EncryptUpdate),
            Just(EncryptFinal),
        ]
        .boxed(),
        4 => prop_oneof![
            (0..6usize, 0..5usize).prop_map(|(m, k)| DecryptInit(m, k)),
            (0..6usize, 0..5usize, 0..5usize).prop_map(|(m, k, c)| Decrypt(m, k, c)),
            (0..5usize).prop_map(DecryptUpdate),
            Just(DecryptFinal),
        ]
        .boxed(),
        _ => prop_oneof![
            1 => (0..10usize).prop_map(FindInit),
            2 => (0..4usize).prop_map(Find),
            1 => Just(FindFinal),
        ]
        .boxed(),
    };
    let read = (0..5usize, 0..ATTRIBUTES.len()).prop_map(|(k, which)| Read(k, which));
    prop_oneof![12 => own, 1 => read, 1 => Just(Switch), 1 => Just(Reopen)].boxed()
}

/// Most have one kind of operation, and one in four has all.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Step>> {
    let of_one = Union::new((0..FAMILIES).map(|family| vec(step(family), 1..=LONGEST)));
    let of_all = vec(Union::new((0..FAMILIES).map(step)), 1..=LONGEST);
    prop_oneof![3 => of_one, 1 => of_all]
}

/// Why the answers differ, where they may. What comes after such a call differs as well, unless it
/// only reads. What came before it in the sequence has been answered alike.
pub(crate) fn reason(
    before: &[Step],
    step: Step,
    ours: &Result<usize, RvError>,
    theirs: &Result<usize, RvError>,
) -> Option<&'static str> {
    use RvError as Rv;
    let is_other = |one: &Step| {
        one.family()
            .is_some_and(|family| step.family() != Some(family))
    };
    match (step, ours, theirs) {
        (_, _, Err(Rv::OperationActive)) if before.iter().any(is_other) => {
            Some("SoftHSM has one operation at a time in a session, and not one of each kind")
        }
        (Step::Find(_), Ok(_), Ok(_)) if before.contains(&Step::FindInit(TO_VERIFY)) => {
            Some("SoftHSM's AES keys verify unless their template denies it")
        }
        (Step::Read(..), Ok(_), Err(Rv::AttributeTypeInvalid)) => {
            Some("the private object tells what is public as well")
        }
        (
            Step::SignUpdate(_) | Step::VerifyUpdate(_),
            Ok(_) | Err(Rv::DataLenRange),
            Err(Rv::OperationNotInitialized),
        ) => Some("parts of what is hashed already are taken, as OpenSC's programs send them"),
        (
            Step::SignFinal | Step::VerifyFinal(_),
            Ok(_) | Err(_),
            Err(Rv::OperationNotInitialized),
        ) if !matches!(ours, Err(Rv::OperationNotInitialized)) => {
            Some("and so there is something to finish, be it empty")
        }
        (
            _,
            Err(Rv::MechanismInvalid | Rv::KeyFunctionNotPermitted),
            Err(Rv::MechanismInvalid | Rv::KeyTypeInconsistent | Rv::KeyFunctionNotPermitted),
        ) => Some("of several mistakes another one is told first"),
        (_, Err(Rv::DataLenRange), Err(_)) | (Step::Sign(..), Err(Rv::DataLenRange), Ok(_)) => {
            Some("a length that can't be signed is told as such")
        }
        (Step::EncryptUpdate(_) | Step::DecryptUpdate(_), Ok(0), Ok(_)) => {
            Some("the HSM takes a message whole: all comes out at the end")
        }
        (
            Step::EncryptUpdate(_)
            | Step::DecryptUpdate(_)
            | Step::EncryptFinal
            | Step::DecryptFinal,
            _,
            Err(Rv::FunctionNotSupported),
        ) => Some("parts are taken of RSA's messages as well"),
        (Step::Decrypt(m, ..), Ok(_), Err(Rv::GeneralError)) if m % 6 == 0 => {
            Some("nobody learns whether a padding of PKCS#1 v1.5 is good")
        }
        (Step::Decrypt(m, _, of), Ok(_), Ok(_)) if m % 6 == 0 && of % 5 != 0 => {
            Some("each side has its own RSA key: what has another padding may have this one, too")
        }
        (_, Ok(_), Err(Rv::GeneralError | Rv::EncryptedDataInvalid) | Ok(_))
        | (_, Err(Rv::EncryptedDataInvalid), Ok(_))
            if unpads_by_chance(before, step) =>
        {
            Some(
                "each side has its own AES key: what that has not encrypted has a padding by chance",
            )
        }
        (
            Step::Decrypt(..) | Step::DecryptFinal,
            Err(Rv::EncryptedDataInvalid | Rv::EncryptedDataLenRange),
            Err(Rv::GeneralError | Rv::EncryptedDataLenRange | Rv::EncryptedDataInvalid),
        ) => Some("what can't be decrypted is told as such"),
        _ => None,
    }
}

/// Whether a step takes the padding off what was not encrypted with padding by AES.
fn unpads_by_chance(before: &[Step], step: Step) -> bool {
    match step {
        Step::Decrypt(PADDED, _, of) => of != PADDED,
        Step::DecryptFinal => before
            .iter()
            .any(|step| matches!(step, Step::DecryptInit(PADDED, _))),
        _ => false,
    }
}
