//! The algorithms of the service (RFC 7518, sections 3.1 and 4.1, and RFC 8812 for ES256K).

use crate::ml_dsa::ParameterSet;

/// A signature algorithm. The HSM takes a digest of [`SignatureAlgorithm::digest_len`] bytes and
/// pads it itself, except for `RSNULL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.
    Ps384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512 and a salt of 64 bytes.
    Ps512,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on secp256k1.
    Es256K,
    /// ECDSA on P-384.
    Es384,
    /// ECDSA on P-521.
    Es512,
    /// PKCS#1 v1.5 padding of the bytes given, without a DigestInfo around them. The service may
    /// refuse it.
    RsNull,
    /// ML-DSA. What is signed is the message representative μ (FIPS 204, section 6.2), which is
    /// computed from public key, context and message.
    MlDsa(ParameterSet),
}

impl SignatureAlgorithm {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es256K,
        Self::Es384,
        Self::Es512,
        Self::RsNull,
        Self::MlDsa(ParameterSet::MlDsa44),
        Self::MlDsa(ParameterSet::MlDsa65),
        Self::MlDsa(ParameterSet::MlDsa87),
    ];

    /// The algorithm's name in requests and answers.
    pub const fn jwa_name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es256K => "ES256K",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::RsNull => "RSNULL",
            Self::MlDsa(set) => set.name(),
        }
    }

    /// Length in bytes of the digest that is signed, or of μ; None: any that the key has room for.
    pub const fn digest_len(self) -> Option<usize> {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Es256K => Some(32),
            Self::Rs384 | Self::Ps384 | Self::Es384 => Some(48),
            Self::Rs512 | Self::Ps512 | Self::Es512 | Self::MlDsa(_) => Some(64),
            Self::RsNull => None,
        }
    }
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.jwa_name())
    }
}

/// An algorithm to encrypt and decrypt, or to wrap and unwrap keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// RSAES-PKCS1-v1_5.
    Rsa1_5,
    /// RSAES-OAEP with SHA-1, and MGF1 with SHA-1.
    RsaOaep,
    /// RSAES-OAEP with SHA-256, and MGF1 with SHA-256.
    RsaOaep256,
    /// AES key wrap (RFC 3394) with a key of 128 bits. Wraps keys only.
    A128Kw,
    /// AES key wrap with a key of 192 bits.
    A192Kw,
    /// AES key wrap with a key of 256 bits.
    A256Kw,
    /// AES key wrap with padding (RFC 5649) with a key of any size.
    CkmAesKeyWrapPad,
    /// AES-GCM with a key of 128 bits; the HSM makes the 12-byte IV and a tag of 16 bytes. Encrypts
    /// only.
    A128Gcm,
    /// AES-GCM with a key of 192 bits.
    A192Gcm,
    /// AES-GCM with a key of 256 bits.
    A256Gcm,
    /// AES-CBC without padding, with a key of 128 bits. Encrypts only.
    A128Cbc,
    /// AES-CBC without padding, with a key of 192 bits.
    A192Cbc,
    /// AES-CBC without padding, with a key of 256 bits.
    A256Cbc,
    /// AES-CBC with PKCS#7 padding, with a key of 128 bits. Encrypts only.
    A128CbcPad,
    /// AES-CBC with PKCS#7 padding, with a key of 192 bits.
    A192CbcPad,
    /// AES-CBC with PKCS#7 padding, with a key of 256 bits.
    A256CbcPad,
}

impl EncryptionAlgorithm {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Rsa1_5,
        Self::RsaOaep,
        Self::RsaOaep256,
        Self::A128Kw,
        Self::A192Kw,
        Self::A256Kw,
        Self::CkmAesKeyWrapPad,
        Self::A128Gcm,
        Self::A192Gcm,
        Self::A256Gcm,
        Self::A128Cbc,
        Self::A192Cbc,
        Self::A256Cbc,
        Self::A128CbcPad,
        Self::A192CbcPad,
        Self::A256CbcPad,
    ];

    /// The algorithm's name in requests and answers.
    pub const fn jwa_name(self) -> &'static str {
        match self {
            Self::Rsa1_5 => "RSA1_5",
            Self::RsaOaep => "RSA-OAEP",
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::A128Kw => "A128KW",
            Self::A192Kw => "A192KW",
            Self::A256Kw => "A256KW",
            Self::CkmAesKeyWrapPad => "CKM_AES_KEY_WRAP_PAD",
            Self::A128Gcm => "A128GCM",
            Self::A192Gcm => "A192GCM",
            Self::A256Gcm => "A256GCM",
            Self::A128Cbc => "A128CBC",
            Self::A192Cbc => "A192CBC",
            Self::A256Cbc => "A256CBC",
            Self::A128CbcPad => "A128CBCPAD",
            Self::A192CbcPad => "A192CBCPAD",
            Self::A256CbcPad => "A256CBCPAD",
        }
    }

    /// AES key wrap with a key of `bits`.
    pub const fn aes_kw(bits: u32) -> Option<Self> {
        Self::by_bits(bits, [Self::A128Kw, Self::A192Kw, Self::A256Kw])
    }

    /// AES-GCM with a key of `bits`.
    pub const fn aes_gcm(bits: u32) -> Option<Self> {
        Self::by_bits(bits, [Self::A128Gcm, Self::A192Gcm, Self::A256Gcm])
    }

    /// AES-CBC without padding, with a key of `bits`.
    pub const fn aes_cbc(bits: u32) -> Option<Self> {
        Self::by_bits(bits, [Self::A128Cbc, Self::A192Cbc, Self::A256Cbc])
    }

    /// AES-CBC with PKCS#7 padding, with a key of `bits`.
    pub const fn aes_cbc_pad(bits: u32) -> Option<Self> {
        Self::by_bits(bits, [Self::A128CbcPad, Self::A192CbcPad, Self::A256CbcPad])
    }

    const fn by_bits(bits: u32, [short, middle, long]: [Self; 3]) -> Option<Self> {
        match bits {
            128 => Some(short),
            192 => Some(middle),
            256 => Some(long),
            _ => None,
        }
    }
}

impl std::fmt::Display for EncryptionAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.jwa_name())
    }
}
