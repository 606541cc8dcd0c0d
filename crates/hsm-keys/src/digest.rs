//! The hash functions that a signature may use, with their names and their object identifiers.

use managed_hsm::SignatureAlgorithm;

use crate::error::Error;

/// A hash computation in progress.
pub type Hasher = Box<dyn Hash>;

/// A hash function.
#[derive(Debug)]
pub struct Digest {
    /// The names that programs use, the usual short one first; the object identifier is the last.
    names: &'static [&'static str],
    /// Length of the digest in bytes.
    pub len: usize,
    /// Content octets of the hash function's OID.
    pub oid: &'static [u8],
    /// Content octets of the OID of PKCS#1 v1.5 signatures with this hash.
    pub rsa_oid: &'static [u8],
    /// Content octets of the OID of ECDSA signatures with this hash; none is assigned to
    /// SHA-512/224 and SHA-512/256.
    pub ecdsa_oid: Option<&'static [u8]>,
    /// The HSM's algorithms for PKCS#1 v1.5 and for PSS with this hash, if it has them.
    pub(crate) rsa: Option<(SignatureAlgorithm, SignatureAlgorithm)>,
    new: fn() -> Hasher,
}

// Arcs: 1.3.14.3.2 OIW; 2.16.840.1.101.3.4 NIST; 1.2.840.113549.1.1 PKCS#1; 1.2.840.10045.4 X9.62
// signatures.
macro_rules! nist_hash {
    ($n:literal) => {
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, $n]
    };
}
macro_rules! nist_signature {
    ($n:literal) => {
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, $n]
    };
}
macro_rules! pkcs1 {
    ($n:literal) => {
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, $n]
    };
}
macro_rules! x962 {
    ($($n:literal),*) => {
        Some(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, $($n),*])
    };
}

macro_rules! digests {
    ($([$($alias:literal),*] $hash:ty, $len:literal, $oid:expr, $rsa_oid:expr, $ecdsa_oid:expr,
        $rsa:expr;)*) => {
        /// All hash functions; see FIPS 180-4 and FIPS 202.
        pub static DIGESTS: &[Digest] = &[$(Digest {
            names: &[$($alias),*],
            len: $len,
            oid: $oid,
            rsa_oid: $rsa_oid,
            ecdsa_oid: $ecdsa_oid,
            rsa: $rsa,
            new: || Box::new(<$hash>::default()),
        },)*];
    };
}

use SignatureAlgorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

digests! {
    ["SHA1", "SHA-1", "SSL3-SHA1", "1.3.14.3.2.26"]
        sha1::Sha1, 20, &[0x2b, 0x0e, 0x03, 0x02, 0x1a], pkcs1!(5), x962!(1), None;
    ["SHA224", "SHA2-224", "SHA-224", "2.16.840.1.101.3.4.2.4"]
        sha2::Sha224, 28, nist_hash!(4), pkcs1!(14), x962!(3, 1), None;
    ["SHA256", "SHA2-256", "SHA-256", "2.16.840.1.101.3.4.2.1"]
        sha2::Sha256, 32, nist_hash!(1), pkcs1!(11), x962!(3, 2), Some((Rs256, Ps256));
    ["SHA384", "SHA2-384", "SHA-384", "2.16.840.1.101.3.4.2.2"]
        sha2::Sha384, 48, nist_hash!(2), pkcs1!(12), x962!(3, 3), Some((Rs384, Ps384));
    ["SHA512", "SHA2-512", "SHA-512", "2.16.840.1.101.3.4.2.3"]
        sha2::Sha512, 64, nist_hash!(3), pkcs1!(13), x962!(3, 4), Some((Rs512, Ps512));
    ["SHA512-224", "SHA2-512/224", "SHA-512/224", "2.16.840.1.101.3.4.2.5"]
        sha2::Sha512_224, 28, nist_hash!(5), pkcs1!(15), None, None;
    ["SHA512-256", "SHA2-512/256", "SHA-512/256", "2.16.840.1.101.3.4.2.6"]
        sha2::Sha512_256, 32, nist_hash!(6), pkcs1!(16), None, None;
    ["SHA3-224", "2.16.840.1.101.3.4.2.7"]
        sha3::Sha3_224, 28, nist_hash!(7), nist_signature!(13), Some(nist_signature!(9)), None;
    ["SHA3-256", "2.16.840.1.101.3.4.2.8"]
        sha3::Sha3_256, 32, nist_hash!(8), nist_signature!(14), Some(nist_signature!(10)), None;
    ["SHA3-384", "2.16.840.1.101.3.4.2.9"]
        sha3::Sha3_384, 48, nist_hash!(9), nist_signature!(15), Some(nist_signature!(11)), None;
    ["SHA3-512", "2.16.840.1.101.3.4.2.10"]
        sha3::Sha3_512, 64, nist_hash!(10), nist_signature!(16), Some(nist_signature!(12)), None;
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

impl Eq for Digest {}

impl Digest {
    /// The hash function with a name, in any case.
    ///
    /// # Errors
    /// The name is unknown; the error tells which there are, of those that `fit`.
    pub fn named(name: &str, fit: impl Fn(&Self) -> bool) -> Result<&'static Self, Error> {
        Self::by_name(name).ok_or_else(|| {
            let fitting = DIGESTS.iter().filter(|digest| fit(digest));
            let fitting: Vec<&str> = fitting.map(Self::name).collect();
            Error::UnknownDigest {
                name: name.to_owned(),
                fitting: fitting.join(", "),
            }
        })
    }

    /// The hash function with a name, in any case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        DIGESTS.iter().find(|digest| {
            digest
                .names
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// SHA-256, SHA-384 or SHA-512, by the length of its digests.
    pub(crate) fn sha2(len: usize) -> Option<&'static Self> {
        let mut for_rsa = DIGESTS.iter().filter(|digest| digest.is_for_rsa());
        for_rsa.find(|digest| digest.len == len)
    }

    /// The usual short name.
    pub const fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Whether the HSM makes RSA signatures with it.
    pub fn is_for_rsa(&self) -> bool {
        self.rsa.is_some()
    }

    /// Starts a computation.
    pub fn hasher(&self) -> Hasher {
        (self.new)()
    }

    /// The digest of `data`.
    pub fn of(&self, data: &[u8]) -> Box<[u8]> {
        let mut hasher = self.hasher();
        hasher.update(data);
        hasher.finalize()
    }
}

/// What a computation in progress can do; `digest::DynDigest` lacks a copy that may be sent between
/// threads.
pub trait Hash: Send + Sync {
    /// Takes in more data.
    fn update(&mut self, data: &[u8]);
    /// The digest of all data taken in.
    fn finalize(self: Box<Self>) -> Box<[u8]>;
    /// A copy of the computation as it stands.
    fn fork(&self) -> Hasher;
}

impl<D: digest::Digest + Clone + Send + Sync + 'static> Hash for D {
    fn update(&mut self, data: &[u8]) {
        digest::Digest::update(self, data);
    }

    fn finalize(self: Box<Self>) -> Box<[u8]> {
        digest::Digest::finalize(*self).to_vec().into_boxed_slice()
    }

    fn fork(&self) -> Hasher {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_digest_in_any_case_and_lengths_are_true() {
        for digest in DIGESTS {
            assert_eq!(digest.of(b"").len(), digest.len, "{}", digest.name());
            for name in digest.names {
                let found = Digest::by_name(&name.to_ascii_lowercase()).unwrap();
                assert_eq!(found.name(), digest.name());
            }
        }
        assert!(Digest::by_name("MD5").is_none());
        let error = Digest::named("MD5", Digest::is_for_rsa).unwrap_err();
        let expected = "use one of SHA256, SHA384, SHA512";
        assert!(error.to_string().ends_with(expected), "{error}");
    }

    #[test]
    fn a_fork_goes_its_own_way() {
        let digest = Digest::by_name("SHA256").unwrap();
        let mut hasher = digest.hasher();
        hasher.update(b"a");
        let mut fork = hasher.fork();
        fork.update(b"b");
        assert_eq!(fork.finalize(), digest.of(b"ab"));
        assert_eq!(hasher.finalize(), digest.of(b"a"));
    }
}
