//! Sequences of legal and illegal calls of the PKCS#11 module, with an emulator behind it: handles
//! that are none, operations that were not begun, templates, mechanisms and parameters of any kind,
//! buffers that are too small, NULL where there ought to be something. A pointer that isn't NULL
//! leads to as much as its length says, or the length is one that nothing has. What the standard
//! says of the order of calls is kept beside the module (`orders`), and each answer has to fit.
#![no_main]

#[path = "common/input.rs"]
mod input;

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use akv_pkcs11 as _;
use cryptoki_sys::*;
use input::Program;
use libfuzzer_sys::fuzz_target;
use orders::{Call, Operation, Orders};
use values::{Bytes, MECHANISMS};

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

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Calls a function, whose result is never an internal error.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: pointers are NULL, or lead to what their lengths say.
        let code = unsafe { crate::P11.$name.expect("a function")($($argument),*) };
        assert_ne!(
            code,
            cryptoki_sys::CKR_GENERAL_ERROR,
            stringify!($name)
        );
        code
    }};
}

// They use what is above.
#[path = "pkcs11/encryption.rs"]
mod encryption;
#[path = "pkcs11/orders.rs"]
mod orders;
#[path = "pkcs11/signing.rs"]
mod signing;
#[path = "pkcs11/values.rs"]
mod values;

/// What the calls of one input have: values that pointers lead to live as long as it does.
#[derive(Default)]
struct Calls {
    sessions: Vec<CK_SESSION_HANDLE>,
    objects: Vec<CK_OBJECT_HANDLE>,
    /// Objects that these calls have made, and may destroy.
    made: Vec<CK_OBJECT_HANDLE>,
    values: Vec<Box<[u8]>>,
    /// What the module gave out: signatures, ciphertexts, wrapped keys.
    results: Vec<Vec<u8>>,
    orders: Orders,
}

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

    /// Notes an object that a call has made.
    fn note_made(&mut self, code: CK_RV, object: CK_OBJECT_HANDLE) {
        if code == CKR_OK {
            self.objects.push(object);
            self.made.push(object);
        }
    }

    /// Looks at a call whose result came into `room`, and keeps that: it fits, or more is asked
    /// for than there is.
    fn note_result(&mut self, code: CK_RV, room: Bytes, len: CK_ULONG) {
        let (place, most) = room;
        match code {
            CKR_OK if !place.is_null() => {
                assert!(len <= most, "{len} bytes in {most}");
                // SAFETY: the room has so many bytes, which are initialised, and nobody else
                // writes to them now.
                let result = unsafe { std::slice::from_raw_parts(place, len as usize) };
                self.results.push(result.to_vec());
            }
            CKR_BUFFER_TOO_SMALL => assert!(len > most, "{len} bytes fit into {most}"),
            _ => {}
        }
    }

    fn step(&mut self, program: &mut Program<'_>) {
        match program.byte() % 12 {
            0 => self.sessions_step(program),
            1 => self.general_step(program),
            2 => self.find_step(program),
            3 => self.object_step(program),
            4 => self.signing_step(program),
            5 => self.message_step(program),
            6 => self.verifying_step(program),
            7 => self.encryption_step(program),
            8 => self.decryption_step(program),
            9 => self.message_encryption_step(program),
            10 => self.wrapping_step(program),
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
                    self.orders.opened(opened, flags);
                }
            }
            6 => self.orders.closed(session, call!(C_CloseSession(session))),
            7 => {
                let slot = program.choose(&[0, 1]);
                if call!(C_CloseAllSessions(slot)) == CKR_OK {
                    self.orders.all_closed();
                }
            }
            8 => {
                // SAFETY: a struct of numbers.
                let mut info: CK_SESSION_INFO = unsafe { std::mem::zeroed() };
                let code = call!(C_GetSessionInfo(session, &mut info));
                self.orders.check_state(session, code, &info);
            }
            9 => {
                let (pin, len) = self.input(program);
                let user = program.choose(&[CKU_USER, CKU_USER, CKU_SO, 2, 9]);
                let code = call!(C_Login(session, user, pin, len));
                self.orders.logged_in(session, user, code);
            }
            10 => self.orders.logged_out(session, call!(C_Logout(session))),
            _ => {
                // Each flag of an operation, in two bytes of them.
                let flags = [program.byte(), program.byte()].map(CK_ULONG::from);
                let flags = flags[0] << 8 | flags[1] << 1 | CKF_FIND_OBJECTS & flags[1];
                let code = call!(C_SessionCancel(session, flags));
                self.orders.cancelled(session, flags, code);
            }
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
                assert_eq!(call!(C_Finalize(null_mut())), CKR_OK);
                self.orders.all_closed();
                assert_eq!(call!(C_Initialize(null_mut())), CKR_OK);
            }
            _ => {}
        }
    }

    fn find_step(&mut self, program: &mut Program<'_>) {
        let session = self.session(program);
        let (call, code) = match program.byte() % 4 {
            0 | 1 => {
                let mut template = self.template(program);
                let len = template.len() as CK_ULONG;
                let code = call!(C_FindObjectsInit(session, template.as_mut_ptr(), len));
                (Call::Begin, code)
            }
            2 => {
                let mut found = vec![0; usize::from(program.byte() % 9)];
                let mut count = 0;
                let room = found.len() as CK_ULONG;
                let code = call!(C_FindObjects(session, found.as_mut_ptr(), room, &mut count));
                if code == CKR_OK {
                    assert!(count <= room);
                    self.objects.extend(&found[..count as usize]);
                }
                (Call::Part, code)
            }
            _ => (Call::End, call!(C_FindObjectsFinal(session))),
        };
        self.orders
            .called(session, Operation::Search, call, false, code);
    }

    fn object_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut template = self.template(program);
        let (attributes, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let mut made = 0;
        let code = match program.byte() % 8 {
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
                ))
            }
            3 => call!(C_SetAttributeValue(session, object, attributes, count)),
            4 => {
                let code = call!(C_CreateObject(session, attributes, count, &mut made));
                self.note_made(code, made);
                code
            }
            5 => {
                let code = call!(C_CopyObject(session, object, attributes, count, &mut made));
                self.note_made(code, made);
                code
            }
            6 => call!(C_GetObjectSize(session, object, &mut made)),
            // The keys that others need stay.
            _ => {
                let own = usize::from(program.byte());
                let none = program.choose(&[0, CK_ULONG::MAX]);
                let object = match self.made.len() {
                    0 => none,
                    len => self.made[own % len],
                };
                call!(C_DestroyObject(session, object))
            }
        };
        self.orders.check_session(session, code);
    }

    fn other_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let room = self.room(program);
        let (place, mut room_len) = room;
        let asks = place.is_null();
        let (call, code) = match program.byte() % 12 {
            0..3 => (begins(given), call!(C_DigestInit(session, given))),
            3 => {
                let code = call!(C_Digest(session, data, len, place, &mut room_len));
                (Call::Whole, code)
            }
            4 => {
                let code = call!(C_DigestUpdate(session, data, len));
                self.orders
                    .called(session, Operation::Digest, Call::Part, false, code);
                return;
            }
            5 => (
                Call::Last,
                call!(C_DigestFinal(session, place, &mut room_len)),
            ),
            6 => {
                let code = call!(C_DigestKey(session, object));
                assert_ne!(code, CKR_OK, "no key is here to be hashed");
                self.orders
                    .called(session, Operation::Digest, Call::Part, false, code);
                return;
            }
            7 => {
                let code = call!(C_GenerateRandom(session, place, room_len));
                return self.orders.check_session(session, code);
            }
            8 => {
                let code = call!(C_SeedRandom(session, data, len));
                return self.orders.check_session(session, code);
            }
            9 => {
                let code = call!(C_GetOperationState(session, place, &mut room_len));
                return self.orders.check_saving(session, code);
            }
            10 => {
                let code = call!(C_SetOperationState(session, data, len, object, object));
                return self.orders.check_session(session, code);
            }
            _ => return self.generate(program, session, given),
        };
        self.note_result(code, room, room_len);
        self.orders
            .called(session, Operation::Digest, call, asks, code);
    }

    fn generate(&mut self, program: &mut Program<'_>, session: CK_ULONG, by: *mut CK_MECHANISM) {
        let mut templates = [self.template(program), self.template(program)];
        // RSA keys take a second each.
        let is_rsa = templates
            .iter()
            .flatten()
            .any(|it| it.type_ == CKA_MODULUS_BITS);
        if is_rsa || MADE.load(Ordering::Relaxed) >= MOST_KEYS {
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
        self.orders.check_session(session, code);
        if code == CKR_OK {
            MADE.fetch_add(1, Ordering::Relaxed);
        }
        self.note_made(code, public);
        self.note_made(code, private);
    }
}

/// What `C_…Init` does: NULL for the mechanism is the end of what goes on.
fn begins(mechanism: *const CK_MECHANISM) -> Call {
    match mechanism.is_null() {
        true => Call::Cancel,
        false => Call::Begin,
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
    calls.orders.opened(session, 6);
    // Some keys are known from the start, which would take a long input to find.
    let mut found = [0; 9];
    let mut count = 0;
    if call!(C_FindObjectsInit(session, null_mut(), 0)) == CKR_OK {
        call!(C_FindObjects(session, found.as_mut_ptr(), 9, &mut count));
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
