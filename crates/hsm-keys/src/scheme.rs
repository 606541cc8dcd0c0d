//! How something is signed, and which of the HSM's algorithms does it.

use managed_hsm::{ParameterSet, SignatureAlgorithm};

use crate::der;
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::ml_dsa::{self, MU_LEN};
use crate::public_key::PublicKey;

/// A way to sign digests, and to verify what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA (FIPS 186-5).
    Ecdsa {
        /// The hash function; None: a digest of whatever length.
        digest: Option<&'static Digest>,
    },
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    Pkcs1 {
        /// The hash function; None: bytes that are only padded, which ought to be a `DigestInfo`.
        digest: Option<&'static Digest>,
    },
    /// RSASSA-PSS (RFC 8017, section 8.1).
    Pss {
        /// The hash function.
        digest: &'static Digest,
        /// That of the mask.
        mgf1: &'static Digest,
        /// The length of the salt.
        salt_len: SaltLen,
    },
    /// The bare RSA operation, without padding: with public keys only.
    Bare,
    /// ML-DSA (FIPS 204). In the place of a digest it takes μ, which depends on the public key.
    MlDsa(ParameterSet),
}

/// The length of a PSS salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaltLen {
    /// The digest's length when signing; whatever is found when verifying.
    Any,
    /// As long as the digest.
    Digest,
    /// The longest that fits.
    Longest,
    /// So many bytes.
    Bytes(usize),
}

impl Scheme {
    /// What an algorithm of the HSM does, with the hash function that belongs to it.
    pub fn of(algorithm: SignatureAlgorithm) -> Self {
        use SignatureAlgorithm::{
            Es256, Es256K, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512, RsNull,
        };
        let digest = algorithm.digest_len().and_then(Digest::sha2);
        match (algorithm, digest) {
            (SignatureAlgorithm::MlDsa(set), _) => Self::MlDsa(set),
            (Ps256 | Ps384 | Ps512, Some(digest)) => Self::Pss {
                digest,
                mgf1: digest,
                salt_len: SaltLen::Digest,
            },
            (Es256 | Es256K | Es384 | Es512, _) => Self::Ecdsa { digest },
            (Rs256 | Rs384 | Rs512 | RsNull | Ps256 | Ps384 | Ps512, _) => Self::Pkcs1 { digest },
        }
    }

    /// The hash function, if one is named.
    pub fn digest(&self) -> Option<&'static Digest> {
        match self {
            Self::Ecdsa { digest } | Self::Pkcs1 { digest } => *digest,
            Self::Pss { digest, .. } => Some(digest),
            Self::Bare | Self::MlDsa(_) => None,
        }
    }

    /// What hashes a message for a signature by the key. None: the scheme names no hash function.
    ///
    /// # Errors
    /// The key is of another type.
    pub fn hasher(&self, public: &PublicKey) -> Result<Option<Hasher>, Error> {
        match (self, public) {
            (Self::MlDsa(set), PublicKey::MlDsa(key)) if key.set == *set => {
                key.hasher(&[]).map(Some)
            }
            (Self::MlDsa(_), _) => Err(self.wrong_key(public)),
            _ => Ok(self.digest().map(Digest::hasher)),
        }
    }

    /// Does a check of a signature where there is room for it: that of ML-DSA takes more of a stack
    /// than a fibre has. `has_room` tells of the present one.
    ///
    /// # Errors
    /// There is no room, and a thread that has can't be started.
    pub fn with_room<T: Send>(
        &self,
        has_room: impl FnOnce() -> bool,
        check: impl FnOnce() -> T + Send,
    ) -> Result<T, Error> {
        match self {
            Self::MlDsa(_) => Ok(managed_hsm::with_room(has_room(), check)?),
            _ => Ok(check()),
        }
    }

    /// The HSM's algorithm. PKCS#1 v1.5 without the name of a digest has the one that only pads.
    ///
    /// # Errors
    /// The HSM has no algorithm for the scheme, or the key is of another type.
    pub fn algorithm(&self, public: &PublicKey) -> Result<SignatureAlgorithm, Error> {
        match (self, public) {
            (Self::Ecdsa { .. }, PublicKey::Ec(ec)) => Ok(ec.curve.algorithm),
            (Self::MlDsa(set), PublicKey::MlDsa(key)) if key.set == *set => {
                Ok(SignatureAlgorithm::MlDsa(*set))
            }
            (_, PublicKey::Rsa(_)) => self.rsa_algorithm().ok_or_else(|| self.wrong_key(public))?,
            _ => Err(self.wrong_key(public)),
        }
    }

    /// None: it is not RSA.
    fn rsa_algorithm(&self) -> Option<Result<SignatureAlgorithm, Error>> {
        let of_digest = |digest: &Digest| digest.rsa.ok_or_else(|| Error::RsaDigest(digest.name()));
        Some(match self {
            Self::Ecdsa { .. } | Self::MlDsa(_) => return None,
            Self::Bare => Err(Error::BareSignature),
            Self::Pkcs1 { digest: None } => Ok(SignatureAlgorithm::RsNull),
            Self::Pkcs1 {
                digest: Some(digest),
            } => of_digest(digest).map(|(pkcs1, _)| pkcs1),
            Self::Pss {
                digest,
                mgf1,
                salt_len,
            } => of_digest(digest).and_then(|(_, pss)| {
                check_salt(digest, *salt_len)?;
                match mgf1 == digest {
                    true => Ok(pss),
                    false => Err(Error::Mgf1Digest {
                        digest: digest.name(),
                        mgf1: mgf1.name(),
                    }),
                }
            }),
        })
    }

    /// Refuses a value that is no digest of the hash function that is named, or no μ.
    pub(crate) fn check_value(&self, value: &[u8]) -> Result<(), Error> {
        match self.digest() {
            None if matches!(self, Self::MlDsa(_)) && value.len() != MU_LEN => {
                Err(Error::MuLength(value.len()))
            }
            Some(digest) if digest.len != value.len() => Err(Error::DigestLength {
                digest: digest.name(),
                expected: digest.len,
                got: value.len(),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn wrong_key(&self, public: &PublicKey) -> Error {
        let name = match self {
            Self::Ecdsa { .. } => "ECDSA",
            Self::Pkcs1 { .. } => "RSA with PKCS#1 v1.5",
            Self::Pss { .. } => "RSA-PSS",
            Self::Bare => "RSA",
            Self::MlDsa(set) => set.name(),
        };
        Error::WrongKeyType {
            kind: public.kind(),
            operation: format!("sign or verify by {name}"),
        }
    }

    /// The `AlgorithmIdentifier` of such signatures, as X.509 and CMS write it; of PSS, with a salt
    /// as long as the digest. None: no digest is named, or there is no identifier.
    pub fn algorithm_identifier(&self) -> Option<Vec<u8>> {
        match self {
            // RFC 5758, section 3.2: no parameters, not even NULL.
            Self::Ecdsa { digest } => Some(der::sequence(&[&der::object_identifier(
                (*digest)?.ecdsa_oid?,
            )])),
            // RFC 8017, appendix A.2.4: the parameters are NULL.
            Self::Pkcs1 { digest } => Some(der::sequence(&[
                &der::object_identifier((*digest)?.rsa_oid),
                der::NULL,
            ])),
            Self::Pss { digest, mgf1, .. } => Some(pss_identifier(digest, mgf1, digest.len)),
            Self::Bare => None,
            Self::MlDsa(set) => Some(ml_dsa::algorithm_identifier(*set)),
        }
    }
}

fn check_salt(digest: &Digest, salt_len: SaltLen) -> Result<(), Error> {
    let asked_for = match salt_len {
        SaltLen::Any | SaltLen::Digest => return Ok(()),
        SaltLen::Bytes(len) if len == digest.len => return Ok(()),
        SaltLen::Bytes(len) => Some(len),
        SaltLen::Longest => None,
    };
    Err(Error::SaltLength {
        salt_len: asked_for,
        digest: digest.name(),
        digest_len: digest.len,
    })
}

/// `RSASSA-PSS-params` (RFC 8017, appendix A.2.3). Values equal to the DEFAULT (SHA-1, MGF1 with
/// SHA-1, 20 bytes of salt) are left out, as DER demands.
fn pss_identifier(digest: &Digest, mgf1: &Digest, salt_len: usize) -> Vec<u8> {
    const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
    const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
    let hash = |digest: &Digest| der::sequence(&[&der::object_identifier(digest.oid), der::NULL]);
    let mut parameters = Vec::new();
    if digest.name() != "SHA1" {
        parameters.push(der::explicit(0, &hash(digest)));
    }
    if mgf1.name() != "SHA1" {
        let mgf = der::sequence(&[&der::object_identifier(MGF1), &hash(mgf1)]);
        parameters.push(der::explicit(1, &mgf));
    }
    if salt_len != 20 {
        let salt_len = der::unsigned_integer(&salt_len.to_be_bytes());
        parameters.push(der::explicit(2, &salt_len));
    }
    let parameters: Vec<&[u8]> = parameters.iter().map(Vec::as_slice).collect();
    let parameters = der::sequence(&parameters);
    der::sequence(&[&der::object_identifier(RSASSA_PSS), &parameters])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_is_what_its_scheme_asks_for() {
        use managed_hsm::Curve;

        use crate::curve::EcCurve;

        let of_curve = |curve| PublicKey::ec(curve, curve.generator).unwrap();
        let mut keys: Vec<PublicKey> = Curve::ALL.map(EcCurve::of).map(of_curve).into();
        keys.push(crate::testdata::key(2048, 65537));
        keys.extend(
            ParameterSet::ALL
                .map(|set| PublicKey::ml_dsa(set, &vec![7; set.public_key_len()]).unwrap()),
        );
        for algorithm in SignatureAlgorithm::ALL {
            let scheme = Scheme::of(algorithm);
            let hashed = scheme.digest().map(|digest| digest.len);
            let expected = match scheme {
                Scheme::MlDsa(_) => None,
                _ => algorithm.digest_len(),
            };
            assert_eq!(hashed, expected);
            let found = keys.iter().filter(|key| {
                let asked = scheme.algorithm(key);
                asked.is_ok_and(|asked| asked == algorithm)
            });
            assert_eq!(found.count(), 1, "{algorithm}");
        }
    }

    #[test]
    fn algorithm_identifiers_have_the_known_bytes() {
        let hex = |scheme: Scheme| {
            let identifier = scheme.algorithm_identifier().unwrap();
            let digits: Vec<String> = identifier.iter().map(|b| format!("{b:02x}")).collect();
            digits.concat()
        };
        let of = |algorithm| hex(Scheme::of(algorithm));
        assert_eq!(
            of(SignatureAlgorithm::Rs256),
            "300d06092a864886f70d01010b0500"
        );
        assert_eq!(of(SignatureAlgorithm::Es384), "300a06082a8648ce3d040303");
        let ml_dsa = SignatureAlgorithm::MlDsa(ParameterSet::MlDsa65);
        assert_eq!(of(ml_dsa), "300b0609608648016503040312");
        let expected = "304106092a864886f70d01010a3034a00f300d06096086480165030402010500\
             a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120";
        assert_eq!(of(SignatureAlgorithm::Ps256), expected);
        // All are the DEFAULT.
        let sha1 = Digest::by_name("SHA1").unwrap();
        let pss = Scheme::Pss {
            digest: sha1,
            mgf1: sha1,
            salt_len: SaltLen::Any,
        };
        assert_eq!(hex(pss), "300d06092a864886f70d01010a3000");
        for none in [
            Scheme::Bare,
            Scheme::Pkcs1 { digest: None },
            Scheme::Ecdsa { digest: None },
            Scheme::Ecdsa {
                digest: Digest::by_name("SHA512-256"),
            },
        ] {
            assert_eq!(none.algorithm_identifier(), None);
        }
    }
}
