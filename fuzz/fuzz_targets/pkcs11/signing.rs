//! Signatures and verifications, also of many messages with one key.

use std::ffi::c_void;
use std::ptr::null_mut;

use cryptoki_sys::CKR_OK;

use crate::input::Program;
use crate::orders::{Call, Operation};
use crate::{Calls, begins};

impl Calls {
    pub fn signing_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let room = self.room(program);
        let (place, mut room_len) = room;
        let (sign, recover) = (Operation::Sign, Operation::SignRecover);
        let (operation, call, code) = match program.byte() % 9 {
            0..3 => (
                sign,
                begins(given),
                call!(C_SignInit(session, given, object)),
            ),
            3 | 4 => {
                let code = call!(C_Sign(session, data, len, place, &mut room_len));
                (sign, Call::Whole, code)
            }
            5 => {
                let code = call!(C_SignUpdate(session, data, len));
                self.orders.called(session, sign, Call::Part, false, code);
                return;
            }
            6 => {
                let code = call!(C_SignFinal(session, place, &mut room_len));
                (sign, Call::Last, code)
            }
            7 => {
                let code = call!(C_SignRecoverInit(session, given, object));
                (recover, begins(given), code)
            }
            _ => {
                let code = call!(C_SignRecover(session, data, len, place, &mut room_len));
                (recover, Call::Whole, code)
            }
        };
        if !matches!(call, Call::Begin | Call::Cancel) {
            self.note_result(code, room, room_len);
        }
        self.orders
            .called(session, operation, call, place.is_null(), code);
    }

    pub fn verifying_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (data, len) = self.input(program);
        let (signature, signature_len) = self.input(program);
        let room = self.room(program);
        let (place, mut room_len) = room;
        let first = Operation::VerifySignature;
        let (verify, recover) = (Operation::Verify, Operation::VerifyRecover);
        let (operation, call, code) = match program.byte() % 12 {
            0..3 => (
                verify,
                begins(given),
                call!(C_VerifyInit(session, given, object)),
            ),
            3 => {
                let code = call!(C_Verify(session, data, len, signature, signature_len));
                (verify, Call::Whole, code)
            }
            4 => (
                verify,
                Call::Part,
                call!(C_VerifyUpdate(session, data, len)),
            ),
            5 => {
                let code = call!(C_VerifyFinal(session, signature, signature_len));
                (verify, Call::Last, code)
            }
            6 => {
                let code = call!(C_VerifyRecoverInit(session, given, object));
                (recover, begins(given), code)
            }
            7 => {
                let code = call!(C_VerifyRecover(
                    session,
                    signature,
                    signature_len,
                    place,
                    &mut room_len
                ));
                self.note_result(code, room, room_len);
                let asks = place.is_null();
                self.orders
                    .called(session, recover, Call::Whole, asks, code);
                return;
            }
            8 => {
                let code = call!(C_VerifySignatureInit(
                    session,
                    given,
                    object,
                    signature,
                    signature_len
                ));
                (first, begins(given), code)
            }
            9 => (
                first,
                Call::Whole,
                call!(C_VerifySignature(session, data, len)),
            ),
            10 => (
                first,
                Call::Part,
                call!(C_VerifySignatureUpdate(session, data, len)),
            ),
            _ => (first, Call::Last, call!(C_VerifySignatureFinal(session))),
        };
        self.orders.called(session, operation, call, false, code);
    }

    /// Many messages with one key.
    pub fn message_step(&mut self, program: &mut Program<'_>) {
        let (session, object) = (self.session(program), self.object(program));
        let mut mechanism = self.mechanism(program);
        let given = mechanism.as_mut().map_or(null_mut(), |it| &raw mut *it);
        let (parameter, parameter_len) = match program.byte() % 4 {
            0 => self.input(program),
            _ => (null_mut(), 0),
        };
        let parameter: *mut c_void = parameter.cast();
        let (data, len) = self.input(program);
        let (signature, signature_len) = self.input(program);
        let room = self.room(program);
        let (output, mut room_len) = room;
        let place = match program.byte() % 3 {
            0 => null_mut(),
            _ => &raw mut room_len,
        };
        let asks = output.is_null() && !place.is_null();
        // A part without a place for the length, or without a signature, is not the last.
        let next = |is_last| match is_last {
            true => Call::MessageLast,
            false => Call::MessagePart,
        };
        let (sign, verify) = (Operation::MessageSign, Operation::MessageVerify);
        let (operation, call, code) = match program.byte() % 12 {
            0 | 1 => (
                sign,
                begins(given),
                call!(C_MessageSignInit(session, given, object)),
            ),
            2 => {
                let code = call!(C_SignMessage(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    len,
                    output,
                    place
                ));
                (sign, Call::Message, code)
            }
            3 => {
                let code = call!(C_SignMessageBegin(session, parameter, parameter_len));
                (sign, Call::MessageBegin, code)
            }
            4 => {
                let code = call!(C_SignMessageNext(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    len,
                    output,
                    place
                ));
                (sign, next(!place.is_null()), code)
            }
            5 => (sign, Call::End, call!(C_MessageSignFinal(session))),
            6 | 7 => (
                verify,
                begins(given),
                call!(C_MessageVerifyInit(session, given, object)),
            ),
            8 => {
                let code = call!(C_VerifyMessage(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    len,
                    signature,
                    signature_len
                ));
                (verify, Call::Message, code)
            }
            9 => {
                let code = call!(C_VerifyMessageBegin(session, parameter, parameter_len));
                (verify, Call::MessageBegin, code)
            }
            10 => {
                let code = call!(C_VerifyMessageNext(
                    session,
                    parameter,
                    parameter_len,
                    data,
                    len,
                    signature,
                    signature_len
                ));
                (verify, next(!signature.is_null()), code)
            }
            _ => (verify, Call::End, call!(C_MessageVerifyFinal(session))),
        };
        let has_result = matches!(call, Call::Message | Call::MessageLast) && operation == sign;
        if has_result && !place.is_null() {
            self.note_result(code, room, room_len);
        }
        let asks = asks && operation == sign;
        self.orders.called(session, operation, call, asks, code);
        assert!(code != CKR_OK || place.is_null() || output.is_null() || room_len <= room.1);
    }
}
