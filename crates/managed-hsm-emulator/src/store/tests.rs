//! What outlives a restart, and what does not.

use super::*;
use crate::keys::{Curve, KeyType};

fn metadata() -> Metadata {
    Metadata {
        kind: KeyType::Ec,
        software: false,
        key_ops: vec!["sign".to_owned()],
        enabled: true,
        exportable: false,
        created: 1,
        updated: 1,
        nbf: None,
        exp: None,
        tags: None,
        release_policy: None,
        certificate: None,
    }
}

fn add(store: &Store, name: &str) -> Result<String, StoreError> {
    let material = KeyMaterial::generate_ec(Curve::P256).unwrap();
    store
        .add_version(name, material, metadata())
        .map(|(_, version)| version.id.clone())
}

#[test]
fn a_reopened_store_has_every_version_change_and_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    let store = Store::open(&data).unwrap();
    let first = add(&store, "Key").unwrap();
    let second = add(&store, "kEY").unwrap();
    add(&store, "gone").unwrap();
    store
        .update_version("key", Some(&first), |metadata| {
            metadata.enabled = false;
            Ok(())
        })
        .unwrap();
    store.delete("gone").unwrap();
    drop(store);

    let store = Store::open(&data).unwrap();
    let key = store.active("key").unwrap();
    assert_eq!(key.name, "Key");
    assert_eq!(key.newest().id, second);
    assert!(!key.version(Some(&first)).unwrap().metadata.enabled);
    assert!(store.active("gone").is_none());
    assert!(matches!(add(&store, "gone"), Err(StoreError::Deleted)));
    store.recover("gone").unwrap();
    store.delete("gone").unwrap();
    store.purge("gone").unwrap();
    add(&store, "gone").unwrap();
}

#[test]
fn a_deleted_key_is_gone_with_its_rotation_policy_when_its_retention_ends() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    let store = Store::open(&data).unwrap();
    for name in ["kept", "Gone"] {
        add(&store, name).unwrap();
        let name = name.to_ascii_lowercase();
        store.put(POLICIES, &name, &"policy").unwrap();
    }
    let deletion = store.delete("gone").unwrap().deletion.unwrap();
    assert_eq!(
        deletion.scheduled_purge_date - deletion.date,
        RETENTION_DAYS * 86_400
    );
    store.purge_due(deletion.scheduled_purge_date - 1).unwrap();
    assert!(store.deleted("gone").is_some());
    store.purge_due(deletion.scheduled_purge_date).unwrap();
    for store in [store, Store::open(&data).unwrap()] {
        assert!(store.deleted("gone").is_none());
        assert!(store.active("kept").is_some());
        let policy = |name| store.document::<String>(POLICIES, name);
        assert_eq!((policy("gone"), policy("kept").is_some()), (None, true));
    }
}

#[test]
fn of_two_rotations_of_the_same_version_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    let store = Store::open(&data).unwrap();
    let first = add(&store, "k").unwrap();
    let rotate = || {
        let material = KeyMaterial::generate_ec(Curve::P256).unwrap();
        store.add_version_after("k", &first, material, metadata())
    };
    rotate().unwrap();
    assert!(matches!(rotate(), Err(StoreError::Superseded)));
    assert_eq!(store.active("k").unwrap().versions().len(), 2);
}

#[test]
fn a_database_of_the_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    let store = Store::open(&data).unwrap();
    let id = add(&store, "k").unwrap();
    drop(store);
    let database = Connection::open(data.file(FILE)).unwrap();
    let older = "DROP TABLE documents; PRAGMA user_version = 1;";
    database.execute_batch(older).unwrap();
    drop(database);
    let store = Store::open(&data).unwrap();
    assert_eq!(store.active("k").unwrap().newest().id, id);
    store.put(SETTINGS, "s", &"true").unwrap();
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    drop(Store::open(&data).unwrap());
    Connection::open(data.file(FILE))
        .unwrap()
        .pragma_update(None, "user_version", 9)
        .unwrap();
    assert!(matches!(Store::open(&data), Err(Error::SchemaTooNew(9))));
}
