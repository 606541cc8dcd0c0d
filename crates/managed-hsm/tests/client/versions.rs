//! Which version of the service's API requests name, and what an older one does without.

use managed_hsm::{
    BroughtKey, Client, Decryption, Encryption, EncryptionAlgorithm, Error, Guid, Key, KeyMaterial,
    Life, NewKey, NewKeyKind, ParameterSet, PublicKey, RoleScope, SignatureAlgorithm, Update,
};

use crate::support::{Hsm, says, uri, vault};

const PREVIEW: &str = "2026-05-01-preview";

fn client(hsm: &Hsm, version: &str) -> Client {
    let mut settings = hsm.settings();
    settings.api_version = version.parse().expect("a version");
    Client::new(settings)
}

fn ml_dsa(set: ParameterSet) -> NewKey {
    NewKey {
        kind: NewKeyKind::MlDsa(set),
        ..NewKey::default()
    }
}

#[test]
fn a_key_of_ml_dsa_is_made_loaded_and_signs_by_its_message_representative() {
    let hsm = Hsm::start();
    let client = client(&hsm, PREVIEW);
    for set in ParameterSet::ALL {
        let uri = uri(set.name());
        let made = client
            .create_key(&uri.vault, &uri.key, &ml_dsa(set))
            .expect("it is made");
        let key = client.get_key(&uri).expect("it is there");
        assert_eq!(key.id, made.id);
        let PublicKey::MlDsa {
            set: of,
            key: public,
            ..
        } = &key.public
        else {
            panic!("{:?}", key.public);
        };
        assert_eq!((*of, public.len()), (set, set.public_key_len()));
        let algorithm = SignatureAlgorithm::MlDsa(set);
        let signature = client.sign(&key.id, algorithm, &[7; 64]).expect("it signs");
        assert_eq!(signature.len(), set.signature_len());
        let error = client.sign(&key.id, algorithm, &[7; 63]);
        says(
            &error.expect_err("it has another length"),
            &["HTTP 400", "63 bytes"],
        );
    }
}

#[test]
fn an_older_version_makes_and_loads_no_such_keys_and_the_setting_is_named() {
    let hsm = Hsm::start();
    let uri = uri("m");
    let key = ml_dsa(ParameterSet::MlDsa44);
    client(&hsm, PREVIEW)
        .create_key(&uri.vault, &uri.key, &key)
        .expect("it is made");
    for version in ["7.4", "2025-07-01", "2026-01-01-preview"] {
        let client = client(&hsm, version);
        let before = hsm.emulator.requests.list().len();
        let made = client.create_key(&uri.vault, &uri.key, &key);
        assert_eq!(hsm.emulator.requests.list().len(), before);
        let update = client.update_key(&uri, &Update::default());
        for (operation, outcome) in [
            ("create key", made),
            ("load key", client.get_key(&uri)),
            ("update key", update),
        ] {
            let error = outcome.expect_err("the version has no such keys");
            assert!(matches!(error, Error::ApiVersion { .. }), "{error}");
            let named = format!("requests name {version}");
            says(
                &error,
                &[operation, ":m", PREVIEW, &named, "AKV_API_VERSION"],
            );
        }
        // Others are there as always.
        client
            .get_key(&crate::support::uri("k"))
            .expect("it is there");
    }
}

#[test]
fn an_external_key_is_made_by_its_id_shown_and_used() {
    let hsm = Hsm::start();
    let client = client(&hsm, "2026-04-01");
    let key = NewKey {
        kind: NewKeyKind::External("ec-7".parse().expect("an id")),
        ..NewKey::default()
    };
    let uri = uri("x");
    let made = client.create_key(&uri.vault, &uri.key, &key);
    let made = made.expect("it is made");
    let shown = client.get_key(&uri).expect("it is there");
    let external = |key: &Key| {
        key.properties
            .external_key
            .as_ref()
            .map(ToString::to_string)
    };
    assert_eq!(external(&shown).as_deref(), Some("ec-7"));
    assert_eq!(shown, made);
    let signed = client.sign(&shown.id, SignatureAlgorithm::Es256, &[7; 32]);
    assert_eq!(signed.expect("it signs").len(), 64);
    let own = client.get_key(&crate::support::uri("k"));
    assert_eq!(external(&own.expect("it is there")), None);

    // Making one needs no setting, since a stable version has them.
    let client = self::client(&hsm, "2025-07-01");
    let made = client.create_key(&uri.vault, &uri.key, &key);
    assert_eq!(
        external(&made.expect("it is made")).as_deref(),
        Some("ec-7")
    );
    let shown = client.get_key(&uri).expect("it is there");
    assert_eq!(external(&shown), None);
}

#[test]
fn what_a_later_stable_version_brought_needs_no_setting() {
    let hsm = Hsm::start();
    hsm.rest.create("a", r#"{"kty":"oct-HSM","key_size":256}"#);
    let client = client(&hsm, "7.4");
    let key = client.get_key(&uri("a")).expect("it is there").id;
    let algorithm = EncryptionAlgorithm::CkmAesKeyWrapPad;
    let wrapped = client.wrap_key(&key, algorithm, &[7; 20]);
    let wrapped = wrapped.expect("it is wrapped");
    let unwrapped = client.unwrap_key(&key, algorithm, &wrapped);
    assert_eq!(*unwrapped.expect("it is unwrapped"), [7; 20]);
}

/// 7.1 knows RSA and EC keys alone.
#[test]
fn what_stable_versions_brought_to_7_1_needs_no_setting() {
    let hsm = Hsm::start();
    let client = client(&hsm, "7.1");
    let random = client.random_bytes(&vault(), 130);
    assert_eq!(random.expect("random bytes").len(), 130);

    let roles = client.role_definitions(&vault()).expect("roles");
    let (somebody, role) = (Guid::random(), roles[0].id);
    let assigned = client.assign_role(&vault(), &RoleScope::Keys, somebody, role);
    let assigned = assigned.expect("it is assigned");
    let listed = client.role_assignments(&vault(), &RoleScope::Keys);
    let listed = listed.expect("assignments");
    assert!(listed.iter().any(|one| one.is_of(somebody, role)));
    let removed = client.remove_role_assignment(&vault(), &RoleScope::Keys, assigned.id);
    removed.expect("it is removed");

    let brought = BroughtKey {
        material: KeyMaterial::Oct(vec![7; 32].into()),
        operations: Vec::new(),
        life: Life::default(),
        tags: Vec::new(),
    };
    let brought = client.import_key(&vault(), &uri("brought").key, &brought);
    let made = NewKey {
        kind: NewKeyKind::Oct { bits: 256 },
        ..NewKey::default()
    };
    let made = client.create_key(&vault(), &uri("made").key, &made);
    for key in [brought.expect("it is taken in"), made.expect("it is made")] {
        let (key, algorithm) = (key.id, EncryptionAlgorithm::A256Gcm);
        let encryption = Encryption {
            algorithm,
            iv: None,
            aad: None,
        };
        let encrypted = client.encrypt(&key, &encryption, b"text");
        let encrypted = encrypted.expect("it is encrypted");
        let decryption = Decryption {
            algorithm,
            iv: encrypted.iv.as_deref(),
            aad: None,
            tag: encrypted.tag.as_deref(),
        };
        let decrypted = client.decrypt(&key, &decryption, &encrypted.ciphertext);
        assert_eq!(*decrypted.expect("it is decrypted"), *b"text");
        let algorithm = EncryptionAlgorithm::A256Kw;
        let wrapped = client.wrap_key(&key, algorithm, &[7; 16]);
        let unwrapped = client.unwrap_key(&key, algorithm, &wrapped.expect("it is wrapped"));
        assert_eq!(*unwrapped.expect("it is unwrapped"), [7; 16]);
    }
}
