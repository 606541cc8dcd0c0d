//! The life of keys: made or imported, listed, changed, rotated, backed up, deleted and brought
//! back.

use std::collections::HashMap;

use azure_core::Result;
use azure_core::http::pager::Page;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, ImportKeyParameters, JsonWebKey, KeyAttributes,
    KeyClientGetKeyAttestationOptions, KeyClientGetKeyOptions,
    KeyClientListDeletedKeyPropertiesOptions, KeyClientListKeyPropertiesOptions,
    KeyClientListKeyPropertiesVersionsOptions, KeyClientUpdateKeyPropertiesOptions, KeyOperation,
    KeyType, RestoreKeyParameters, SignParameters, SignatureAlgorithm,
    UpdateKeyPropertiesParameters,
};
use azure_security_keyvault_keys::{KeyClient, ResourceExt};
use futures::TryStreamExt;

use crate::judge;
use crate::service::{
    CURVES, Made, OCT_SIZES, RSA_SIZES, Service, make, new_name, oct, owner, refusal, rsa,
    set_rotation_policy,
};

/// A version of a key, or the newest one.
async fn get(client: &KeyClient, name: &str, version: Option<&str>) -> Result<Made> {
    let options = KeyClientGetKeyOptions {
        key_version: version.map(str::to_owned),
        ..Default::default()
    };
    Made::of(client.get_key(name, Some(options)).await?.into_model()?)
}

/// The versions, oldest first.
async fn versions(client: &KeyClient, name: &str) -> Result<Vec<String>> {
    let listed = client.list_key_properties_versions(name, None)?;
    let listed: Vec<_> = listed.try_collect().await?;
    let version =
        |id: Result<azure_security_keyvault_keys::ResourceId>| id.map(|id| id.version.unwrap());
    listed
        .iter()
        .map(|one| version(one.resource_id()))
        .collect()
}

async fn delete(client: &KeyClient, key: &Made) -> Result<()> {
    let deleted = client.delete_key(&key.name, None).await?.into_model()?;
    assert!(deleted.scheduled_purge_date > deleted.deleted_date);
    assert!(
        deleted
            .recovery_id
            .unwrap()
            .ends_with(&format!("/deletedkeys/{}", key.name))
    );
    Ok(())
}

#[tokio::test]
async fn keys_of_every_kind_live_through_all_of_their_life() -> Result<()> {
    for service in Service::ALL {
        let client = service.owner()?;
        for parameters in service.kinds() {
            lives(&client, parameters).await?;
        }
    }
    Ok(())
}

/// From its creation to its second one, out of a backup.
async fn lives(client: &KeyClient, parameters: CreateKeyParameters) -> Result<()> {
    let first = make(client, parameters.clone()).await?;
    let id = format!("{}keys/{}/{}", client.endpoint(), first.name, first.version);
    assert_eq!(first.jwk.kid, Some(id));
    assert_eq!(first.jwk.kty, parameters.kty);
    assert_eq!(first.jwk.crv, parameters.curve);
    if parameters.curve.is_none() && parameters.kty != Some(KeyType::OctHsm) {
        let bits = first.jwk.n.as_ref().unwrap().len() * 8;
        assert_eq!(Some(bits as i32), parameters.key_size);
    }
    let got = get(client, &first.name, None).await?;
    assert_eq!(got.version, first.version);

    set_rotation_policy(client, &first.name).await?;
    let rotated = client.rotate_key(&first.name, None).await?;
    let rotated = Made::of(rotated.into_model()?)?;
    assert_ne!(rotated.version, first.version);
    assert_eq!(rotated.jwk.kty, first.jwk.kty);
    let both = [first.version.clone(), rotated.version.clone()];
    assert_eq!(versions(client, &first.name).await?, both);
    let newest = get(client, &first.name, None).await?;
    assert_eq!(newest.version, rotated.version);
    let older = get(client, &first.name, Some(&first.version)).await?;
    assert_eq!(older.jwk.n, first.jwk.n);

    let backup = client.backup_key(&first.name, None).await?.into_model()?;
    delete(client, &first).await?;
    let deleted = client.get_deleted_key(&first.name, None).await?;
    assert_eq!(
        deleted.into_model()?.resource_id()?.version,
        Some(rotated.version.clone())
    );
    let gone = get(client, &first.name, None).await.err().unwrap();
    assert_eq!(refusal(&gone), (404, "KeyNotFound"));
    let listed = client.list_deleted_key_properties(None)?;
    let listed: Vec<_> = listed.try_collect().await?;
    assert!(
        listed
            .iter()
            .any(|one| one.resource_id().unwrap().name == first.name)
    );
    let recovered = client.recover_deleted_key(&first.name, None).await?;
    assert_eq!(Made::of(recovered.into_model()?)?.version, rotated.version);
    assert_eq!(versions(client, &first.name).await?, both);

    delete(client, &first).await?;
    client.purge_deleted_key(&first.name, None).await?;
    let purged = client
        .get_deleted_key(&first.name, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&purged).0, 404);
    let backup = RestoreKeyParameters {
        key_backup: backup.value,
    };
    let restored = client.restore_key(backup.clone().try_into()?, None).await?;
    assert_eq!(Made::of(restored.into_model()?)?.version, rotated.version);
    assert_eq!(versions(client, &first.name).await?, both);
    let again = client
        .restore_key(backup.try_into()?, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&again), (409, "Conflict"));
    Ok(())
}

#[tokio::test]
async fn properties_are_updated() -> Result<()> {
    let client = owner()?;
    for parameters in Service::ManagedHsm.kinds() {
        let key = make(&client, parameters).await?;
        let tags = HashMap::from([("team".to_owned(), "signing".to_owned())]);
        let changes = UpdateKeyPropertiesParameters {
            key_attributes: Some(KeyAttributes {
                enabled: Some(false),
                ..Default::default()
            }),
            tags: Some(tags.clone()),
            ..Default::default()
        };
        let changed = client.update_key_properties(&key.name, changes.try_into()?, None);
        let changed = changed.await?.into_model()?;
        assert_eq!(changed.tags, Some(tags.clone()));
        let attributes = changed.attributes.unwrap();
        assert_eq!(attributes.enabled, Some(false));
        assert!(attributes.recoverable_days.is_some() && attributes.recovery_level.is_some());

        // A version, by its name; what isn't said stays.
        let changes = UpdateKeyPropertiesParameters {
            key_ops: Some(vec![KeyOperation::Verify]),
            ..Default::default()
        };
        let version = KeyClientUpdateKeyPropertiesOptions {
            key_version: Some(key.version.clone()),
            ..Default::default()
        };
        let changed = client.update_key_properties(&key.name, changes.try_into()?, Some(version));
        let changed = changed.await?.into_model()?;
        assert_eq!(changed.tags, Some(tags));
        assert_eq!(changed.attributes.unwrap().enabled, Some(false));
        assert_eq!(
            changed.key.unwrap().key_ops,
            Some(vec!["verify".to_owned()])
        );
    }
    Ok(())
}

async fn import(client: &KeyClient, jwk: JsonWebKey) -> Result<Made> {
    let parameters = ImportKeyParameters {
        hsm: Some(true),
        key: Some(jwk),
        ..Default::default()
    };
    let name = new_name();
    let imported = client.import_key(&name, parameters.try_into()?, None);
    Made::of(imported.await?.into_model()?)
}

async fn signs(
    client: &KeyClient,
    key: &Made,
    algorithm: SignatureAlgorithm,
    own: &JsonWebKey,
) -> Result<()> {
    let digest = vec![
        1;
        match algorithm {
            SignatureAlgorithm::Es384 => 48,
            SignatureAlgorithm::Es512 => 64,
            _ => 32,
        }
    ];
    let parameters = SignParameters {
        algorithm: Some(algorithm.clone()),
        value: Some(digest.clone()),
    };
    let signed = client.sign(&key.name, parameters.try_into()?, None);
    let signature = signed.await?.into_model()?.result.unwrap();
    assert!(
        judge::verifies(own, algorithm.as_ref(), &digest, &signature),
        "{algorithm}"
    );
    Ok(())
}

#[tokio::test]
async fn keys_of_every_kind_are_imported() -> Result<()> {
    for service in Service::ALL {
        let client = service.owner()?;
        rsa_and_ec_keys_are_imported(&client).await?;
    }
    let client = owner()?;
    for bits in OCT_SIZES {
        // What it does is tested with the operations.
        let jwk = JsonWebKey {
            kty: Some(KeyType::Oct),
            k: Some(vec![6; bits as usize / 8]),
            ..Default::default()
        };
        let key = import(&client, jwk).await?;
        assert_eq!(key.jwk.kty, Some(KeyType::OctHsm));
        assert!(key.jwk.k.is_none());
    }
    Ok(())
}

/// As keys in an HSM, which vaults have too.
async fn rsa_and_ec_keys_are_imported(client: &KeyClient) -> Result<()> {
    for bits in RSA_SIZES {
        let own = judge::rsa_jwk(&judge::new_rsa(bits));
        let key = import(client, own.clone()).await?;
        assert_eq!(key.jwk.kty, Some(KeyType::RsaHsm));
        // A vault writes a zero before the exponent.
        assert!(judge::public_key(&key.jwk).public_eq(&judge::public_key(&own)));
        assert!(key.jwk.d.is_none());
        signs(client, &key, SignatureAlgorithm::Ps256, &own).await?;
    }
    for (curve, algorithm) in CURVES.into_iter().zip([
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es256K,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::Es512,
    ]) {
        let own = judge::ec_jwk(curve.clone(), &judge::new_ec(&curve));
        let key = import(client, own.clone()).await?;
        assert_eq!(
            (key.jwk.kty, key.jwk.crv.as_ref()),
            (Some(KeyType::EcHsm), Some(&curve))
        );
        assert_eq!((&key.jwk.x, &key.jwk.y), (&own.x, &own.y));
        assert!(key.jwk.d.is_none());
        let key = get(client, &key.name, None).await?;
        signs(client, &key, algorithm, &own).await?;
    }
    Ok(())
}

#[tokio::test]
async fn lists_come_page_by_page() -> Result<()> {
    let client = owner()?;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(make(&client, oct(256)).await?.name);
    }
    // Other tests make keys meanwhile.
    let options = KeyClientListKeyPropertiesOptions {
        maxresults: Some(2),
        ..Default::default()
    };
    let mut names = Vec::new();
    let mut pages = client.list_key_properties(Some(options))?.into_pages();
    let mut sizes = Vec::new();
    while let Some(page) = pages.try_next().await? {
        let items = page.into_model()?.into_items().await?;
        sizes.push(items.len());
        names.extend(items.map(|one| one.resource_id().unwrap().name));
    }
    let (last, others) = sizes.split_last().unwrap();
    assert!(
        others.len() >= 2 && others.iter().all(|size| *size == 2) && *last <= 2,
        "{sizes:?}"
    );
    for name in &made {
        assert_eq!(
            names.iter().filter(|listed| *listed == name).count(),
            1,
            "{name}"
        );
    }

    for name in &made {
        client.delete_key(name, None).await?;
    }
    let options = KeyClientListDeletedKeyPropertiesOptions {
        maxresults: Some(1),
        ..Default::default()
    };
    let listed = client.list_deleted_key_properties(Some(options))?;
    let listed: Vec<_> = listed.try_collect().await?;
    for name in &made {
        let same = listed
            .iter()
            .filter(|one| one.resource_id().unwrap().name == *name);
        assert_eq!(same.count(), 1, "{name}");
        client.purge_deleted_key(name, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn versions_come_page_by_page() -> Result<()> {
    let client = owner()?;
    let first = make(&client, oct(128)).await?;
    set_rotation_policy(&client, &first.name).await?;
    let mut made = vec![first.version];
    for _ in 0..4 {
        let rotated = client.rotate_key(&first.name, None).await?;
        made.push(Made::of(rotated.into_model()?)?.version);
    }
    let options = KeyClientListKeyPropertiesVersionsOptions {
        maxresults: Some(2),
        ..Default::default()
    };
    let listed = client.list_key_properties_versions(&first.name, Some(options))?;
    let mut pages = listed.into_pages();
    let mut found: Vec<Vec<String>> = Vec::new();
    while let Some(page) = pages.try_next().await? {
        let items = page.into_model()?.into_items().await?;
        found.push(
            items
                .map(|one| one.resource_id().unwrap().version.unwrap())
                .collect(),
        );
    }
    let expected: Vec<_> = made.chunks(2).map(<[_]>::to_vec).collect();
    assert_eq!(found, expected);
    Ok(())
}

#[tokio::test]
async fn keys_have_attestations() -> Result<()> {
    let client = owner()?;
    for parameters in Service::ManagedHsm.kinds() {
        let key = make(&client, parameters).await?;
        let options = KeyClientGetKeyAttestationOptions {
            key_version: Some(key.version.clone()),
            ..Default::default()
        };
        let attested = client.get_key_attestation(&key.name, Some(options)).await?;
        let attested = attested.into_model()?;
        assert_eq!(attested.key.unwrap().kid, key.jwk.kid);
        let attestation = attested.attributes.unwrap().attestation.unwrap();
        let pem = String::from_utf8(attestation.certificate_pem_file.unwrap()).unwrap();
        assert!(pem.contains("BEGIN CERTIFICATE"), "{pem}");
        assert!(attestation.private_key_attestation.is_some());
        let symmetric = key.jwk.kty == Some(KeyType::OctHsm);
        assert_eq!(attestation.public_key_attestation.is_none(), symmetric);
    }
    Ok(())
}

#[tokio::test]
async fn a_public_exponent_is_chosen() -> Result<()> {
    let client = owner()?;
    let mut parameters = rsa(2048);
    parameters.public_exponent = Some(3);
    let key = make(&client, parameters).await?;
    assert_eq!(key.jwk.e, Some(vec![3]));
    Ok(())
}
