//! Sequences of calls of libcrypto's EVP, OSSL_STORE, OSSL_DECODER and OSSL_ENCODER, legal and
//! illegal ones, with keys in an emulator and software keys.
#![no_main]

#[path = "common/functions.rs"]
mod functions;
#[path = "common/program.rs"]
mod program;

use std::ffi::{CStr, CString, c_char, c_int, c_uchar};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use functions::*;
use libfuzzer_sys::fuzz_target;
use program::{Libcrypto, Param, Program, check_errors, room};

static LIBRARIES: LazyLock<[Libcrypto; 2]> = LazyLock::new(|| {
    [[c"akv_provider", c"default"], [c"default", c"akv_provider"]]
        .map(|names| Libcrypto::new(names, akv_provider::fuzzing::entry()))
});

const URIS: &[&CStr] = &[
    c"managedhsm:MyHSM:rsa",
    c"managedhsm:MyHSM:ec",
    c"managedhsm:MyHSM:ec521",
    c"managedhsm:MyHSM:aes",
    c"managedhsm:MyHSM:none",
    c"managedhsm:MyHSM",
    c"managedhsm:My_HSM:rsa",
    c"managedhsm:MyHSM:ml-dsa",
];
const DIGESTS: &[Option<&CStr>] = &[
    Some(c"SHA256"),
    None,
    Some(c"SHA1"),
    Some(c"SHA384"),
    Some(c"SHA512"),
    Some(c"SHA3-256"),
    Some(c"SHA512-256"),
    Some(c"MD5"),
    Some(c""),
    Some(c"none such"),
];
const PROPERTIES: &[Option<&CStr>] = &[
    None,
    None,
    Some(c"provider=akv_provider"),
    Some(c"?provider=akv_provider"),
    Some(c"provider=default"),
];
const CONTROLS: &[(&CStr, &CStr)] = &[
    (c"rsa_padding_mode", c"pss"),
    (c"rsa_padding_mode", c"pkcs1"),
    (c"rsa_padding_mode", c"oaep"),
    (c"rsa_padding_mode", c"none"),
    (c"rsa_padding_mode", c"x931"),
    (c"rsa_pss_saltlen", c"digest"),
    (c"rsa_pss_saltlen", c"auto"),
    (c"rsa_pss_saltlen", c"max"),
    (c"rsa_pss_saltlen", c"20"),
    (c"rsa_pss_saltlen", c"-9"),
    (c"rsa_mgf1_md", c"sha1"),
    (c"rsa_mgf1_md", c"sha512"),
    (c"rsa_oaep_md", c"sha256"),
    (c"rsa_oaep_label", c"00ff"),
    (c"digest", c"sha384"),
    (c"digest", c"sha3-512"),
    (c"ec_paramgen_curve", c"P-256"),
    (c"rsa_keygen_bits", c"512"),
    (c"name", c"fuzzed"),
    (c"vault", c"managedhsm:MyHSM"),
    (c"key-ops", c"sign"),
];
const KEY_TYPES: &[&CStr] = &[
    c"EC",
    c"RSA",
    c"AES",
    c"RSA-PSS",
    c"X25519",
    c"ML-DSA-44",
    c"ML-DSA-87",
];
/// What a message may be signed by; from OpenSSL 3.4 on.
const ALGORITHMS: &[&CStr] = &[
    c"ML-DSA-44",
    c"ML-DSA-65",
    c"RSA-SHA256",
    c"ECDSA-SHA384",
    c"RSA",
];
const FORMATS: &[&CStr] = &[c"DER", c"PEM", c"TEXT"];
const STRUCTURES: &[Option<&CStr>] = &[
    None,
    Some(c"SubjectPublicKeyInfo"),
    Some(c"PrivateKeyInfo"),
    Some(c"type-specific"),
    Some(c"pkcs1"),
    Some(c"akv-uri"),
];
const SELECTIONS: &[c_int] = &[0x87, 0x86, 0x84, 0x02, 0x01, 0x04, 0, 0x80];

fn pointer(text: Option<&CStr>) -> *const c_char {
    text.map_or(null(), CStr::as_ptr)
}

struct Slots {
    library: Pointer,
    keys: [Pointer; 3],
    contexts: [Pointer; 2],
    /// What each is for, once it was initialised: to generate keys, or to use one.
    generates: [Option<bool>; 2],
    digests: [Pointer; 2],
    signature: Vec<u8>,
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: all of them are NULL or owned here.
        unsafe {
            for digest in self.digests {
                EVP_MD_CTX_free(digest);
            }
            for context in self.contexts {
                EVP_PKEY_CTX_free(context);
            }
            for key in self.keys {
                EVP_PKEY_free(key);
            }
        }
    }
}

impl Slots {
    fn put_key(&mut self, at: usize, key: Pointer) {
        if key.is_null() {
            return;
        }
        let old = std::mem::replace(&mut self.keys[at % 3], key);
        // SAFETY: owned here.
        unsafe { EVP_PKEY_free(old) };
    }

    fn put_context(&mut self, at: usize, context: Pointer) {
        if context.is_null() {
            return;
        }
        self.generates[at % 2] = None;
        let old = std::mem::replace(&mut self.contexts[at % 2], context);
        // SAFETY: owned here.
        unsafe { EVP_PKEY_CTX_free(old) };
    }

    /// Calls a function that writes an output: for the size, and into a buffer that is large enough
    /// or too small.
    fn output(
        &mut self,
        program: &mut Program<'_>,
        call: impl Fn(*mut c_uchar, *mut usize) -> c_int,
    ) {
        let mut len = 0;
        let mode = program.byte();
        if mode & 1 == 0 && call(null_mut(), &mut len) <= 0 {
            return;
        }
        let room = room(mode >> 1, len);
        // Exactly so large, so that a byte beyond is seen.
        let mut buffer = vec![0xaa; room].into_boxed_slice();
        len = room;
        if call(buffer.as_mut_ptr(), &mut len) == 1 {
            assert!(len <= room, "{len} bytes in a buffer of {room}");
            self.signature = buffer[..len].to_vec();
        }
    }

    /// # Safety
    /// All pointers are NULL or owned; libcrypto takes NULL where this passes it.
    unsafe fn step(&mut self, program: &mut Program<'_>) {
        let operation = program.byte() % 37;
        let place = program.byte();
        let (at, key) = (usize::from(place), self.keys[usize::from(place >> 2) % 3]);
        let (context, digest) = (self.contexts[at % 2], self.digests[at % 2]);
        // SAFETY: the caller promises that all pointers are NULL or owned.
        unsafe {
            // libcrypto 3.0 crashes by itself when these are called before any start.
            if matches!(operation, 3..=8) && EVP_MD_CTX_get_pkey_ctx(digest).is_null() {
                return;
            }
            // In 3.0 it frees a generation twice if its context is initialised for something else.
            if matches!(operation, 12 | 22 | 25) {
                let generates = operation != 12;
                if *self.generates[at % 2].get_or_insert(generates) != generates {
                    return;
                }
            }
            match operation {
                0 => self.load(program, at),
                1 | 2 if !key.is_null() => {
                    let (name, properties) = (program.choose(DIGESTS), program.choose(PROPERTIES));
                    let mut params = program.params();
                    let init = match operation {
                        1 => EVP_DigestSignInit_ex,
                        _ => EVP_DigestVerifyInit_ex,
                    };
                    // OpenSSL keeps the state of a failed start; what follows on it is illegal, and
                    // has to fail.
                    init(
                        digest,
                        null_mut(),
                        pointer(name),
                        self.library,
                        pointer(properties),
                        key,
                        params.list(),
                    );
                }
                3 => {
                    let data = program.message();
                    EVP_DigestSignUpdate(digest, data.as_ptr().cast(), data.len());
                }
                4 => {
                    let data = program.message();
                    EVP_DigestVerifyUpdate(digest, data.as_ptr().cast(), data.len());
                }
                5 => self.output(program, |out, len| EVP_DigestSignFinal(digest, out, len)),
                6 => {
                    EVP_DigestVerifyFinal(digest, self.signature.as_ptr(), self.signature.len());
                }
                7 => {
                    let data = program.message();
                    self.output(program, |out, len| {
                        EVP_DigestSign(digest, out, len, data.as_ptr(), data.len())
                    });
                }
                8 => {
                    let data = program.message();
                    EVP_DigestVerify(
                        digest,
                        self.signature.as_ptr(),
                        self.signature.len(),
                        data.as_ptr(),
                        data.len(),
                    );
                }
                9 => {
                    EVP_MD_CTX_copy_ex(self.digests[0], self.digests[1]);
                }
                10 if !key.is_null() => {
                    let properties = program.choose(PROPERTIES);
                    self.put_context(
                        at,
                        EVP_PKEY_CTX_new_from_pkey(self.library, key, pointer(properties)),
                    );
                }
                11 => {
                    let (name, properties) =
                        (program.choose(KEY_TYPES), program.choose(PROPERTIES));
                    self.put_context(
                        at,
                        EVP_PKEY_CTX_new_from_name(
                            self.library,
                            name.as_ptr(),
                            pointer(properties),
                        ),
                    );
                }
                12 if !context.is_null() => {
                    let mut params = program.params();
                    let init = program.choose(&[
                        EVP_PKEY_sign_init_ex
                            as unsafe extern "C" fn(Pointer, *const Param) -> c_int,
                        EVP_PKEY_verify_init_ex,
                        EVP_PKEY_verify_recover_init_ex,
                        EVP_PKEY_encrypt_init_ex,
                        EVP_PKEY_decrypt_init_ex,
                        EVP_PKEY_derive_init_ex,
                    ]);
                    init(context, params.list());
                }
                13 if !context.is_null() => {
                    let data = program.message();
                    self.output(program, |out, len| {
                        EVP_PKEY_sign(context, out, len, data.as_ptr(), data.len())
                    });
                }
                14 if !context.is_null() => {
                    let data = program.message();
                    EVP_PKEY_verify(
                        context,
                        self.signature.as_ptr(),
                        self.signature.len(),
                        data.as_ptr(),
                        data.len(),
                    );
                }
                15 if !context.is_null() => {
                    let data = self.signature.clone();
                    self.output(program, |out, len| {
                        EVP_PKEY_verify_recover(context, out, len, data.as_ptr(), data.len())
                    });
                }
                16 if !context.is_null() => {
                    let data = program.message();
                    self.output(program, |out, len| {
                        EVP_PKEY_encrypt(context, out, len, data.as_ptr(), data.len())
                    });
                }
                17 if !context.is_null() => {
                    let data = self.signature.clone();
                    self.output(program, |out, len| {
                        EVP_PKEY_decrypt(context, out, len, data.as_ptr(), data.len())
                    });
                }
                18 if !context.is_null() => {
                    let generates = self.generates[at % 2];
                    self.put_context(at + 1, EVP_PKEY_CTX_dup(context));
                    self.generates[(at + 1) % 2] = generates;
                }
                19 if !context.is_null() => {
                    let (name, value) = program.choose(CONTROLS);
                    EVP_PKEY_CTX_ctrl_str(context, name.as_ptr(), value.as_ptr());
                }
                20 if !context.is_null() => {
                    EVP_PKEY_CTX_set_params(context, program.params().list());
                }
                21 if !context.is_null() => {
                    EVP_PKEY_CTX_get_params(context, program.params().list());
                }
                22 if !context.is_null() => {
                    EVP_PKEY_keygen_init(context);
                }
                23 if !context.is_null() => {
                    let mut made = null_mut();
                    EVP_PKEY_generate(context, &mut made);
                    self.put_key(at, made);
                }
                24 if !context.is_null() => {
                    EVP_PKEY_check(context);
                }
                25 if !context.is_null() => {
                    let (mut made, selection) = (null_mut(), program.choose(SELECTIONS));
                    EVP_PKEY_fromdata_init(context);
                    EVP_PKEY_fromdata(context, &mut made, selection, program.params().list());
                    self.put_key(at, made);
                }
                26 if !key.is_null() => {
                    EVP_PKEY_get_params(key, program.params().list());
                }
                27 if !key.is_null() => {
                    EVP_PKEY_set_params(key, program.params().list());
                }
                28 if !key.is_null() => {
                    let mut params = null_mut();
                    if EVP_PKEY_todata(key, program.choose(SELECTIONS), &mut params) == 1 {
                        OSSL_PARAM_free(params);
                    }
                }
                29 if !key.is_null() => {
                    let other = self.keys[at % 3];
                    if !other.is_null() {
                        EVP_PKEY_eq(key, other);
                    }
                    self.put_key(at, EVP_PKEY_dup(key));
                }
                30 => self.decode(program, at),
                31 if !key.is_null() => encode(program, key),
                32 if !key.is_null() => {
                    EVP_PKEY_up_ref(key);
                    EVP_PKEY_free(key);
                }
                33 if !context.is_null() => self.message_init(program, context),
                34 if !context.is_null() => {
                    let (data, signs) = (program.message(), program.byte() & 1 == 0);
                    if let Some(functions) = MESSAGES.as_ref() {
                        let update = match signs {
                            true => functions.sign_update,
                            false => functions.verify_update,
                        };
                        update(context, data.as_ptr(), data.len());
                    }
                }
                35 if !context.is_null() => {
                    if let Some(functions) = MESSAGES.as_ref() {
                        self.output(program, |out, len| {
                            (functions.sign_final)(context, out, len)
                        });
                    }
                }
                36 if !context.is_null() => {
                    if let Some(functions) = MESSAGES.as_ref() {
                        let signature = &self.signature;
                        (functions.set_signature)(context, signature.as_ptr(), signature.len());
                        (functions.verify_final)(context);
                    }
                }
                _ => {}
            }
        }
    }

    /// # Safety
    /// As of `step`.
    unsafe fn message_init(&mut self, program: &mut Program<'_>, context: Pointer) {
        let (name, properties) = (program.choose(ALGORITHMS), program.choose(PROPERTIES));
        let (mut params, signs) = (program.params(), program.byte() & 1 == 0);
        let Some(functions) = MESSAGES.as_ref() else {
            return;
        };
        let init = match signs {
            true => functions.sign_init,
            false => functions.verify_init,
        };
        // SAFETY: the algorithm is freed; the context has a reference of its own.
        unsafe {
            let algorithm = EVP_SIGNATURE_fetch(self.library, name.as_ptr(), pointer(properties));
            if !algorithm.is_null() {
                init(context, algorithm, params.list());
                EVP_SIGNATURE_free(algorithm);
            }
        }
    }

    unsafe fn load(&mut self, program: &mut Program<'_>, at: usize) {
        let named = program.byte();
        let uri = match named {
            0xff => CString::new(program.bytes()).unwrap_or_default(),
            _ => URIS[usize::from(named) % URIS.len()].to_owned(),
        };
        // No files.
        if !["managedhsm:", "keyvault:", "akv:"]
            .iter()
            .any(|scheme| uri.to_bytes().starts_with(scheme.as_bytes()))
        {
            return;
        }
        // SAFETY: the store is closed, what it gives is freed or kept.
        unsafe {
            let none = null_mut();
            let store = OSSL_STORE_open_ex(
                uri.as_ptr(),
                self.library,
                null(),
                none,
                none,
                null(),
                none,
                none,
            );
            if store.is_null() {
                return;
            }
            let expected = program.byte();
            if expected & 7 > 0 {
                OSSL_STORE_expect(store, c_int::from(expected & 7));
            }
            for _ in 0..4 {
                if OSSL_STORE_eof(store) == 1 {
                    break;
                }
                let info = OSSL_STORE_load(store);
                if !info.is_null() {
                    self.put_key(at, OSSL_STORE_INFO_get1_PKEY(info));
                    OSSL_STORE_INFO_free(info);
                }
            }
            OSSL_STORE_close(store);
        }
    }

    unsafe fn decode(&mut self, program: &mut Program<'_>, at: usize) {
        let (format, structure) = (program.choose(FORMATS), program.choose(STRUCTURES));
        let selection = program.choose(SELECTIONS);
        let input = program.bytes();
        let (mut key, mut data, mut len) = (null_mut(), input.as_ptr(), input.len());
        // SAFETY: the context is freed, and the key kept.
        unsafe {
            let context = OSSL_DECODER_CTX_new_for_pkey(
                &mut key,
                format.as_ptr(),
                pointer(structure),
                null(),
                selection,
                self.library,
                null(),
            );
            if OSSL_DECODER_from_data(context, &mut data, &mut len) == 1 {
                self.put_key(at, key);
            }
            OSSL_DECODER_CTX_free(context);
        }
    }
}

unsafe fn encode(program: &mut Program<'_>, key: Pointer) {
    // libcrypto's own encoders read the numbers of an RSA key that has none.
    // SAFETY: the key is one.
    if unsafe { EVP_PKEY_get_size(key) } <= 0 {
        return;
    }
    let (format, structure) = (program.choose(FORMATS), program.choose(STRUCTURES));
    let (mut data, mut len) = (null_mut(), 0);
    // SAFETY: both are freed.
    unsafe {
        let context = OSSL_ENCODER_CTX_new_for_pkey(
            key,
            program.choose(SELECTIONS),
            format.as_ptr(),
            pointer(structure),
            null(),
        );
        if OSSL_ENCODER_to_data(context, &mut data, &mut len) == 1 {
            CRYPTO_free(data.cast(), null(), 0);
        }
        OSSL_ENCODER_CTX_free(context);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut program = Program(data);
    let library = LIBRARIES[usize::from(program.byte() & 1)].context;
    // SAFETY: as `step` wants it.
    unsafe {
        let mut slots = Slots {
            library,
            keys: [null_mut(); 3],
            contexts: [null_mut(); 2],
            generates: [None; 2],
            digests: [EVP_MD_CTX_new(), EVP_MD_CTX_new()],
            signature: vec![1; 256],
        };
        let mut steps = 0;
        while !program.is_over() && steps < 40 {
            slots.step(&mut program);
            steps += 1;
        }
    }
    check_errors();
});
