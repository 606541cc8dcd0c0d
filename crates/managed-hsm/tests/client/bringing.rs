//! Keys that are brought, what symmetric ones authenticate, and versions.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, Key, sign};
use managed_hsm::{BroughtKey, KeyMaterial, KeyOperation, Life, MacAlgorithm};

use crate::support::{Hsm, uri, vault};

#[test]
fn a_key_that_is_brought_authenticates_and_is_asked_to_verify() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let brought = BroughtKey {
        material: KeyMaterial::Oct(vec![7; 48].into()),
        operations: vec![KeyOperation::Sign, KeyOperation::Verify],
        life: Life::default(),
        tags: vec![("a".to_owned(), "\"1\"".to_owned())],
    };
    let name = uri("mine").key;
    let key = client
        .import_key(&vault(), &name, &brought)
        .expect("it is taken in");
    assert_eq!(key.properties.tags["a"], "\"1\"");
    assert_eq!(key.operations, [KeyOperation::Sign, KeyOperation::Verify]);
    for (algorithm, digest) in [
        (MacAlgorithm::Hs256, HMAC_SHA256),
        (MacAlgorithm::Hs384, HMAC_SHA384),
    ] {
        let mac = client.mac(&key.id, algorithm, b"text").expect("a MAC");
        let expected = sign(&Key::new(digest, &[7; 48]), b"text");
        assert_eq!(mac, expected.as_ref());
        let verify = |mac: &[u8]| client.verify_mac(&key.id, algorithm, b"text", mac);
        assert!(verify(&mac).expect("a verdict"));
        assert!(!verify(&vec![0; mac.len()]).expect("a verdict"));
    }
    // The key is too short for it.
    let error = client
        .mac(&key.id, MacAlgorithm::Hs512, b"text")
        .unwrap_err();
    assert!(
        error.to_string().contains("requires a key of 64 bytes"),
        "{error}"
    );
    let too_large = BroughtKey {
        material: KeyMaterial::Oct(vec![7; 65].into()),
        operations: Vec::new(),
        life: Life::default(),
        tags: Vec::new(),
    };
    let error = client.import_key(&vault(), &name, &too_large).unwrap_err();
    assert!(error.to_string().starts_with("import key"), "{error}");
}

#[test]
fn versions_come_oldest_first() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let mut made = vec![client.get_key(&uri("k")).expect("the key").id.version];
    for _ in 0..2 {
        hsm.rest.rotate("k");
        made.push(client.get_key(&uri("k")).expect("the key").id.version);
    }
    let mut pages = client.versions(&vault(), &uri("k").key).expect("a list");
    let mut listed = Vec::new();
    while let Some(page) = pages.next_page(&client).expect("a page") {
        listed.extend(page.into_iter().filter_map(|item| item.uri.version));
    }
    assert_eq!(listed, made);
}
