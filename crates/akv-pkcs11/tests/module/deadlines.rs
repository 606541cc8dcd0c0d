//! All that one call asks the HSM for is over by its deadline, however many requests it takes. The
//! HSM takes three seconds for each, and a call has five: one request ends, and the next one
//! doesn't.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use testing::emulator::Options;

use crate::certificates::{EC, PRIVATE, label};
use crate::support::{Hsm, P256, code, initialized, makes_calls, only, session};

/// A slow HSM with a key, and a call's time.
fn slow_hsm(body: &str) -> Hsm {
    let mut hsm = Hsm::start_with(Options {
        latency: "3000".parse().ok(),
        ..Options::default()
    });
    hsm.rest.create("k", body);
    hsm.configure(
        r#"{"tokens":[{"resourceName":"localhost"}],"operationTimeout":5,
            "allowDelete":true,"keyNames":"label"}"#,
    );
    hsm
}

#[test]
fn a_search_that_takes_several_requests_has_one_deadline() {
    if !makes_calls() {
        let hsm = slow_hsm(
            r#"{"kty":"EC-HSM","crv":"P-256",
                "tags":{"p11_pri_CKA_LABEL":"tagged","p11_pub_CKA_LABEL":"tagged"}}"#,
        );
        let made = hsm.requests().len();
        hsm.run();
        // By the name, and the list.
        let requests = hsm.requests();
        return assert!(requests.len() <= made + 2, "{requests:?}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let outcome = session.find_objects(&[PRIVATE, label("tagged")]);
    assert_eq!(code(outcome), RvError::DeviceError);
}

/// What is changed or copied is looked at first.
#[test]
fn a_change_has_one_deadline_with_the_look_at_what_is_changed() {
    if !makes_calls() {
        let hsm = slow_hsm(EC);
        let told = hsm.run();
        assert!(told.contains("C_SetAttributeValue: "), "{told}");
        assert!(told.contains("C_DestroyObject: "), "{told}");
        return assert!(told.contains("C_GenerateKeyPair: "), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = only(&session, &[PRIVATE, label("k")]);
    let changed = session.update_attributes(key, &[Attribute::Sign(false)]);
    assert_eq!(code(changed), RvError::DeviceError);
    assert_eq!(code(session.destroy_object(key)), RvError::DeviceError);
    // Whether the name is taken is asked first.
    let (private, public) = (
        [Attribute::Token(true), label("new")],
        [
            Attribute::Token(true),
            label("new"),
            Attribute::EcParams(P256.to_vec()),
        ],
    );
    let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private);
    assert_eq!(code(made), RvError::DeviceError);
}
