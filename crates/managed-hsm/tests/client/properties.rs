//! What the service keeps of a key beside the key, and how it is changed; the tenant.

use managed_hsm::{KeyOperation, Update};
use testing::emulator::TENANT;

use crate::support::{Hsm, uri, vault};

#[test]
fn tags_and_times_come_with_a_key_and_in_a_list_and_can_be_changed() {
    let hsm = Hsm::start();
    let client = hsm.client();
    hsm.rest.create(
        "tagged",
        r#"{"kty":"EC-HSM","crv":"P-256","tags":{"a":"1"},"attributes":{"nbf":1,"exp":4102444800}}"#,
    );
    let key = client.get_key(&uri("tagged")).expect("the key");
    assert_eq!(key.properties.tags["a"], "1");
    let times = (key.properties.not_before, key.properties.expires);
    assert_eq!(times, (Some(1), Some(4_102_444_800)));
    assert!(key.properties.created.is_some() && !key.properties.exportable);
    let mut pages = client.keys(&vault()).expect("a list");
    let page = pages
        .next_page(&client)
        .expect("a page")
        .expect("the first");
    let listed = page.iter().find(|item| item.uri.key.as_str() == "tagged");
    let listed = listed.expect("it is in the list");
    assert_eq!(listed.properties, key.properties);

    let mut tags = key.properties.tags.clone();
    tags.insert("b".to_owned(), "2".to_owned());
    let update = Update {
        operations: Some(vec![KeyOperation::Verify]),
        expires: Some(4_102_444_801),
        tags: Some(tags.clone()),
        ..Update::default()
    };
    let changed = client.update_key(&key.id.clone().into(), &update);
    let changed = changed.expect("it is changed");
    assert_eq!(changed.id, key.id);
    assert_eq!(changed.operations, [KeyOperation::Verify]);
    assert_eq!(changed.properties.tags, tags);
    assert_eq!(changed.properties.not_before, Some(1));
    assert_eq!(changed.properties.expires, Some(4_102_444_801));
    let other = client.get_key(&uri("k")).expect("the key");
    assert!(other.properties.tags.is_empty());
    let error = client.update_key(&uri("nobody"), &update).unwrap_err();
    assert!(error.to_string().starts_with("update key"), "{error}");
}

#[test]
fn the_tenant_is_told_to_those_who_have_no_token() {
    let hsm = Hsm::start();
    let client = hsm.client();
    assert_eq!(client.tenant(&vault()).expect("a tenant"), TENANT);
}
