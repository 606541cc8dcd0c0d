//! What the module says of itself where the standard has no words: the versions of its interface,
//! the names of its mechanisms, and what the HSM does of them. `akv pkcs11 info` asks for it.

use cryptoki_sys::*;
use managed_hsm::Service;
use serde_json::json;

use crate::attributes::CKA_AKV_CREATED;
use crate::configuration::Options;
use crate::ffi::tables;
use crate::mechanisms::{MECHANISMS, Mechanism};

/// An attribute of profiles, beside the standard's: all mechanisms, as a JSON array.
pub(crate) const CKA_AKV_MECHANISMS: CK_ATTRIBUTE_TYPE = CKA_AKV_CREATED + 1;

/// Another one: the versions of the interface, as a JSON array.
pub(crate) const CKA_AKV_INTERFACES: CK_ATTRIBUTE_TYPE = CKA_AKV_CREATED + 2;

/// The versions of the interface, which C_GetInfo tells only one of.
pub(crate) fn of_interfaces() -> Vec<u8> {
    serde_json::Value::from(tables::versions())
        .to_string()
        .into_bytes()
}

/// What each flag stands for, and whether a public key does as well.
const USES: [(CK_FLAGS, &str, bool); 15] = [
    (CKF_GENERATE, "generate", false),
    (CKF_GENERATE_KEY_PAIR, "generate key pairs", false),
    (CKF_SIGN, "sign", false),
    (CKF_MESSAGE_SIGN, "sign messages", false),
    (CKF_SIGN_RECOVER, "sign with recovery", false),
    (CKF_DECRYPT, "decrypt", false),
    (CKF_UNWRAP, "unwrap", false),
    (CKF_MESSAGE_DECRYPT, "decrypt messages", false),
    (CKF_VERIFY, "verify", true),
    (CKF_MESSAGE_VERIFY, "verify messages", true),
    (CKF_VERIFY_RECOVER, "verify with recovery", true),
    (CKF_ENCRYPT, "encrypt", true),
    (CKF_WRAP, "wrap", true),
    (CKF_MESSAGE_ENCRYPT, "encrypt messages", true),
    (CKF_DIGEST, "digest", true),
];

/// All mechanisms that a service has: name, sizes of keys in bits (null without sizes), what the
/// HSM does, what is done here.
pub(crate) fn of_mechanisms(options: &Options, service: Service) -> Vec<u8> {
    let there = MECHANISMS.iter().filter(|known| known.is_of(service));
    let all = there.map(|mechanism| {
        let is_secret = mechanism.key_type() == Some(CKK_AES);
        // Secret keys have no public half: whatever is done with one is done in the HSM.
        let uses = |is_here: bool| {
            uses(mechanism, options, |public| {
                (public && !is_secret) == is_here
            })
        };
        json!({
            "name": mechanism.name,
            "bits": mechanism.key_bits(),
            "in_hsm": uses(false),
            "here": uses(true),
        })
    });
    serde_json::Value::from_iter(all).to_string().into_bytes()
}

fn uses(
    mechanism: &Mechanism,
    options: &Options,
    is_wanted: impl Fn(bool) -> bool,
) -> Vec<&'static str> {
    let flags = mechanism.flags(options);
    let found = USES
        .iter()
        .filter(|(flag, _, public)| flags & flag != 0 && is_wanted(*public));
    found.map(|(_, words, _)| *words).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_versions_of_the_interface_are_told_from_the_oldest_on() {
        assert_eq!(of_interfaces(), br#"["2.40","3.0","3.2"]"#);
    }

    #[test]
    fn all_that_a_mechanism_does_is_told_with_its_place() {
        let told = of_mechanisms(&Options::default(), Service::ManagedHsm);
        let told: Value = serde_json::from_slice(&told).unwrap();
        let told = told.as_array().unwrap();
        assert_eq!(told.len(), MECHANISMS.len());
        let of = |name: &str| told.iter().find(|one| one["name"] == name).unwrap();
        let rsa = of("CKM_RSA_PKCS");
        assert_eq!(rsa["bits"], json!([2048, 4096]));
        let in_hsm = ["sign", "sign messages", "decrypt", "unwrap"];
        assert_eq!(rsa["in_hsm"], json!(in_hsm));
        let here = [
            "verify",
            "verify messages",
            "verify with recovery",
            "encrypt",
            "wrap",
        ];
        assert_eq!(rsa["here"], json!(here));
        let gcm = of("CKM_AES_GCM");
        assert_eq!(
            (&gcm["bits"], &gcm["here"]),
            (&json!([128, 256]), &json!([]))
        );
        assert_eq!(of("CKM_SHA3_256")["bits"], Value::Null);
        // No flag is left out, but for those that say how and not what.
        let told_of = USES.iter().fold(0, |all, (flag, ..)| all | flag);
        let how = CKF_HW | CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME | CKF_EC_UNCOMPRESS;
        for mechanism in MECHANISMS {
            let flags = mechanism.flags(&Options::default());
            assert_eq!(flags & !told_of & !how, 0, "{}", mechanism.name);
        }
    }
}
