//! Encryption and decryption, also of many messages with one key; keys that are wrapped, unwrapped
//! and made.

use std::ptr::null_mut;
use std::sync::atomic::Ordering;

use cryptoki_sys::*;

use crate::input::Program;
use crate::orders::{Call, Operation};
use crate::{Calls, MADE, MOST_KEYS, begins};

impl Calls {
    pub fn encryption_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.cipher(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let room = self.room(program);
        let (output, mut room_len) = room;
        let place = &raw mut room_len;
        let (call, code) = match program.byte() % 8 {
            0..3 => (begins(given), call!(C_EncryptInit(session, given, object))),
            3 | 4 => {
                let code = call!(C_Encrypt(session, data, len, output, place));
                (Call::Whole, code)
            }
            5 => {
                let code = call!(C_EncryptUpdate(session, data, len, output, place));
                (Call::Part, code)
            }
            6 => (Call::Last, call!(C_EncryptFinal(session, output, place))),
            // No place for a length.
            _ => {
                let code = call!(C_Encrypt(session, data, len, output, null_mut()));
                assert_ne!(code, CKR_OK, "a ciphertext without a length");
                self.orders
                    .called(session, Operation::Encrypt, Call::Whole, false, code);
                return;
            }
        };
        if !matches!(call, Call::Begin | Call::Cancel) {
            self.note_result(code, room, room_len);
        }
        let asks = output.is_null();
        self.orders
            .called(session, Operation::Encrypt, call, asks, code);
    }

    pub fn decryption_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.cipher(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let room = self.room(program);
        let (output, mut room_len) = room;
        let place = &raw mut room_len;
        let (call, code) = match program.byte() % 7 {
            0..3 => (begins(given), call!(C_DecryptInit(session, given, object))),
            3 | 4 => {
                let code = call!(C_Decrypt(session, data, len, output, place));
                (Call::Whole, code)
            }
            5 => {
                let code = call!(C_DecryptUpdate(session, data, len, output, place));
                (Call::Part, code)
            }
            _ => (Call::Last, call!(C_DecryptFinal(session, output, place))),
        };
        if !matches!(call, Call::Begin | Call::Cancel) {
            self.note_result(code, room, room_len);
        }
        let asks = output.is_null();
        self.orders
            .called(session, Operation::Decrypt, call, asks, code);
    }

    /// Many messages with one key.
    pub fn message_encryption_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = match program.byte() % 4 {
            0 => self.cipher(program),
            // The parameter comes with each message.
            _ => Some(CK_MECHANISM {
                mechanism: CKM_AES_GCM,
                pParameter: null_mut(),
                ulParameterLen: 0,
            }),
        };
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (parameter, parameter_len) = self.gcm_message(program);
        let parameter = parameter.cast();
        let (aad, aad_len) = self.input(program);
        let (data, len) = self.input(program);
        let room = self.room(program);
        let (output, mut room_len) = room;
        let place = &raw mut room_len;
        let flags = program.choose(&[0, CKF_END_OF_MESSAGE]);
        let next = match flags {
            0 => Call::MessagePart,
            _ => Call::MessageLast,
        };
        let encrypts = program.byte() % 2 == 0;
        let (call, code) = match (program.byte() % 6, encrypts) {
            (0 | 1, true) => (
                begins(given),
                call!(C_MessageEncryptInit(session, given, object)),
            ),
            (0 | 1, false) => (
                begins(given),
                call!(C_MessageDecryptInit(session, given, object)),
            ),
            (2, true) => (
                Call::Message,
                call!(C_EncryptMessage(
                    session,
                    parameter,
                    parameter_len,
                    aad,
                    aad_len,
                    data,
                    len,
                    output,
                    place
                )),
            ),
            (2, false) => (
                Call::Message,
                call!(C_DecryptMessage(
                    session,
                    parameter,
                    parameter_len,
                    aad,
                    aad_len,
                    data,
                    len,
                    output,
                    place
                )),
            ),
            (3, true) => (
                Call::MessageBegin,
                call!(C_EncryptMessageBegin(
                    session,
                    parameter,
                    parameter_len,
                    aad,
                    aad_len
                )),
            ),
            (3, false) => (
                Call::MessageBegin,
                call!(C_DecryptMessageBegin(
                    session,
                    parameter,
                    parameter_len,
                    aad,
                    aad_len
                )),
            ),
            (4, true) => (
                next,
                call!(C_EncryptMessageNext(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    len,
                    output,
                    place,
                    flags
                )),
            ),
            (4, false) => (
                next,
                call!(C_DecryptMessageNext(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    len,
                    output,
                    place,
                    flags
                )),
            ),
            (_, true) => (Call::End, call!(C_MessageEncryptFinal(session))),
            (_, false) => (Call::End, call!(C_MessageDecryptFinal(session))),
        };
        if matches!(call, Call::Message | Call::MessagePart | Call::MessageLast) {
            self.note_result(code, room, room_len);
        }
        let operation = match encrypts {
            true => Operation::MessageEncrypt,
            false => Operation::MessageDecrypt,
        };
        let asks = output.is_null();
        self.orders.called(session, operation, call, asks, code);
    }

    pub fn wrapping_step(&mut self, program: &mut Program<'_>) {
        let (session, by) = (self.session(program), self.object(program));
        // A key of the program's own can be wrapped.
        let wrapped = match program.byte() % 4 {
            0 => self.object(program),
            _ => Self::handle(program, &self.made),
        };
        let mut mechanism = self.cipher(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let room = self.room(program);
        let (output, mut room_len) = room;
        let (data, len) = self.input(program);
        let mut template = self.template(program);
        let (attributes, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let mut made = 0;
        let code = match program.byte() % 4 {
            0 | 1 => {
                let code = call!(C_WrapKey(
                    session,
                    given,
                    by,
                    wrapped,
                    output,
                    &mut room_len
                ));
                self.note_result(code, room, room_len);
                code
            }
            2 => {
                let code = call!(C_UnwrapKey(
                    session, given, by, data, len, attributes, count, &mut made
                ));
                self.note_made(code, made);
                code
            }
            _ if MADE.load(Ordering::Relaxed) >= MOST_KEYS => return,
            _ => {
                let mut generation = CK_MECHANISM {
                    mechanism: program.choose(&[
                        CKM_AES_KEY_GEN,
                        CKM_GENERIC_SECRET_KEY_GEN,
                        CKM_AES_CBC,
                    ]),
                    pParameter: null_mut(),
                    ulParameterLen: 0,
                };
                let by = &raw mut generation;
                let code = call!(C_GenerateKey(session, by, attributes, count, &mut made));
                if code == CKR_OK {
                    MADE.fetch_add(1, Ordering::Relaxed);
                }
                self.note_made(code, made);
                code
            }
        };
        self.orders.check_session(session, code);
    }
}
