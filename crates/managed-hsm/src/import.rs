//! Keys that are brought to the HSM, with their private parts or wrapped for it.

use base64::Engine;
use bytes::Bytes;
use http::Method;
use zeroize::Zeroizing;

use crate::api_version::Feature;
use crate::client::Client;
use crate::error::Error;
use crate::key::{Curve, Key, KeyOperation, Life};
use crate::number::{minimal, padded};
use crate::request::Request;
use crate::secret::SecretBytes;
use crate::uri::{KeyName, KeyUri, Vault};
use crate::wire;

/// A key for the HSM to take in.
#[derive(Debug)]
pub struct BroughtKey {
    /// The key.
    pub material: KeyMaterial,
    /// What it may be used for; empty: all that its type can do.
    pub operations: Vec<KeyOperation>,
    /// From when and until when it may be used.
    pub life: Life,
    /// Names and values for people and programs.
    pub tags: Vec<(String, String)>,
}

/// A key with its private part.
pub enum KeyMaterial {
    /// An RSA key: modulus, public and private exponent, primes, exponents and coefficient of the
    /// Chinese remainder theorem (RFC 8017, appendix A.1.2).
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Public exponent.
        e: Vec<u8>,
        /// Private exponent.
        d: SecretBytes,
        /// First prime.
        p: SecretBytes,
        /// Second prime.
        q: SecretBytes,
        /// Exponent of the first prime.
        dp: SecretBytes,
        /// Exponent of the second prime.
        dq: SecretBytes,
        /// Coefficient.
        qi: SecretBytes,
    },
    /// An EC key: its point and its scalar.
    Ec {
        /// The curve.
        curve: Curve,
        /// x coordinate.
        x: Vec<u8>,
        /// y coordinate.
        y: Vec<u8>,
        /// Scalar.
        d: SecretBytes,
    },
    /// A symmetric key.
    Oct(SecretBytes),
    /// A key that only HSMs have seen, in a key transfer blob (Azure's "Bring your own key
    /// specification").
    Transfer {
        /// Its type.
        kind: TransferredKind,
        /// The blob, JSON.
        blob: Vec<u8>,
    },
}

/// The type of a key in a key transfer blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferredKind {
    /// RSA, as PKCS#8.
    Rsa,
    /// EC, as PKCS#8.
    Ec,
    /// Symmetric, as it is.
    Oct,
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyMaterial({})", self.kty())
    }
}

impl KeyMaterial {
    const fn kty(&self) -> &'static str {
        match self {
            Self::Rsa { .. }
            | Self::Transfer {
                kind: TransferredKind::Rsa,
                ..
            } => "RSA-HSM",
            Self::Ec { .. }
            | Self::Transfer {
                kind: TransferredKind::Ec,
                ..
            } => "EC-HSM",
            Self::Oct(_)
            | Self::Transfer {
                kind: TransferredKind::Oct,
                ..
            } => "oct-HSM",
        }
    }

    /// The members of its JSON Web Key, whatever zeros the numbers came with.
    fn members(&self) -> Vec<(&'static str, SecretBytes)> {
        let own = |value: &[u8]| SecretBytes::new(value.to_vec());
        match self {
            Self::Rsa {
                n,
                e,
                d,
                p,
                q,
                dp,
                dq,
                qi,
            } => {
                let public = [("n", n), ("e", e)];
                let secret = [
                    ("d", d),
                    ("p", p),
                    ("q", q),
                    ("dp", dp),
                    ("dq", dq),
                    ("qi", qi),
                ];
                let public = public.map(|(name, number)| (name, own(minimal(number))));
                let secret = secret.map(|(name, number)| (name, own(minimal(number))));
                public.into_iter().chain(secret).collect()
            }
            Self::Ec { curve, x, y, d } => {
                // One that is too long is for the HSM to refuse.
                let len = curve.coordinate_len();
                let in_field = |number| padded(number, len).unwrap_or_else(|| own(number));
                vec![("x", in_field(x)), ("y", in_field(y)), ("d", in_field(d))]
            }
            Self::Oct(k) => vec![("k", k.clone())],
            Self::Transfer { blob, .. } => vec![("key_hsm", own(blob))],
        }
    }
}

/// The blob in which a key is transferred that is wrapped by CKM_RSA_AES_KEY_WRAP. `kid`: which key
/// of the HSM it is wrapped for, an RSA key that may `import` and nothing else.
pub fn transfer_blob(kid: &str, wrapped: &[u8]) -> Vec<u8> {
    let blob = serde_json::json!({
        "schema_version": "1.0.0",
        "header": {
            "kid": kid,
            "alg": "dir",
            "enc": "CKM_RSA_AES_KEY_WRAP",
        },
        "ciphertext": wire::BASE64.encode(wrapped),
        "generator": concat!("akv ", env!("CARGO_PKG_VERSION")),
    });
    blob.to_string().into_bytes()
}

impl Client {
    /// Has the HSM take in a key. Sent once only: a second request would make a second version.
    pub fn import_key(
        &self,
        vault: &Vault,
        name: &KeyName,
        key: &BroughtKey,
    ) -> Result<Key, Error> {
        let uri = KeyUri {
            vault: vault.clone(),
            key: name.clone(),
            version: None,
        };
        let mut request = Request {
            operation: "import key",
            vault: vault.clone(),
            key: uri.to_string().into(),
            method: Method::PUT,
            algorithm: None,
            url: self.url(vault, &format!("/keys/{name}"))?,
            body: Some(Bytes::from_owner(import_request(key))),
            repeatable: false,
        };
        if let KeyMaterial::Oct(_) = key.material {
            self.raise(&mut request, Feature::SymmetricKeys)?;
        }
        self.raise_for(&mut request, &key.operations)?;
        self.ask_for_key(request, uri)
    }
}

/// Body of a request to import a key.
fn import_request(key: &BroughtKey) -> Zeroizing<Vec<u8>> {
    let members = key.material.members();
    let secrets: usize = members.iter().map(|(_, value)| value.len()).sum();
    let operations: Vec<String> = key.operations.iter().map(ToString::to_string).collect();
    let tags = key.tags.iter().cloned();
    let tags: serde_json::Map<_, serde_json::Value> =
        tags.map(|(name, value)| (name, value.into())).collect();
    let rest = match &key.material {
        KeyMaterial::Ec { curve, .. } => format!(r#","crv":"{}""#, curve.jwk_name()),
        _ => String::new(),
    };
    let operations = match operations.is_empty() {
        true => String::new(),
        false => format!(r#","key_ops":{}"#, serde_json::json!(operations)),
    };
    let tags = match tags.is_empty() {
        true => String::new(),
        false => format!(r#","tags":{}"#, serde_json::Value::Object(tags)),
    };
    let times = wire::times(key.life);
    let times = match times.is_empty() {
        true => String::new(),
        false => format!(r#","attributes":{}"#, serde_json::Value::Object(times)),
    };
    let further = rest.len() + operations.len() + times.len() + tags.len();
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut body = String::with_capacity(secrets / 3 * 4 + further + 256);
    body.push_str(r#"{"key":{"kty":""#);
    body.push_str(key.material.kty());
    body.push('"');
    for (name, value) in members {
        body.push_str(r#",""#);
        body.push_str(name);
        body.push_str(r#"":""#);
        wire::BASE64.encode_string(&*value, &mut body);
        body.push('"');
    }
    body.push_str(&rest);
    body.push_str(&operations);
    body.push('}');
    body.push_str(&times);
    body.push_str(&tags);
    body.push('}');
    Zeroizing::new(body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_says_what_is_brought_and_shows_it_to_nobody_else() {
        let key = BroughtKey {
            material: KeyMaterial::Ec {
                curve: Curve::P256,
                x: vec![1],
                y: vec![2],
                d: vec![3].into(),
            },
            operations: vec![KeyOperation::Sign],
            life: Life::default(),
            tags: vec![("a".to_owned(), "\"".to_owned())],
        };
        let body = import_request(&key);
        let text = std::str::from_utf8(&body).unwrap();
        let in_field = |last: &str| format!("{}{last}", "A".repeat(41));
        let expected = format!(
            r#"{{"key":{{"kty":"EC-HSM","x":"{}","y":"{}","d":"{}","crv":"P-256","key_ops":["sign"]}},"tags":{{"a":"\""}}}}"#,
            in_field("AE"),
            in_field("AI"),
            in_field("AM")
        );
        assert_eq!(text, expected);
        assert!(!format!("{key:?}").contains("[3]"), "{key:?}");
        let key = BroughtKey {
            material: KeyMaterial::Oct(vec![0xff; 3].into()),
            operations: Vec::new(),
            life: Life {
                not_before: None,
                expires: Some(2),
            },
            tags: Vec::new(),
        };
        let expected = r#"{"key":{"kty":"oct-HSM","k":"____"},"attributes":{"exp":2}}"#;
        assert_eq!(*import_request(&key), expected.as_bytes());
    }

    /// Programs pass numbers with the zeros that DER or the length of a modulus has them have.
    #[test]
    fn numbers_go_out_as_json_web_keys_have_them() {
        let members = |material| {
            let body = import_request(&BroughtKey {
                material,
                operations: Vec::new(),
                life: Life::default(),
                tags: Vec::new(),
            });
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["key"].clone()
        };
        let of_rsa = members(KeyMaterial::Rsa {
            n: vec![0, 0xff],
            e: vec![0, 1, 0, 1],
            d: vec![0, 0, 0xff].into(),
            p: vec![0, 1].into(),
            q: vec![2].into(),
            dp: vec![0, 0, 0, 3].into(),
            dq: vec![0, 4, 0].into(),
            qi: vec![0, 5].into(),
        });
        let expected = serde_json::json!({
            "kty": "RSA-HSM", "n": "_w", "e": "AQAB", "d": "_w", "p": "AQ", "q": "Ag", "dp": "Aw",
            "dq": "BAA", "qi": "BQ",
        });
        assert_eq!(of_rsa, expected);
        for curve in Curve::ALL {
            let of_ec = members(KeyMaterial::Ec {
                curve,
                x: vec![0; 100],
                y: [&[0; 4][..], &[1; 20]].concat(),
                d: vec![7].into(),
            });
            for name in ["x", "y", "d"] {
                let number = of_ec[name].as_str().unwrap();
                let number = wire::BASE64.decode(number).unwrap();
                assert_eq!(number.len(), curve.coordinate_len(), "{curve:?} {name}");
            }
        }
    }
}
