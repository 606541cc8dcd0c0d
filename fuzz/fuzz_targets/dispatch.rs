//! Sequences of calls of the provider's own functions, as its dispatch tables have them, without
//! libcrypto's checks between: finished, failed and fresh contexts, keys without parts, buffers
//! that are too small, parameters of any type. Pointers are good, or NULL where
//! provider-signature(7) and the like allow it.
#![no_main]
// `call` is used within and without `unsafe`.
#![allow(unused_unsafe)]

#[path = "common/program.rs"]
mod program;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use program::{Libcrypto, Param, Program, check_errors, room};

type Pointer = *mut c_void;

#[repr(C)]
struct Algorithm {
    names: *const c_char,
    properties: *const c_char,
    dispatch: *const Dispatch,
    description: *const c_char,
}

#[repr(C)]
struct Dispatch {
    id: c_int,
    function: *const c_void,
}

unsafe extern "C" {
    fn OSSL_PROVIDER_query_operation(
        provider: Pointer,
        operation: c_int,
        no_cache: *mut c_int,
    ) -> *const Algorithm;
    fn OSSL_PROVIDER_get0_provider_ctx(provider: Pointer) -> Pointer;
}

/// The provider offers all, since nobody but this target calls what it offers.
static LIBRARY: LazyLock<Libcrypto> = LazyLock::new(|| {
    let entry = akv_provider::fuzzing::entry_with_all();
    Libcrypto::new([c"akv_provider", c"default"], entry)
});

const KEYMGMT: c_int = 10;
const SIGNATURE: c_int = 12;
const ASYM_CIPHER: c_int = 13;
const STORE: c_int = 22;
const ENCODER: c_int = 20;

/// The functions of an algorithm.
#[derive(Clone, Copy)]
struct Table(*const Dispatch);

impl Table {
    fn find(operation: c_int, name: &str) -> Self {
        let (mut no_cache, provider) = (0, LIBRARY.provider);
        // SAFETY: tables end with a NULL name.
        unsafe {
            let mut algorithm = OSSL_PROVIDER_query_operation(provider, operation, &mut no_cache);
            while !(*algorithm).names.is_null() {
                let names = CStr::from_ptr((*algorithm).names).to_str().expect("ASCII");
                if names.split(':').any(|known| known == name) {
                    return Self((*algorithm).dispatch);
                }
                algorithm = algorithm.add(1);
            }
        }
        panic!("there is no {name}")
    }

    fn function(self, id: c_int) -> Option<*const c_void> {
        let mut entry = self.0;
        // SAFETY: tables end with id 0.
        unsafe {
            while (*entry).id != 0 {
                if (*entry).id == id {
                    return Some((*entry).function);
                }
                entry = entry.add(1);
            }
        }
        None
    }
}

/// Calls the function of a table with these types, if it is there; else the value after `else`.
macro_rules! call {
    ($table:expr, $id:expr, ($($argument:expr => $kind:ty),* $(,)?) -> $result:ty) => {
        call!($table, $id, ($($argument => $kind),*) -> $result, else panic!("function {} is missing", $id))
    };
    ($table:expr, $id:expr, ($($argument:expr => $kind:ty),* $(,)?) -> $result:ty, else $missing:expr) => {
        match $table.function($id) {
            // SAFETY: the types are those of core_dispatch.h.
            Some(function) => unsafe {
                let function: unsafe extern "C" fn($($kind),*) -> $result = std::mem::transmute(function);
                function($($argument),*)
            },
            None => $missing,
        }
    };
}

type Bytes = *const u8;
type Room = *mut u8;
type Length = *mut usize;
type Text = *const c_char;
type Given = *const Param;
type Callback = unsafe extern "C" fn(*const Param, Pointer) -> c_int;

const KEY_TYPES: [&str; 6] = ["RSA", "EC", "AES", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"];
/// Algorithms, each with the index of its type of keys.
const SIGNATURES: [(&str, usize); 5] = [
    ("RSA", 0),
    ("ECDSA", 1),
    ("ML-DSA-44", 3),
    ("ML-DSA-65", 4),
    ("ML-DSA-87", 5),
];

struct Tables {
    keys: [Table; KEY_TYPES.len()],
    signatures: [Table; SIGNATURES.len()],
    cipher: Table,
    store: Table,
    /// By type of keys. There is none for AES.
    encoders: [Option<Table>; KEY_TYPES.len()],
}

// SAFETY: the tables are static and never written.
unsafe impl Send for Tables {}
// SAFETY: the tables are static, and only read.
unsafe impl Sync for Tables {}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    keys: KEY_TYPES.map(|name| Table::find(KEYMGMT, name)),
    signatures: SIGNATURES.map(|(name, _)| Table::find(SIGNATURE, name)),
    cipher: Table::find(ASYM_CIPHER, "RSA"),
    store: Table::find(STORE, "managedhsm"),
    encoders: KEY_TYPES.map(|name| (name != "AES").then(|| Table::find(ENCODER, name))),
});

const URIS: &[&CStr] = &[
    c"managedhsm:MyHSM:rsa",
    c"managedhsm:MyHSM:ec",
    c"managedhsm:MyHSM:ec521",
    c"managedhsm:MyHSM:aes",
    c"managedhsm:MyHSM",
    c"managedhsm:MyHSM:ml-dsa",
];
const DIGESTS: &[Option<&CStr>] = &[
    Some(c"SHA256"),
    None,
    Some(c"SHA1"),
    Some(c"SHA512"),
    Some(c"SHA3-256"),
    Some(c"none such"),
];
const SELECTIONS: &[c_int] = &[0x87, 0x86, 0x84, 0x02, 0x01, 0x04, 0, 0x80, -1];

/// A key with the table that it is of.
type Key = Option<(usize, Pointer)>;

#[derive(Default)]
struct Slots {
    keys: [Key; 4],
    /// Each with the index of its table.
    signatures: [Option<(usize, Pointer)>; 2],
    ciphers: [Option<Pointer>; 2],
    output: Vec<u8>,
}

fn provider() -> Pointer {
    // SAFETY: the provider is loaded.
    unsafe { OSSL_PROVIDER_get0_provider_ctx(LIBRARY.provider) }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for (table, context) in self.signatures.into_iter().flatten() {
            call!(TABLES.signatures[table], 16, (context => Pointer) -> ());
        }
        for context in self.ciphers.into_iter().flatten() {
            call!(TABLES.cipher, 6, (context => Pointer) -> ());
        }
        for (table, key) in self.keys.into_iter().flatten() {
            call!(TABLES.keys[table], 10, (key => Pointer) -> ());
        }
    }
}

/// Takes the key that the store hands out by a reference.
unsafe extern "C" fn take(params: *const Param, argument: Pointer) -> c_int {
    #[repr(C)]
    struct Entry {
        key: *const c_char,
        data_type: u32,
        data: Pointer,
        data_size: usize,
        return_size: usize,
    }
    // SAFETY: the list ends with a NULL key; the argument is the caller's.
    unsafe {
        let (mut entry, mut kind, mut reference) = (params.cast::<Entry>(), String::new(), None);
        while !(*entry).key.is_null() {
            match CStr::from_ptr((*entry).key).to_bytes() {
                b"data-type" => {
                    kind = CStr::from_ptr((*entry).data.cast())
                        .to_string_lossy()
                        .into_owned()
                }
                b"reference" => reference = Some(((*entry).data, (*entry).data_size)),
                _ => {}
            }
            entry = entry.add(1);
        }
        let Some((reference, len)) = reference else {
            return 1;
        };
        let Some(table) = KEY_TYPES.iter().position(|known| *known == kind) else {
            return 0;
        };
        let key = call!(TABLES.keys[table], 8, (reference => Pointer, len => usize) -> Pointer);
        if key.is_null() {
            return 0;
        }
        let slot = &mut *argument.cast::<Key>();
        if let Some((table, old)) = slot.replace((table, key)) {
            call!(TABLES.keys[table], 10, (old => Pointer) -> ());
        }
        1
    }
}

/// Takes exported parameters and imports them into a new key.
unsafe extern "C" fn import(params: *const Param, argument: Pointer) -> c_int {
    // SAFETY: the argument is the caller's.
    let (table, key) = unsafe { *argument.cast::<(usize, Pointer)>() };
    call!(TABLES.keys[table], 40, (key => Pointer, 0x86 => c_int, params => Given) -> c_int)
}

impl Slots {
    fn put_key(&mut self, at: usize, table: usize, key: Pointer) {
        if key.is_null() {
            return;
        }
        if let Some((table, old)) = self.keys[at % 4].replace((table, key)) {
            call!(TABLES.keys[table], 10, (old => Pointer) -> ());
        }
    }

    fn keep(&mut self, program: &mut Program<'_>, call: impl Fn(Room, Length, usize) -> c_int) {
        let mut len = 0;
        let mode = program.byte();
        if mode & 1 == 0 && call(null_mut(), &mut len, 0) != 1 {
            return;
        }
        let room = room(mode >> 1, len);
        let mut buffer = vec![0xaa; room].into_boxed_slice();
        len = usize::MAX;
        if call(buffer.as_mut_ptr(), &mut len, room) == 1 {
            assert!(len <= room, "{len} bytes in a buffer of {room}");
            self.output = buffer[..len].to_vec();
        }
    }

    fn step(&mut self, program: &mut Program<'_>) {
        let (operation, at) = (program.byte() % 24, usize::from(program.byte()));
        let key = self.keys[at % 4];
        match operation {
            0 | 1 => self.load(program, at),
            2 => {
                let table = usize::from(program.byte()) % KEY_TYPES.len();
                let key = call!(TABLES.keys[table], 1, (provider() => Pointer) -> Pointer);
                self.put_key(at, table, key);
            }
            3 => self.key(program, at),
            4 => {
                let table = match at >> 2 & 3 {
                    0 => at & 1,
                    ml_dsa => 1 + ml_dsa,
                };
                let context = call!(TABLES.signatures[table], 1, (provider() => Pointer, null() => Text) -> Pointer);
                if let Some((table, old)) = self.signatures[at >> 1 & 1].replace((table, context)) {
                    call!(TABLES.signatures[table], 16, (old => Pointer) -> ());
                }
            }
            5 => {
                let context = call!(TABLES.cipher, 1, (provider() => Pointer) -> Pointer);
                if let Some(old) = self.ciphers[at & 1].replace(context) {
                    call!(TABLES.cipher, 6, (old => Pointer) -> ());
                }
            }
            6 => self.generate(program, at),
            7 => self.encode(program, key),
            8..=12 => self.cipher(program, at, key),
            _ => self.signature(program, at, key),
        }
    }

    fn load(&mut self, program: &mut Program<'_>, at: usize) {
        let named = program.byte();
        let uri = match named {
            0xff => CString::new(program.bytes()).unwrap_or_default(),
            _ => URIS[usize::from(named) % URIS.len()].to_owned(),
        };
        let store =
            call!(TABLES.store, 1, (provider() => Pointer, uri.as_ptr() => Text) -> Pointer);
        if store.is_null() {
            return;
        }
        if program.byte() & 1 == 1 {
            call!(TABLES.store, 4, (store => Pointer, program.params().list() => Given) -> c_int);
        }
        // Also beyond the end.
        for _ in 0..program.byte() % 4 {
            let slot: *mut Key = &mut self.keys[at % 4];
            call!(TABLES.store, 5, (
                store => Pointer, take => Callback, slot.cast() => Pointer, null_mut() => Pointer, null_mut() => Pointer,
            ) -> c_int);
            call!(TABLES.store, 6, (store => Pointer) -> c_int);
        }
        call!(TABLES.store, 7, (store => Pointer) -> c_int);
    }

    fn key(&mut self, program: &mut Program<'_>, at: usize) {
        let Some((table, key)) = self.keys[at % 4] else {
            return;
        };
        let (functions, selection) = (TABLES.keys[table], program.choose(SELECTIONS));
        match program.byte() % 8 {
            0 => {
                call!(functions, 11, (key => Pointer, program.params().list() => Given) -> c_int);
            }
            1 => {
                call!(functions, 13, (key => Pointer, program.params().list() => Given) -> c_int);
            }
            2 => {
                call!(functions, 21, (key => Pointer, selection => c_int) -> c_int);
            }
            3 => {
                call!(functions, 22, (key => Pointer, selection => c_int, 0 => c_int) -> c_int);
            }
            4 => {
                let others = self.keys.into_iter().flatten();
                for (_, other) in others.filter(|(other, _)| *other == table) {
                    call!(functions, 23, (key => Pointer, other => Pointer, selection => c_int) -> c_int);
                }
            }
            // A key is imported into once, as it is new.
            5 => {
                let new = call!(functions, 1, (provider() => Pointer) -> Pointer);
                call!(functions, 40, (new => Pointer, selection => c_int, program.params().list() => Given) -> c_int);
                self.put_key(at + 1, table, new);
            }
            6 => {
                let new = call!(functions, 1, (provider() => Pointer) -> Pointer);
                let mut target = (table, new);
                let argument: *mut (usize, Pointer) = &mut target;
                call!(functions, 42, (
                    key => Pointer, selection => c_int, import => Callback, argument.cast() => Pointer,
                ) -> c_int);
                self.put_key(at + 1, table, new);
            }
            _ => {
                let copy = call!(functions, 44, (key => Pointer, selection => c_int) -> Pointer);
                self.put_key(at + 1, table, copy);
            }
        }
    }

    fn generate(&mut self, program: &mut Program<'_>, at: usize) {
        // Software RSA keys take too long.
        let (table, selection) = (1 + at % (KEY_TYPES.len() - 1), program.choose(SELECTIONS));
        let functions = TABLES.keys[table];
        let context = call!(functions, 2, (
            provider() => Pointer, selection => c_int, program.params().list() => Given,
        ) -> Pointer);
        if context.is_null() {
            return;
        }
        for _ in 0..program.byte() % 3 {
            match (program.byte() & 1, self.keys[at % 4]) {
                (0, Some((of, key))) if of == table => {
                    call!(functions, 3, (context => Pointer, key => Pointer) -> c_int);
                }
                _ => {
                    call!(functions, 4, (context => Pointer, program.params().list() => Given) -> c_int);
                }
            }
        }
        if program.byte() & 1 == 0 {
            let made = call!(functions, 6, (context => Pointer, null_mut() => Pointer, null_mut() => Pointer) -> Pointer);
            self.put_key(at, table, made);
        }
        call!(functions, 7, (context => Pointer) -> ());
    }

    fn encode(&mut self, program: &mut Program<'_>, key: Key) {
        let Some(functions) = key.and_then(|(table, _)| TABLES.encoders[table]) else {
            return;
        };
        let context = call!(functions, 1, (provider() => Pointer) -> Pointer);
        call!(functions, 5, (context => Pointer, program.params().list() => Given) -> c_int);
        call!(functions, 10, (context => Pointer, program.choose(SELECTIONS) => c_int) -> c_int);
        call!(functions, 2, (context => Pointer) -> ());
    }

    fn cipher(&mut self, program: &mut Program<'_>, at: usize, key: Key) {
        let Some(context) = self.ciphers[at & 1] else {
            return;
        };
        let functions = TABLES.cipher;
        // NULL: the key that is there already.
        let key = match key {
            Some((0, key)) => key,
            _ => null_mut(),
        };
        match program.byte() % 7 {
            0 => {
                call!(functions, 2, (context => Pointer, key => Pointer, program.params().list() => Given) -> c_int);
            }
            1 => {
                call!(functions, 4, (context => Pointer, key => Pointer, program.params().list() => Given) -> c_int);
            }
            2 | 3 => {
                let id = program.choose(&[3, 5]);
                let data = match id {
                    5 => self.output.clone().into_boxed_slice(),
                    _ => program.message(),
                };
                self.keep(program, |out, len, room| {
                    call!(functions, id, (
                        context => Pointer, out => Room, len => Length, room => usize, data.as_ptr() => Bytes, data.len() => usize,
                    ) -> c_int)
                });
            }
            4 => {
                let copy = call!(functions, 7, (context => Pointer) -> Pointer);
                if !copy.is_null()
                    && let Some(old) = self.ciphers[at + 1 & 1].replace(copy)
                {
                    call!(functions, 6, (old => Pointer) -> ());
                }
            }
            5 => {
                call!(functions, 8, (context => Pointer, program.params().list() => Given) -> c_int);
            }
            _ => {
                call!(functions, 10, (context => Pointer, program.params().list() => Given) -> c_int);
            }
        }
    }

    fn signature(&mut self, program: &mut Program<'_>, at: usize, key: Key) {
        let Some((table, context)) = self.signatures[at >> 4 & 1] else {
            return;
        };
        let functions = TABLES.signatures[table];
        let key = match key {
            Some((of, key)) if of == SIGNATURES[table].1 => key,
            _ => null_mut(),
        };
        // Not each algorithm has all that is called here.
        match program.byte() % 20 {
            0 => { call!(functions, 2, (context => Pointer, key => Pointer, program.params().list() => Given) -> c_int, else 0); }
            1 => { call!(functions, 4, (context => Pointer, key => Pointer, program.params().list() => Given) -> c_int, else 0); }
            2 => { call!(functions, 6, (context => Pointer, key => Pointer, program.params().list() => Given) -> c_int, else 0); }
            id @ (3 | 4) => {
                let digest = program.choose(DIGESTS).map_or(null(), CStr::as_ptr);
                call!(functions, if id == 3 { 8 } else { 12 }, (
                    context => Pointer, digest => Text, key => Pointer, program.params().list() => Given,
                ) -> c_int, else 0);
            }
            5 | 6 => {
                let (id, data) = (program.choose(&[9, 13]), program.message());
                call!(functions, id, (context => Pointer, data.as_ptr() => Bytes, data.len() => usize) -> c_int, else 0);
            }
            7 => self.keep(program, |out, len, room| {
                call!(functions, 10, (context => Pointer, out => Room, len => Length, room => usize) -> c_int, else 0)
            }),
            8 | 9 => {
                // One-shot over a digest, over a message, or recovery.
                let id = program.choose(&[3, 11, 7]);
                let data = match id {
                    7 => self.output.clone().into_boxed_slice(),
                    _ => program.message(),
                };
                self.keep(program, |out, len, room| {
                    call!(functions, id, (
                        context => Pointer, out => Room, len => Length, room => usize, data.as_ptr() => Bytes, data.len() => usize,
                    ) -> c_int, else 0)
                });
            }
            10 => {
                let (id, data, signature) = (program.choose(&[5, 15]), program.message(), &self.output);
                call!(functions, id, (
                    context => Pointer, signature.as_ptr() => Bytes, signature.len() => usize,
                    data.as_ptr() => Bytes, data.len() => usize,
                ) -> c_int, else 0);
            }
            11 => {
                let signature = &self.output;
                call!(functions, 14, (context => Pointer, signature.as_ptr() => Bytes, signature.len() => usize) -> c_int, else 0);
            }
            12 => {
                let copy = call!(functions, 17, (context => Pointer) -> Pointer);
                if !copy.is_null() && let Some((table, old)) = self.signatures[(at >> 4) + 1 & 1].replace((table, copy)) {
                    call!(TABLES.signatures[table], 16, (old => Pointer) -> ());
                }
            }
            13 => { call!(functions, 18, (context => Pointer, program.params().list() => Given) -> c_int, else 0); }
            14 => { call!(functions, 20, (context => Pointer, program.params().list() => Given) -> c_int, else 0); }
            15 => {
                let id = program.choose(&[22, 24]);
                call!(functions, id, (context => Pointer, program.params().list() => Given) -> c_int, else 0);
            }
            16 => {
                let id = program.choose(&[27, 30]);
                call!(functions, id, (context => Pointer, key => Pointer, program.params().list() => Given) -> c_int, else 0);
            }
            17 => {
                let (id, data) = (program.choose(&[28, 31]), program.message());
                call!(functions, id, (context => Pointer, data.as_ptr() => Bytes, data.len() => usize) -> c_int, else 0);
            }
            18 => self.keep(program, |out, len, room| {
                call!(functions, 29, (context => Pointer, out => Room, len => Length, room => usize) -> c_int, else 0)
            }),
            _ => { call!(functions, 32, (context => Pointer) -> c_int, else 0); }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut program, mut slots) = (Program(data), Slots::default());
    let mut steps = 0;
    while !program.is_over() && steps < 60 {
        slots.step(&mut program);
        steps += 1;
    }
    drop(slots);
    check_errors();
});
