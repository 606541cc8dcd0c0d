//! The module's start and end, slots, tokens, sessions: all without a request.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::RvError;
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{SessionState, UserType};
use cryptoki::slot::Limit;
use cryptoki::types::AuthPin;

use crate::support::{Hsm, code, initialized, makes_calls, module, session, slot};

#[test]
fn nothing_is_asked_of_the_hsm_before_it_is_needed() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        return assert_eq!(hsm.requests(), []);
    }
    let pkcs11 = initialized();
    let info = pkcs11.get_library_info().unwrap();
    assert_eq!(info.cryptoki_version().major(), 3);
    for function in [Function::GetInterface, Function::VerifySignature] {
        assert!(pkcs11.is_fn_supported(function), "{function}");
    }
    let slot = slot(&pkcs11);
    assert!(pkcs11.get_slot_info(slot).unwrap().token_present());
    let token = pkcs11.get_token_info(slot).unwrap();
    assert_eq!((token.label(), token.model()), ("localhost", "Managed HSM"));
    assert!(token.token_initialized() && token.rng() && !token.login_required());
    assert_eq!(token.serial_number().len(), 16);
    let mechanisms = pkcs11.get_mechanism_list(slot).unwrap();
    for type_ in &mechanisms {
        pkcs11.get_mechanism_info(slot, *type_).unwrap();
    }
    let pss = pkcs11
        .get_mechanism_info(slot, MechanismType::RSA_PKCS_PSS)
        .unwrap();
    assert!(pss.sign() && pss.verify() && pss.hardware());
    assert_eq!((pss.min_key_size(), pss.max_key_size()), (2048, 4096));
    let gcm = pkcs11
        .get_mechanism_info(slot, MechanismType::AES_GCM)
        .unwrap();
    assert!(gcm.encrypt() && gcm.decrypt() && gcm.wrap() && gcm.unwrap() && gcm.hardware());
    assert_eq!((gcm.min_key_size(), gcm.max_key_size()), (16, 32));
    let generation = pkcs11
        .get_mechanism_info(slot, MechanismType::AES_KEY_GEN)
        .unwrap();
    assert!(generation.generate() && !generation.encrypt());
    let session = session(&pkcs11);
    session.seed_random(&[1, 2, 3]).unwrap();
    let random = session.generate_random_vec(40).unwrap();
    assert!(random.len() == 40 && random.iter().any(|byte| *byte != 0));
    drop(session);
    pkcs11.finalize().unwrap();
}

#[test]
fn the_module_starts_and_ends_and_starts_again() {
    if !makes_calls() {
        Hsm::start().run();
        return;
    }
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let args = CInitializeArgs::new(CInitializeFlags::LIBRARY_CANT_CREATE_OS_THREADS);
    let before = code(pkcs11.get_slots_with_token());
    assert_eq!(before, RvError::CryptokiNotInitialized);
    pkcs11.initialize(args).unwrap();
    let again = code(pkcs11.initialize(args));
    assert_eq!(again, RvError::CryptokiAlreadyInitialized);
    let session = session(&pkcs11);
    pkcs11.clone().finalize().unwrap();
    let handle = session.handle();
    assert_eq!(
        code(session.get_session_info()),
        RvError::CryptokiNotInitialized
    );
    pkcs11.initialize(args).unwrap();
    assert_eq!(
        code(session.get_session_info()),
        RvError::SessionHandleInvalid
    );
    let new = crate::support::session(&pkcs11);
    assert_ne!(new.handle(), handle);
}

#[test]
fn sessions_are_counted_and_have_their_state() {
    if !makes_calls() {
        Hsm::start().run();
        return;
    }
    let pkcs11 = initialized();
    let slot = slot(&pkcs11);
    let counts = || {
        let token = pkcs11.get_token_info(slot).unwrap();
        (
            token.session_count().unwrap(),
            token.rw_session_count().unwrap(),
        )
    };
    let read_only = pkcs11.open_ro_session(slot).unwrap();
    let read_write = pkcs11.open_rw_session(slot).unwrap();
    assert_eq!(counts(), (2, 1));
    let token = pkcs11.get_token_info(slot).unwrap();
    assert!(matches!(token.max_session_count(), Limit::Infinite));
    let states = || {
        [&read_only, &read_write].map(|session| session.get_session_info().unwrap().session_state())
    };
    assert_eq!(states(), [SessionState::RoPublic, SessionState::RwPublic]);
    assert_eq!(code(read_only.logout()), RvError::UserNotLoggedIn);
    read_only.login(UserType::User, None).unwrap();
    assert_eq!(states(), [SessionState::RoUser, SessionState::RwUser]);
    assert_eq!(
        code(read_write.login(UserType::User, None)),
        RvError::UserAlreadyLoggedIn
    );
    read_write.logout().unwrap();
    let any_pin = AuthPin::new("whatever".into());
    read_write.login(UserType::User, Some(&any_pin)).unwrap();
    for (user, expected) in [
        (UserType::So, RvError::PinLocked),
        (UserType::ContextSpecific, RvError::OperationNotInitialized),
    ] {
        assert_eq!(code(read_only.login(user, Some(&any_pin))), expected);
    }
    drop(read_only);
    assert_eq!(counts(), (1, 1));
    drop(read_write);
    assert_eq!(counts(), (0, 0));
    // The last session has taken the login with it.
    let session = pkcs11.open_ro_session(slot).unwrap();
    let state = session.get_session_info().unwrap().session_state();
    assert_eq!(state, SessionState::RoPublic);
}

#[test]
fn slots_that_are_not_there_are_named() {
    if !makes_calls() {
        let told = Hsm::start().run();
        return assert!(told.contains("there is no slot 7; there are: 0"), "{told}");
    }
    let pkcs11 = initialized();
    let slot = 7u64.try_into().unwrap();
    for code in [
        code(pkcs11.get_slot_info(slot)),
        code(pkcs11.get_token_info(slot)),
        code(pkcs11.open_ro_session(slot)),
        code(pkcs11.get_mechanism_list(slot)),
    ] {
        assert_eq!(code, RvError::SlotIdInvalid);
    }
    assert_eq!(pkcs11.get_slot_event().unwrap(), None);
}
