//! What calls of PKCS#11 pass: bytes, buffers, templates, mechanisms with parameters of any kind. A
//! pointer that isn't NULL leads to as much as its length says, or the length is one that nothing
//! has.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::Calls;
use crate::input::Program;

const ATTRIBUTES: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_CLASS,
    CKA_LABEL,
    CKA_ID,
    CKA_TOKEN,
    CKA_KEY_TYPE,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_MODULUS,
    CKA_MODULUS_BITS,
    CKA_PUBLIC_EXPONENT,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_PRIVATE,
    CKA_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_ALLOWED_MECHANISMS,
    CKA_PUBLIC_KEY_INFO,
    CKA_PRIVATE_EXPONENT,
    CKA_VALUE,
    CKA_VALUE_LEN,
    CKA_UNIQUE_ID,
    CKA_PROFILE_ID,
    CKA_DERIVE,
    CKA_WRAP_TEMPLATE,
    CKA_UNWRAP_TEMPLATE,
    CKA_PARAMETER_SET,
    0x8000_0001,
    CK_ULONG::MAX,
];

pub const MECHANISMS: &[CK_MECHANISM_TYPE] = &[
    CKM_RSA_PKCS,
    CKM_SHA256_RSA_PKCS,
    CKM_RSA_PKCS_PSS,
    CKM_SHA384_RSA_PKCS_PSS,
    CKM_ECDSA,
    CKM_ECDSA_SHA256,
    CKM_ECDSA_SHA3_512,
    CKM_SHA256,
    CKM_SHA512,
    CKM_SHA_1,
    CKM_EC_KEY_PAIR_GEN,
    CKM_RSA_PKCS_KEY_PAIR_GEN,
    CKM_AES_KEY_GEN,
    CKM_RSA_X_509,
    CKM_ECDH1_DERIVE,
    CKM_ML_DSA,
    CKM_ML_DSA_KEY_PAIR_GEN,
    CKM_SHA256_HMAC,
    0x8000_0001,
    CK_ULONG::MAX,
];

/// Those that encrypt or wrap, and some that don't.
const CIPHERS: &[CK_MECHANISM_TYPE] = &[
    CKM_RSA_PKCS,
    CKM_RSA_PKCS_OAEP,
    CKM_AES_CBC,
    CKM_AES_CBC_PAD,
    CKM_AES_GCM,
    // CKM_CLOUDHSM_AES_GCM
    0x8000_1087,
    CKM_AES_KEY_WRAP,
    CKM_AES_KEY_WRAP_KWP,
    CKM_AES_KEY_WRAP_PAD,
    CKM_RSA_AES_KEY_WRAP,
    CKM_AES_ECB,
    CKM_AES_KEY_GEN,
    CKM_ECDSA,
];

const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// A pointer with a length.
pub type Bytes = (*mut u8, CK_ULONG);

fn bytes_of(numbers: &[CK_ULONG]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
}

fn address(pointer: *mut u8) -> CK_ULONG {
    pointer.expose_provenance() as CK_ULONG
}

impl Calls {
    pub fn keep(&mut self, value: impl Into<Box<[u8]>>) -> Bytes {
        self.values.push(value.into());
        let kept = self.values.last_mut().expect("it was pushed");
        (kept.as_mut_ptr(), kept.len() as CK_ULONG)
    }

    /// Bytes to read; or NULL, or a length that nothing has.
    pub fn input(&mut self, program: &mut Program<'_>) -> Bytes {
        match program.byte() {
            0 => (null_mut(), 0),
            1 => (null_mut(), 32),
            2 => (self.keep(vec![7; 4]).0, CK_ULONG::MAX),
            3..64 => self.keep(program.bytes()),
            // What the module gave out itself: a signature, a ciphertext, a wrapped key.
            64..128 if !self.results.is_empty() => {
                let which = usize::from(program.byte()) % self.results.len();
                let mut result = self.results[which].clone();
                if program.byte() < 64 {
                    result.pop();
                }
                self.keep(result)
            }
            _ => self.keep(program.message()),
        }
    }

    /// Bytes that are no structure with pointers in it, which would lead anywhere.
    fn raw_parameter(&mut self, program: &mut Program<'_>) -> Bytes {
        match self.input(program) {
            (bytes, len @ (16 | 24 | 40 | 48)) => (bytes, len - 1),
            other => other,
        }
    }

    /// Room that is written to, of exactly its length; and the place of that.
    pub fn room(&mut self, program: &mut Program<'_>) -> Bytes {
        match program.byte() % 8 {
            0 => (null_mut(), 0),
            1 => (null_mut(), 700),
            2 => self.keep(vec![0; 1]),
            3 => self.keep(vec![0; 63]),
            4 => self.keep(vec![0; 64]),
            _ => self.keep(vec![0; 700]),
        }
    }

    fn value(&mut self, program: &mut Program<'_>) -> Bytes {
        match program.byte() % 14 {
            0 => (null_mut(), 0),
            1 => (null_mut(), 8),
            2 => (self.keep(vec![1]).0, CK_ULONG::MAX),
            3 => self.keep(bytes_of(&[CKO_PRIVATE_KEY])),
            4 => self.keep(bytes_of(&[CKO_PUBLIC_KEY])),
            5 => self.keep(bytes_of(&[CK_ULONG::from(program.byte()) * 16])),
            6 => self.keep(vec![program.byte() & 1]),
            7 => self.keep(P256),
            8 => {
                let label = program.choose(&["ec", "rsa", "ec521", "aes", "none", "", "ml-dsa"]);
                self.keep(label.as_bytes())
            }
            9 => self.keep(&b"20270101"[..]),
            10 => self.keep(bytes_of(&[program.choose(&[
                CKO_SECRET_KEY,
                CKK_AES,
                CKK_GENERIC_SECRET,
                CKO_CERTIFICATE,
            ])])),
            // A template within the template.
            11 => {
                let (value, len) = self.keep(vec![1]);
                self.keep(bytes_of(&[CKA_EXTRACTABLE, address(value), len]))
            }
            _ => self.keep(program.bytes()),
        }
    }

    pub fn template(&mut self, program: &mut Program<'_>) -> Vec<CK_ATTRIBUTE> {
        let mut attributes = match program.byte() {
            0..160 => Vec::new(),
            160..200 => self.secret(program, true),
            _ => self.secret(program, false),
        };
        for _ in 0..program.byte() % 6 {
            let type_ = program.choose(ATTRIBUTES);
            let value = self.value(program);
            attributes.push(attribute(type_, value));
        }
        attributes
    }

    /// A template that makes a good secret key: by its value, or without one.
    fn secret(&mut self, program: &mut Program<'_>, has_value: bool) -> Vec<CK_ATTRIBUTE> {
        let kind = program.choose(&[CKK_AES, CKK_AES, CKK_GENERIC_SECRET]);
        let mut attributes = vec![
            attribute(CKA_CLASS, self.keep(bytes_of(&[CKO_SECRET_KEY]))),
            attribute(CKA_KEY_TYPE, self.keep(bytes_of(&[kind]))),
        ];
        if has_value {
            let len = program.choose(&[16, 32, 24, 5]);
            attributes.push(attribute(CKA_VALUE, self.keep(vec![9; len])));
        } else if program.byte() < 128 {
            let len = program.choose(&[16, 32, 24, 5, 0]);
            attributes.push(attribute(CKA_VALUE_LEN, self.keep(bytes_of(&[len]))));
        }
        attributes
    }

    /// A mechanism for signatures, digests, keys, mostly with a parameter that some mechanism has.
    pub fn mechanism(&mut self, program: &mut Program<'_>) -> Option<CK_MECHANISM> {
        let type_ = program.choose(MECHANISMS);
        let parameter = match program.byte() % 8 {
            0 => return None,
            1 => self.raw_parameter(program),
            2 | 3 => self.pss(program),
            4 => {
                // CK_SIGN_ADDITIONAL_CONTEXT
                let hedge = program.choose(&[CKH_HEDGE_PREFERRED, CKH_DETERMINISTIC_REQUIRED, 77]);
                let (context, len) = self.input(program);
                self.keep(bytes_of(&[hedge, address(context), len]))
            }
            _ => (null_mut(), 0),
        };
        Some(mechanism(type_, parameter))
    }

    fn pss(&mut self, program: &mut Program<'_>) -> Bytes {
        let hash = program.choose(&[CKM_SHA256, CKM_SHA384, CKM_SHA_1, CKM_ECDSA, 0]);
        let mgf = program.choose(&[CKG_MGF1_SHA256, CKG_MGF1_SHA384, 0, 77]);
        let salt = program.choose(&[32, 48, 0, CK_ULONG::MAX]);
        self.keep(bytes_of(&[hash, mgf, salt]))
    }

    /// A mechanism that encrypts or wraps, mostly with its own parameter.
    pub fn cipher(&mut self, program: &mut Program<'_>) -> Option<CK_MECHANISM> {
        let type_ = program.choose(CIPHERS);
        let parameter = match program.byte() % 16 {
            0 => return None,
            1 => self.raw_parameter(program),
            2 => (null_mut(), 0),
            _ => self.parameter_of(program, type_),
        };
        Some(mechanism(type_, parameter))
    }

    fn parameter_of(&mut self, program: &mut Program<'_>, type_: CK_MECHANISM_TYPE) -> Bytes {
        match type_ {
            CKM_RSA_PKCS_OAEP => self.oaep(program),
            CKM_AES_CBC | CKM_AES_CBC_PAD => {
                let len = program.choose(&[16, 16, 16, 12]);
                self.keep(vec![7; len])
            }
            CKM_AES_GCM | 0x8000_1087 => {
                let len = program.choose(&[12, 12, 0, 16]);
                let (iv, iv_len) = self.keep(vec![program.choose(&[0, 0, 7]); len]);
                let (aad, aad_len) = self.input(program);
                let tag_bits = program.choose(&[128, 128, 128, 96]);
                let (iv, aad) = (address(iv), address(aad));
                self.keep(bytes_of(&[iv, iv_len, 8 * iv_len, aad, aad_len, tag_bits]))
            }
            CKM_RSA_AES_KEY_WRAP => {
                let (oaep, _) = self.oaep(program);
                let bits = program.choose(&[256, 128, 192, 0]);
                self.keep(bytes_of(&[bits, address(oaep)]))
            }
            _ => (null_mut(), 0),
        }
    }

    fn oaep(&mut self, program: &mut Program<'_>) -> Bytes {
        let (hash, mgf) = program.choose(&[
            (CKM_SHA_1, CKG_MGF1_SHA1),
            (CKM_SHA256, CKG_MGF1_SHA256),
            (CKM_SHA_1, CKG_MGF1_SHA256),
            (CKM_MD5, 0),
        ]);
        let source = program.choose(&[CKZ_DATA_SPECIFIED, CKZ_DATA_SPECIFIED, 0, 9]);
        let (label, len) = match program.byte() % 4 {
            0 => self.input(program),
            _ => (null_mut(), 0),
        };
        self.keep(bytes_of(&[hash, mgf, source, address(label), len]))
    }

    /// The parameter of one message that is encrypted.
    pub fn gcm_message(&mut self, program: &mut Program<'_>) -> Bytes {
        match program.byte() % 16 {
            0 => (null_mut(), 0),
            1 => self.raw_parameter(program),
            _ => {
                let len = program.choose(&[12, 12, 12, 0]);
                let (iv, iv_len) = self.keep(vec![7; len]);
                let (tag, _) = self.keep(vec![7; 16]);
                let tag = program.choose(&[address(tag), address(tag), address(tag), 0]);
                let fixed = program.choose(&[0, 0, 0, 32]);
                let generator = program.choose(&[
                    CKG_GENERATE,
                    CKG_GENERATE,
                    CKG_GENERATE_RANDOM,
                    CKG_NO_GENERATE,
                    77,
                ]);
                let tag_bits = program.choose(&[128, 128, 128, 96, 0]);
                self.keep(bytes_of(&[
                    address(iv),
                    iv_len,
                    fixed,
                    generator,
                    tag,
                    tag_bits,
                ]))
            }
        }
    }
}

fn attribute(type_: CK_ATTRIBUTE_TYPE, (value, len): Bytes) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_,
        pValue: value.cast(),
        ulValueLen: len,
    }
}

fn mechanism(mechanism: CK_MECHANISM_TYPE, (parameter, len): Bytes) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism,
        pParameter: parameter.cast(),
        ulParameterLen: len,
    }
}
