//! What outlives a restart, and what does not.

use super::*;
use crate::curve::Curve;
use crate::keys::KeyType;

const RULES: Rules = Rules {
    soft_delete: SoftDelete {
        retention_days: 7,
        purge_protection: false,
    },
    activated: true,
    max_keys: None,
    max_versions: None,
};

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
        external_key: None,
        sent_crv: None,
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
    let store = Store::open(&data, RULES).unwrap();
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

    let store = Store::open(&data, RULES).unwrap();
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
    let store = Store::open(&data, RULES).unwrap();
    for name in ["kept", "Gone"] {
        add(&store, name).unwrap();
        let name = name.to_ascii_lowercase();
        store.put(POLICIES, &name, &"policy").unwrap();
    }
    let deletion = store.delete("gone").unwrap().deletion.unwrap();
    assert_eq!(deletion.scheduled_purge_date - deletion.date, 7 * 86_400);
    store.purge_due(deletion.scheduled_purge_date - 1).unwrap();
    assert!(store.deleted("gone").is_some());
    store.purge_due(deletion.scheduled_purge_date).unwrap();
    for store in [store, Store::open(&data, RULES).unwrap()] {
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
    let store = Store::open(&data, RULES).unwrap();
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
    let store = Store::open(&data, RULES).unwrap();
    let id = add(&store, "k").unwrap();
    drop(store);
    let database = Connection::open(data.file(FILE)).unwrap();
    let older = "DROP TABLE documents; PRAGMA user_version = 1;";
    database.execute_batch(older).unwrap();
    drop(database);
    let store = Store::open(&data, RULES).unwrap();
    assert_eq!(store.active("k").unwrap().newest().id, id);
    store.put(SETTINGS, "s", &"true").unwrap();
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    drop(Store::open(&data, RULES).unwrap());
    Connection::open(data.file(FILE))
        .unwrap()
        .pragma_update(None, "user_version", 9)
        .unwrap();
    assert!(matches!(
        Store::open(&data, RULES),
        Err(Error::SchemaTooNew(9))
    ));
}

#[test]
fn ten_thousand_keys_are_opened_and_listed() {
    const KEYS: i64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
    let store = Store::open(&data, RULES).unwrap();
    let material = KeyMaterial::generate_ec(Curve::P256).unwrap();
    let private = material.to_private_bytes().unwrap();
    let encoded = serde_json::to_string(&metadata()).unwrap();
    {
        let mut database = store.writer();
        let transaction = database.transaction().unwrap();
        for number in 1..=KEYS {
            let id = format!("{number:032x}");
            let sealed = store.storage_key.seal(&id, &private).unwrap();
            let insert = "INSERT INTO keys (sequence, name) VALUES (?1, ?2)";
            let name = format!("k{number}");
            transaction.execute(insert, params![number, name]).unwrap();
            let insert = "INSERT INTO versions (id, key_sequence, ordinal, metadata, sealed_private) VALUES (?1, ?2, 0, ?3, ?4)";
            let row = params![id, number, encoded, sealed];
            transaction.execute(insert, row).unwrap();
        }
        transaction.commit().unwrap();
    }
    drop(store);
    let store = Store::open(&data, RULES).unwrap();
    let (mut after, mut listed) = (0, 0);
    loop {
        let page = store.list(false, after, 25);
        let Some(last) = page.last() else { break };
        after = last.sequence;
        listed += page.len();
    }
    assert_eq!(listed, 10_000);
    let key = store.active("K777").unwrap();
    assert_eq!(key.newest().material.public(), material.public());
}
