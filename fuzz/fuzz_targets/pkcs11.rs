//! Sequences of legal and illegal calls of the PKCS#11 module, with an emulator behind it: handles
//! that are none, operations that were not begun, templates, mechanisms and parameters of any kind,
//! buffers that are too small, NULL where there ought to be something. A pointer that isn't NULL
//! leads to as much as its length says, or the length is one that nothing has.
#![no_main]

#[path = "common/input.rs"]
mod input;

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::LazyLock;

use akv_pkcs11 as _;
use cryptoki_sys::*;
use input::Program;
use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    fn C_GetInterface(
        name: *mut CK_UTF8CHAR,
        version: *mut CK_VERSION,
        interface: *mut *mut CK_INTERFACE,
        flags: CK_FLAGS,
    ) -> CK_RV;
}

static P11: LazyLock<&CK_FUNCTION_LIST_3_2> = LazyLock::new(|| {
    let (mut interface, mut version) = (null_mut(), CK_VERSION { major: 3, minor: 2 });
    let name = c"PKCS 11".as_ptr().cast_mut().cast();
    // SAFETY: the pointers lead to what PKCS#11 says, and the table is there for ever.
    unsafe {
        // What a sequence makes, it may delete; and no line is written for each call that fails.
        std::env::set_var("AKV_ALLOW_DELETE", "yes");
        std::env::set_var("AKV_LOG_LEVEL", "off");
        assert_eq!(
            C_GetInterface(name, &mut version, &mut interface, 0),
            CKR_OK
        );
        let table = &*(*interface).pFunctionList.cast::<CK_FUNCTION_LIST_3_2>();
        assert_eq!(table.C_Initialize.expect("a function")(null_mut()), CKR_OK);
        table
    }
});

/// How many keys a process makes at most: the emulator keeps them.
const MOST_KEYS: usize = 40;

/// Calls a function, whose result is never an internal error.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: pointers are NULL, or lead to what their lengths say.
        let code = unsafe { P11.$name.expect("a function")($($argument),*) };
        assert_ne!(code, CKR_GENERAL_ERROR, stringify!($name));
        code
    }};
}

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
    CKA_DECRYPT,
    CKA_PRIVATE,
    CKA_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_ALLOWED_MECHANISMS,
    CKA_PUBLIC_KEY_INFO,
    CKA_PRIVATE_EXPONENT,
    CKA_VALUE,
    CKA_UNIQUE_ID,
    CKA_PROFILE_ID,
    CKA_DERIVE,
    CKA_WRAP_TEMPLATE,
    CKA_PARAMETER_SET,
    0x8000_0001,
    CK_ULONG::MAX,
];
const MECHANISMS: &[CK_MECHANISM_TYPE] = &[
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
    CKM_RSA_PKCS_OAEP,
    CKM_AES_CBC,
    CKM_ECDH1_DERIVE,
    CKM_ML_DSA,
    CKM_ML_DSA_KEY_PAIR_GEN,
    0x8000_0001,
    CK_ULONG::MAX,
];
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// What the calls of one input have: values that pointers lead to live as long as it does.
#[derive(Default)]
struct Calls {
    sessions: Vec<CK_SESSION_HANDLE>,
    objects: Vec<CK_OBJECT_HANDLE>,
    values: Vec<Box<[u8]>>,
}

/// A pointer with a length.
type Bytes = (*mut u8, CK_ULONG);

impl Calls {
    fn handle(program: &mut Program<'_>, known: &[CK_ULONG]) -> CK_ULONG {
        let byte = program.byte();
        match known.len() {
            0 => CK_ULONG::from(byte % 4),
            // Mostly a good one.
            _ if byte < 240 => known[usize::from(byte) % known.len()],
            _ => [0, 1, 77, CK_ULONG::MAX][usize::from(byte) % 4],
        }
    }

    fn session(&self, program: &mut Program<'_>) -> CK_SESSION_HANDLE {
        Self::handle(program, &self.sessions)
    }

    fn object(&self, program: &mut Program<'_>) -> CK_OBJECT_HANDLE {
        Self::handle(program, &self.objects)
    }

    fn keep(&mut self, value: impl Into<Box<[u8]>>) -> Bytes {
        self.values.push(value.into());
        let kept = self.values.last_mut().expect("it was pushed");
        (kept.as_mut_ptr(), kept.len() as CK_ULONG)
    }

    /// Bytes to read; or NULL, or a length that nothing has.
    fn input(&mut self, program: &mut Program<'_>) -> Bytes {
        match program.byte() {
            0 => (null_mut(), 0),
            1 => (null_mut(), 32),
            2 => (self.keep(vec![7; 4]).0, CK_ULONG::MAX),
            3..64 => self.keep(program.bytes()),
            _ => self.keep(program.message()),
        }
    }

    /// Room that is written to, of exactly its length; and the place of that.
    fn room(&mut self, program: &mut Program<'_>) -> Bytes {
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
        let number = |number: CK_ULONG| number.to_ne_bytes().to_vec();
        match program.byte() % 12 {
            0 => (null_mut(), 0),
            1 => (null_mut(), 8),
            2 => (self.keep(vec![1]).0, CK_ULONG::MAX),
            3 => self.keep(number(CKO_PRIVATE_KEY)),
            4 => self.keep(number(CKO_PUBLIC_KEY)),
            5 => self.keep(number(CK_ULONG::from(program.byte()) * 16)),
            6 => self.keep(vec![program.byte() & 1]),
            7 => self.keep(P256),
            8 => {
                let label = program.choose(&["ec", "rsa", "ec521", "none", "", "ml-dsa"]);
                self.keep(label.as_bytes())
            }
            9 => self.keep(&b"20270101"[..]),
            _ => self.keep(program.bytes()),
        }
    }

    fn template(&mut self, program: &mut Program<'_>) -> Vec<CK_ATTRIBUTE> {
        let attributes = (0..program.byte() % 6).map(|_| {
            let type_ = program.choose(ATTRIBUTES);
            let (value, len) = self.value(program);
            CK_ATTRIBUTE {
                type_,
                pValue: value.cast(),
                ulValueLen: len,
            }
        });
        attributes.collect()
    }

    fn mechanism(&mut self, program: &mut Program<'_>) -> Option<CK_MECHANISM> {
        let mechanism = program.choose(MECHANISMS);
        let (parameter, len) = match program.byte() % 8 {
            0 => return None,
            1 => self.input(program),
            2 | 3 => {
                let hash = program.choose(&[CKM_SHA256, CKM_SHA384, CKM_SHA_1, CKM_ECDSA, 0]);
                let mgf = program.choose(&[CKG_MGF1_SHA256, CKG_MGF1_SHA384, 0, 77]);
                let salt = program.choose(&[32, 48, 0, CK_ULONG::MAX]);
                let numbers = [hash, mgf, salt];
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
                self.keep(bytes)
            }
            4 => {
                // CK_SIGN_ADDITIONAL_CONTEXT
                let hedge = program.choose(&[CKH_HEDGE_PREFERRED, CKH_DETERMINISTIC_REQUIRED, 77]);
                let (context, len) = self.input(program);
                let numbers = [hedge, context.expose_provenance() as CK_ULONG, len];
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
                self.keep(bytes)
            }
            _ => (null_mut(), 0),
        };
        Some(CK_MECHANISM {
            mechanism,
            pParameter: parameter.cast(),
            ulParameterLen: len,
        })
    }

    fn step(&mut self, program: &mut Program<'_>) {
        match program.byte() % 8 {
            0 => self.sessions_step(program),
            1 => self.general_step(program),
            2 => self.find_step(program),
            3 => self.object_step(program),
            4 => self.signing_step(program),
            5 => self.message_step(program),
            6 => self.verifying_step(program),
            _ => self.other_step(program),
        }
    }

    fn sessions_step(&mut self, program: &mut Program<'_>) {
        let session = self.session(program);
        match program.byte() % 12 {
            0..6 => {
                let slot = program.choose(&[0, 0, 0, 1, CK_ULONG::MAX]);
                let flags = program.choose(&[6, 6, 4, 2, 0]);
                let mut opened = 0;
                if call!(C_OpenSession(slot, flags, null_mut(), None, &mut opened)) == CKR_OK {
                    self.sessions.push(opened);
                }
            }
            6 => drop(call!(C_CloseSession(session))),
            7 => drop(call!(C_CloseAllSessions(program.choose(&[0, 1])))),
            8 => {
                // SAFETY: a struct of numbers.
                let mut info: CK_SESSION_INFO = unsafe { std::mem::zeroed() };
                call!(C_GetSessionInfo(session, &mut info));
            }
            9 => {
                let (pin, len) = self.input(program);
                call!(C_Login(
                    session,
                    program.choose(&[CKU_USER, CKU_SO, 2, 9]),
                    pin,
                    len
                ));
            }
            10 => drop(call!(C_Logout(session))),
            _ => drop(call!(C_SessionCancel(
                session,
                CK_ULONG::from(program.byte()) << 8
            ))),
        }
    }

    fn general_step(&mut self, program: &mut Program<'_>) {
        let slot = program.choose(&[0, 1]);
        let mechanism = program.choose(MECHANISMS);
        let mut count = CK_ULONG::from(program.byte() % 4);
        match program.byte() % 8 {
            0 => {
                let mut slots = vec![0; count as usize];
                call!(C_GetSlotList(1, slots.as_mut_ptr(), &mut count));
            }
            1 => {
                let mut list = vec![0; count as usize];
                call!(C_GetMechanismList(slot, list.as_mut_ptr(), &mut count));
            }
            2 => {
                // SAFETY: a struct of numbers.
                let mut info: CK_MECHANISM_INFO = unsafe { std::mem::zeroed() };
                call!(C_GetMechanismInfo(slot, mechanism, &mut info));
            }
            3 => {
                // SAFETY: a struct of numbers.
                let mut info: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
                call!(C_GetTokenInfo(slot, &mut info));
            }
            4 => drop(call!(C_GetInfo(null_mut()))),
            5 => drop(call!(C_WaitForSlotEvent(count, null_mut(), null_mut()))),
            6 => drop(call!(C_Initialize(null_mut()))),
            // A new start is dear: a new connection.
            _ if program.byte() == 7 => {
                call!(C_Finalize(null_mut()));
                assert_eq!(call!(C_Initialize(null_mut())), CKR_OK);
            }
            _ => {}
        }
    }

    fn find_step(&mut self, program: &mut Program<'_>) {
        let session = self.session(program);
        match program.byte() % 4 {
            0 | 1 => {
                let mut template = self.template(program);
                let len = template.len() as CK_ULONG;
                call!(C_FindObjectsInit(session, template.as_mut_ptr(), len));
            }
            2 => {
                let mut found = vec![0; usize::from(program.byte() % 9)];
                let mut count = 0;
                let room = found.len() as CK_ULONG;
                if call!(C_FindObjects(session, found.as_mut_ptr(), room, &mut count)) == CKR_OK {
                    self.objects.extend(&found[..count as usize]);
                }
            }
            _ => drop(call!(C_FindObjectsFinal(session))),
        }
    }

    fn object_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut template = self.template(program);
        let (attributes, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let mut made = 0;
        match program.byte() % 8 {
            0..3 => {
                for attribute in &mut template {
                    let (room, len) = self.room(program);
                    (attribute.pValue, attribute.ulValueLen) = (room.cast(), len);
                }
                call!(C_GetAttributeValue(
                    session,
                    object,
                    template.as_mut_ptr(),
                    count
                ));
            }
            3 => drop(call!(C_SetAttributeValue(
                session, object, attributes, count
            ))),
            4 => {
                if call!(C_CreateObject(session, attributes, count, &mut made)) == CKR_OK {
                    self.objects.push(made);
                }
            }
            5 => drop(call!(C_CopyObject(
                session, object, attributes, count, &mut made
            ))),
            6 => drop(call!(C_GetObjectSize(session, object, &mut made))),
            // The keys that others need stay.
            _ => drop(call!(C_DestroyObject(
                session,
                program.choose(&[0, 77, CK_ULONG::MAX])
            ))),
        }
    }

    fn signing_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let mechanism = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let (room, mut room_len) = self.room(program);
        let most = room_len;
        let code = match program.byte() % 9 {
            0..3 => call!(C_SignInit(session, mechanism, object)),
            3 | 4 => call!(C_Sign(session, data, len, room, &mut room_len)),
            5 => call!(C_SignUpdate(session, data, len)),
            6 => call!(C_SignFinal(session, room, &mut room_len)),
            7 => call!(C_SignRecoverInit(session, mechanism, object)),
            _ => call!(C_SignRecover(session, data, len, room, &mut room_len)),
        };
        assert!(code != CKR_OK || room.is_null() || room_len <= most);
    }

    fn verifying_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let mechanism = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let (signature, signature_len) = self.input(program);
        let (room, mut room_len) = self.room(program);
        match program.byte() % 10 {
            0..3 => call!(C_VerifyInit(session, mechanism, object)),
            3 => call!(C_Verify(session, data, len, signature, signature_len)),
            4 => call!(C_VerifyUpdate(session, data, len)),
            5 => call!(C_VerifyFinal(session, signature, signature_len)),
            6 => call!(C_VerifyRecoverInit(session, mechanism, object)),
            7 => call!(C_VerifyRecover(
                session,
                signature,
                signature_len,
                room,
                &mut room_len
            )),
            8 => call!(C_VerifySignatureInit(
                session,
                mechanism,
                object,
                signature,
                signature_len
            )),
            _ => call!(C_VerifySignature(session, data, len)),
        };
    }

    /// Many messages with one key.
    fn message_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let mechanism = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (parameter, parameter_len) = match program.byte() % 4 {
            0 => self.input(program),
            _ => (null_mut(), 0),
        };
        let parameter: *mut c_void = parameter.cast();
        let (data, len) = self.input(program);
        let (signature, signature_len) = self.input(program);
        let (room, mut room_len) = self.room(program);
        let most = room_len;
        let place = match program.byte() % 3 {
            0 => null_mut(),
            _ => &raw mut room_len,
        };
        let code = match program.byte() % 12 {
            0 | 1 => call!(C_MessageSignInit(session, mechanism, object)),
            2 => call!(C_SignMessage(session, parameter, parameter_len, data, len, room, place)),
            3 => call!(C_SignMessageBegin(session, parameter, parameter_len)),
            4 => call!(C_SignMessageNext(session, parameter, parameter_len, data, len, room, place)),
            5 => call!(C_MessageSignFinal(session)),
            6 | 7 => call!(C_MessageVerifyInit(session, mechanism, object)),
            8 => call!(C_VerifyMessage(
                session,
                parameter,
                parameter_len,
                data,
                len,
                signature,
                signature_len
            )),
            9 => call!(C_VerifyMessageBegin(session, parameter, parameter_len)),
            10 => call!(C_VerifyMessageNext(
                session,
                parameter,
                parameter_len,
                data,
                len,
                signature,
                signature_len
            )),
            _ => call!(C_MessageVerifyFinal(session)),
        };
        assert!(code != CKR_OK || room.is_null() || room_len <= most);
    }

    fn other_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let mechanism = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let (room, mut room_len) = self.room(program);
        match program.byte() % 12 {
            0 | 1 => call!(C_DigestInit(session, mechanism)),
            2 => call!(C_Digest(session, data, len, room, &mut room_len)),
            3 => call!(C_DigestUpdate(session, data, len)),
            4 => call!(C_DigestFinal(session, room, &mut room_len)),
            5 => call!(C_DigestKey(session, object)),
            6 => call!(C_GenerateRandom(session, room, room_len)),
            7 => call!(C_SeedRandom(session, data, len)),
            8 => call!(C_EncryptInit(session, mechanism, object)),
            9 => call!(C_GetOperationState(session, room, &mut room_len)),
            10 => call!(C_SetOperationState(session, data, len, object, object)),
            _ => return self.generate(program, session, mechanism),
        };
    }

    fn generate(&mut self, program: &mut Program<'_>, session: CK_ULONG, by: *mut CK_MECHANISM) {
        static MADE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let mut templates = [self.template(program), self.template(program)];
        // RSA keys take a second each.
        let is_rsa = templates
            .iter()
            .flatten()
            .any(|it| it.type_ == CKA_MODULUS_BITS);
        if is_rsa || MADE.load(std::sync::atomic::Ordering::Relaxed) >= MOST_KEYS {
            return;
        }
        let (mut public, mut private) = (0, 0);
        let [of_public, of_private] = &mut templates;
        let code = call!(C_GenerateKeyPair(
            session,
            by,
            of_public.as_mut_ptr(),
            of_public.len() as CK_ULONG,
            of_private.as_mut_ptr(),
            of_private.len() as CK_ULONG,
            &mut public,
            &mut private,
        ));
        if code == CKR_OK {
            MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.objects.extend([public, private]);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    LazyLock::force(&P11);
    let mut program = Program(data);
    let mut calls = Calls::default();
    let mut session = 0;
    assert_eq!(
        call!(C_OpenSession(
            0,
            6,
            null_mut::<c_void>(),
            None,
            &mut session
        )),
        CKR_OK
    );
    calls.sessions.push(session);
    // Some keys are known from the start, which would take a long input to find.
    let mut found = [0; 4];
    let mut count = 0;
    if call!(C_FindObjectsInit(session, null_mut(), 0)) == CKR_OK {
        call!(C_FindObjects(session, found.as_mut_ptr(), 4, &mut count));
        call!(C_FindObjectsFinal(session));
    }
    calls.objects.extend(&found[..count as usize]);
    for _ in 0..64 {
        if program.is_over() {
            break;
        }
        calls.step(&mut program);
    }
    call!(C_CloseAllSessions(0));
});
