//! Key files: a PEM or DER file that names a key, for programs that take a key only from a file.
//! Nothing in it is secret.
//!
//! ```text
//! -----BEGIN AKV PROVIDER URI-----      the base64 of   SEQUENCE {
//! …                                                       VisibleString "AKV Provider URI v1.1",
//! -----END AKV PROVIDER URI-----                          UTF8String uri,
//!                                                         SubjectPublicKeyInfo publicKey }
//! ```
//!
//! The URI names a version of the key, which the public key is that of: whoever reads the file asks
//! the HSM for nothing. There is one encoding only, with the URI in its usual form. Version v1.0 of
//! the form has no public key, and its URI need not name a version: the HSM is asked for both.
//!
//! Whoever reads files may come upon any file, so what isn't one of ours is passed over without an
//! error.

use managed_hsm::{Client, Feature, KeyName, KeyUri, KeyVersion, Vault};

use crate::der::{self, SEQUENCE, UTF8_STRING, VISIBLE_STRING, element};
use crate::error::Error;
use crate::key::Key;
use crate::pem;
use crate::public_key::PublicKey;

/// The label of PEM (RFC 7468).
const LABEL: &str = "AKV PROVIDER URI";
/// What the text before the URI starts with.
const NAME: &str = "AKV Provider URI ";
/// The version of the form with a URI alone.
const URI_ALONE: &str = "v1.0";
/// The version of the form with a public key.
const WITH_PUBLIC_KEY: &str = "v1.1";

/// The longest key file that is read, in bytes. One of ML-DSA-87 has 3 KiB, in base64 four.
pub const MAX_LEN: usize = 8192;

/// What a key file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// The name of a key. The HSM tells the rest.
    Uri(KeyUri),
    /// A version of a key, with its public part as whoever wrote the file has told it.
    Version {
        /// Where it is kept.
        vault: Vault,
        /// The key.
        key: KeyName,
        /// The version.
        version: KeyVersion,
        /// The public part of this version; never that of an AES key, which has none.
        public: PublicKey,
    },
}

impl KeyFile {
    /// The file for a key: with its public part, if it has one. None: it is not in the HSM.
    pub fn of(key: &Key) -> Option<Self> {
        let id = key.id()?.clone();
        Some(match &key.public {
            PublicKey::Aes => Self::Uri(id.into()),
            public => Self::Version {
                vault: id.vault,
                key: id.key,
                version: id.version,
                public: public.clone(),
            },
        })
    }

    /// The key's URI.
    pub fn uri(&self) -> KeyUri {
        match self {
            Self::Uri(uri) => uri.clone(),
            Self::Version {
                vault,
                key,
                version,
                ..
            } => KeyUri {
                vault: vault.clone(),
                key: key.clone(),
                version: Some(version.clone()),
            },
        }
    }

    /// The file in DER.
    pub fn der(&self) -> Vec<u8> {
        let uri = self.uri().to_string();
        match self {
            Self::Uri(_) => encode(URI_ALONE, &uri, &[]),
            Self::Version { public, .. } => {
                encode(WITH_PUBLIC_KEY, &uri, &public.spki().unwrap_or_default())
            }
        }
    }

    /// The file in PEM.
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.der())
    }

    /// The key that the file names. The HSM is asked only where the file holds no public part.
    ///
    /// # Errors
    /// The request failed, or the version of the API that requests name has no such keys.
    pub fn load(&self, client: &Client) -> Result<Key, Error> {
        let (vault, key, version, public) = match self {
            Self::Uri(uri) => return Ok(client.get_key(uri)?.into()),
            Self::Version {
                vault,
                key,
                version,
                public,
            } => (vault, key, version, public),
        };
        if matches!(public, PublicKey::MlDsa(_)) {
            client.require(Feature::MlDsa, "load key", &self.uri().to_string())?;
        }
        Ok(Key::told(
            client.key_id(vault, key, version)?,
            public.clone(),
        ))
    }
}

/// Reads one block of PEM from `next_line`, which gives None at the end of the file. Returns the
/// content of a key file, and None for another block, which is then read past.
///
/// # Errors
/// The block is ours, but it has no end or isn't base64.
pub fn read_pem(next_line: impl FnMut() -> Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
    pem::read(LABEL, MAX_LEN, next_line).map_err(|problem| Error::KeyFile(problem.to_owned()))
}

/// Reads the content of a key file. None: it is something else.
///
/// # Errors
/// The content is of our form, but its version, its URI or its public key can't be used.
pub fn read_der(content: &[u8]) -> Result<Option<KeyFile>, Error> {
    let Some(Parts { version, uri, rest }) = parse(content) else {
        return Ok(None);
    };
    let unusable = |problem: String| Err(Error::KeyFile(problem));
    match (version, rest) {
        (URI_ALONE, []) => Ok(Some(KeyFile::Uri(uri.parse()?))),
        (URI_ALONE, _) => unusable("something follows its URI, which is all that v1.0 has".into()),
        (WITH_PUBLIC_KEY, spki) => {
            let parsed: KeyUri = uri.parse()?;
            let canonical = parsed.to_string();
            if canonical != uri {
                return unusable(format!("its URI is not in the form '{canonical}'"));
            }
            let KeyUri {
                vault,
                key,
                version: Some(version),
            } = parsed
            else {
                return unusable(
                    "its URI names no version for its public key to be that of".into(),
                );
            };
            match PublicKey::from_spki(spki) {
                Ok(Some(public)) if public.spki().as_deref() == Some(spki) => {
                    Ok(Some(KeyFile::Version {
                        vault,
                        key,
                        version,
                        public,
                    }))
                }
                // Of a key file, too, there is one form only.
                Ok(Some(_)) => unusable("the point of its public key is compressed".into()),
                Ok(None) => unusable(
                    "its public key is no SubjectPublicKeyInfo of a type that the HSM has".into(),
                ),
                Err(problem) => unusable(format!("its public key is none: {problem}")),
            }
        }
        (other, _) => unusable(format!(
            "its version '{}' is unknown, v1.0 and v1.1 are read here",
            other.escape_debug()
        )),
    }
}

fn encode(version: &str, uri: &str, spki: &[u8]) -> Vec<u8> {
    let version = element(VISIBLE_STRING, format!("{NAME}{version}").as_bytes());
    let uri = element(UTF8_STRING, uri.as_bytes());
    der::sequence(&[&version, &uri, spki])
}

/// The parts of a key file's content.
struct Parts<'a> {
    version: &'a str,
    uri: &'a str,
    /// What follows the URI.
    rest: &'a [u8],
}

/// None: the content has another form.
fn parse(content: &[u8]) -> Option<Parts<'_>> {
    let (body, after) = der::read(SEQUENCE, content)?;
    let (name, body) = der::read(VISIBLE_STRING, body)?;
    let (uri, rest) = der::read(UTF8_STRING, body)?;
    let name = std::str::from_utf8(name).ok()?;
    let (version, uri) = (name.strip_prefix(NAME)?, std::str::from_utf8(uri).ok()?);
    after.is_empty().then_some(Parts { version, uri, rest })
}

#[cfg(test)]
mod tests {
    use managed_hsm::{Curve, ParameterSet};

    use super::*;
    use crate::curve::EcCurve;
    use crate::testdata;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    fn with(public: PublicKey) -> KeyFile {
        KeyFile::Version {
            vault: "MyHSM".parse().unwrap(),
            key: "k".parse().unwrap(),
            version: VERSION.parse().unwrap(),
            public,
        }
    }

    fn generator(curve: Curve) -> PublicKey {
        let curve = EcCurve::of(curve);
        PublicKey::ec(curve, curve.generator).unwrap()
    }

    /// A file of each type of key.
    fn files() -> Vec<KeyFile> {
        let rsa = [(2048, 3), (2048, 65537), (2050, 65537)];
        let rsa = rsa.map(|(bits, exponent)| testdata::key(bits, exponent));
        let longest = PublicKey::rsa(vec![0xff; 512], vec![3]).unwrap();
        let ec = Curve::ALL.map(generator);
        let ml_dsa = ParameterSet::ALL
            .map(|set| PublicKey::ml_dsa(set, &vec![0x5a; set.public_key_len()]).unwrap());
        let keys = rsa.into_iter().chain([longest]).chain(ec).chain(ml_dsa);
        keys.map(with).collect()
    }

    #[test]
    fn a_key_file_has_the_known_bytes() {
        let file = KeyFile::Uri("managedhsm:MyHSM:k".parse().unwrap());
        let expected = b"\x30\x2b\x1a\x15AKV Provider URI v1.0\x0c\x12managedhsm:MyHSM:k";
        assert_eq!(file.der(), expected);
        let pem = file.pem();
        assert!(
            pem.starts_with("-----BEGIN AKV PROVIDER URI-----\nMCsaFUFL"),
            "{pem}"
        );
        assert!(pem.ends_with("\n-----END AKV PROVIDER URI-----\n"), "{pem}");
        let public = generator(Curve::P256);
        let uri = format!("managedhsm:MyHSM:k?version={VERSION}");
        let expected = [
            &b"\x30\x81\xaf\x1a\x15AKV Provider URI v1.1\x0c\x3b"[..],
            uri.as_bytes(),
            &public.spki().unwrap(),
        ];
        assert_eq!(with(public).der(), expected.concat());
    }

    #[test]
    fn what_was_written_is_read_also_with_the_longest_uri() {
        let longest = format!(
            "managedhsm:A23456789012345678901234:{}?version={}",
            "k".repeat(127),
            "0".repeat(32)
        );
        let uris = ["managedhsm:MyHSM:mykey", &longest];
        let uris = uris.map(|uri| KeyFile::Uri(uri.parse().unwrap()));
        for file in uris.into_iter().chain(files()) {
            let text = pem::encode("CERTIFICATE", b"x") + "comment\n" + &file.pem();
            let mut lines = text.lines().map(|line| line.as_bytes().to_vec());
            assert!(read_pem(|| lines.next()).unwrap().is_none());
            let content = read_pem(|| lines.next()).unwrap().unwrap();
            assert_eq!(content, file.der());
            assert_eq!(read_der(&content).unwrap(), Some(file));
        }
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let ours = KeyFile::Uri("managedhsm:MyHSM:k".parse().unwrap()).der();
        for content in [
            &b""[..],
            b"\x30\x00",
            &der::ecdsa_signature(&[1; 64]),
            &testdata::key(2048, 65537).spki().unwrap(),
            b"\x30\x0d\x1a\x07PKCS#11\x0c\x02p:",
            &[&ours[..], &[0]].concat(),
        ] {
            assert!(read_der(content).unwrap().is_none());
        }
    }

    #[test]
    fn a_broken_file_of_ours_is_an_error() {
        for text in ["!\n-----END AKV PROVIDER URI-----", "AAAA\n"] {
            let text = format!("-----BEGIN AKV PROVIDER URI-----\n{text}");
            let mut lines = text.lines().map(|line| line.as_bytes().to_vec());
            let error = read_pem(|| lines.next()).unwrap_err().to_string();
            assert!(
                error.contains("write it again with 'akv key pem'"),
                "{error}"
            );
        }
        let uri = "managedhsm:MyHSM:k";
        let pinned = &format!("{uri}?version={VERSION}");
        let spki = generator(Curve::P256).spki().unwrap();
        let mut off_curve = spki.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let PublicKey::Ec(ec) = generator(Curve::P256) else {
            panic!("no EC key");
        };
        let compressed = ec.compressed_spki();
        let hybrid = ec.spki_of(&[&[7], &ec.point()[1..]].concat());
        for (version, uri, spki, problem) in [
            ("v9", uri, &[][..], "'v9' is unknown"),
            ("v1.0", pinned, &spki, "something follows its URI"),
            ("v1.1", uri, &spki, "names no version"),
            (
                "v1.1",
                "https://MyHSM.managedhsm.azure.cn/keys/k",
                &spki,
                "not in the form 'managedhsm:MyHSM:k'",
            ),
            ("v1.1", pinned, &[], "no SubjectPublicKeyInfo"),
            ("v1.1", pinned, &off_curve, "no point of the curve P-256"),
            ("v1.1", pinned, &compressed, "public key is compressed"),
            ("v1.1", pinned, &hybrid, "hybrid form"),
        ] {
            let error = read_der(&encode(version, uri, spki)).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
        for (version, spki) in [("v1.0", &[][..]), ("v1.1", &spki)] {
            let error = read_der(&encode(version, "managedhsm:My_HSM:k", spki)).unwrap_err();
            assert!(matches!(error, Error::Uri(_)), "{error}");
        }
    }

    #[test]
    fn of_a_public_key_in_a_file_one_encoding_is_taken() {
        for file in files() {
            let KeyFile::Version { public, .. } = &file else {
                panic!("{file:?}");
            };
            let spki = public.spki().unwrap();
            assert_eq!(PublicKey::from_spki(&spki), Ok(Some(public.clone())));
            for cut in [0, 1, 5, spki.len() - 1] {
                assert_ne!(PublicKey::from_spki(&spki[..cut]), Ok(Some(public.clone())));
            }
            let longer = [&spki[..], &[0]].concat();
            assert_eq!(PublicKey::from_spki(&longer), Ok(None));
            for at in 0..24 {
                let mut changed = spki.clone();
                changed[at] ^= 1;
                if let Ok(Some(other)) = PublicKey::from_spki(&changed) {
                    assert_eq!(other.spki(), Some(changed), "{at}");
                    assert_ne!(&other, public, "{at}");
                }
            }
        }
    }
}
