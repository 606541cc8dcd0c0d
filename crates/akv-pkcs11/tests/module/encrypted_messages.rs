//! Many messages with one AES key, as PKCS#11 3.0 has them.

use cryptoki::error::RvError;
use cryptoki::mechanism::aead::{GcmMessageParams, GeneratorFunction};
use cryptoki::mechanism::{Mechanism, MessageParam};
use cryptoki::object::ObjectClass;
use openssl::symm::{Cipher, decrypt_aead};

use crate::encryption::{KEY, MESSAGE, key, run_with_aes};
use crate::support::{code, initialized, makes_calls, session};

/// A code of PKCS#11 3.0 that the crate doesn't know.
const AEAD_DECRYPT_FAILED: u64 = 0x42;

fn gcm_message<'a>(
    iv: &'a mut [u8],
    tag: &'a mut [u8],
    by: GeneratorFunction,
) -> GcmMessageParams<'a> {
    GcmMessageParams::new(iv, 0.into(), by, tag).unwrap()
}

fn param<'a>(iv: &'a mut [u8], tag: &'a mut [u8], by: GeneratorFunction) -> MessageParam<'a> {
    MessageParam::AesGcmMessage(gcm_message(iv, tag, by))
}

#[test]
fn messages_are_sealed_and_opened_one_after_another() {
    if !makes_calls() {
        return run_with_aes();
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = key(&session, "a256", ObjectClass::SECRET_KEY);
    let (generate, given) = (GeneratorFunction::Generate, GeneratorFunction::NoGenerate);
    let (mut iv, mut tag) = ([0; 12], [0; 16]);
    let mechanism = Mechanism::AesGcmMessage(gcm_message(&mut iv, &mut tag, generate));
    session.message_encrypt_init(&mechanism, key).unwrap();
    session.message_decrypt_init(&mechanism, key).unwrap();
    assert_eq!(
        code(session.message_encrypt_init(&mechanism, key)),
        RvError::OperationActive
    );
    let gcm = Cipher::aes_256_gcm();
    let mut ivs = Vec::new();
    for before in 0..3 {
        // Whatever lies in the places of both.
        let (mut iv, mut tag) = ([before; 12], [before; 16]);
        let sealing = param(&mut iv, &mut tag, generate);
        let sealed = session
            .encrypt_message(&sealing, b"header", MESSAGE)
            .unwrap();
        let opened = decrypt_aead(gcm, &KEY, Some(&iv), b"header", &sealed, &tag).unwrap();
        assert_eq!(opened, MESSAGE);
        let opening = param(&mut iv, &mut tag, given);
        let opened = session
            .decrypt_message(&opening, b"header", &sealed)
            .unwrap();
        assert_eq!(opened, MESSAGE);
        // One that is damaged is told of, and is not the end.
        let damaged = session.decrypt_message(&opening, b"other", &sealed);
        assert_eq!(
            code(damaged),
            RvError::UnknownErrorCode(AEAD_DECRYPT_FAILED)
        );
        ivs.push(iv);
    }
    ivs.dedup();
    assert_eq!(ivs.len(), 3);
    // In parts.
    let (mut iv, mut tag) = ([0; 12], [0; 16]);
    let first = param(&mut iv, &mut tag, generate);
    session.encrypt_message_begin(first, b"header").unwrap();
    let (one, other) = MESSAGE.split_at(5);
    let next = param(&mut iv, &mut tag, generate);
    let nothing = session.encrypt_message_next(next, one, false).unwrap();
    assert!(nothing.is_empty());
    let last = param(&mut iv, &mut tag, generate);
    let sealed = session.encrypt_message_next(last, other, true).unwrap();
    let opened = decrypt_aead(gcm, &KEY, Some(&iv), b"header", &sealed, &tag).unwrap();
    assert_eq!(opened, MESSAGE);
    for (by, fixed) in [
        (GeneratorFunction::NoGenerate, 0u64),
        (GeneratorFunction::GenerateCounter, 0),
        (GeneratorFunction::Generate, 32),
    ] {
        let params = GcmMessageParams::new(&mut iv, fixed.into(), by, &mut tag).unwrap();
        let refused = session.encrypt_message(&MessageParam::AesGcmMessage(params), b"", MESSAGE);
        assert_eq!(code(refused), RvError::MechanismParamInvalid);
    }
    session.message_encrypt_final().unwrap();
    session.message_decrypt_final().unwrap();
    assert_eq!(
        code(session.message_encrypt_final()),
        RvError::OperationNotInitialized
    );
}
