//! What goes wrong arrives as the kind of error that the SDK has for it, with the service's code.

use azure_core::Result;
use azure_core::error::ErrorKind;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, GetRandomBytesParameters, KeyAttributes, KeyOperation,
    RestoreKeyParameters, SignParameters, SignatureAlgorithm,
};

use crate::service::{CURVES, client_of, ec, make, new_name, oct, owner, refusal, rsa, variable};

fn sign_zeros(algorithm: SignatureAlgorithm) -> SignParameters {
    SignParameters {
        algorithm: Some(algorithm),
        value: Some(vec![0; 32]),
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() -> Result<()> {
    let client = owner()?;
    let name = new_name();
    let error = client.get_key(&name, None).await.err().unwrap();
    assert_eq!(refusal(&error), (404, "KeyNotFound"));
    assert!(error.to_string().contains(&name), "{error}");
    let error = client.backup_key(&name, None).await.err().unwrap();
    assert_eq!(refusal(&error), (404, "KeyNotFound"));
    let error = client.get_deleted_key(&name, None).await.err().unwrap();
    assert_eq!(refusal(&error), (404, "KeyNotFound"));
    let parameters = sign_zeros(SignatureAlgorithm::Es256);
    let error = client
        .sign(&name, parameters.try_into()?, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error), (404, "KeyNotFound"));
    Ok(())
}

#[tokio::test]
async fn bad_parameters_are_named() -> Result<()> {
    let client = owner()?;
    let error = make(&client, oct(64)).await.err().unwrap();
    assert_eq!(refusal(&error), (400, "BadParameter"));
    assert!(
        error.to_string().contains("Invalid key size: '64'"),
        "{error}"
    );
    let error = make(&client, CreateKeyParameters::default())
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error), (400, "BadParameter"));
    assert!(error.to_string().contains("kty"), "{error}");
    let error = client.get_key("under_score", None).await.err().unwrap();
    assert_eq!(refusal(&error), (400, "BadParameter"));
    let parameters = RestoreKeyParameters {
        key_backup: Some(b"not a backup".to_vec()),
    };
    let error = client
        .restore_key(parameters.try_into()?, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error), (400, "MalformedBackupBlob"));
    let key = make(&client, rsa(2048)).await?;
    let parameters = sign_zeros(SignatureAlgorithm::Es256);
    let error = client
        .sign(&key.name, parameters.try_into()?, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error), (400, "BadParameter"));
    Ok(())
}

#[tokio::test]
async fn what_a_key_is_not_for_is_forbidden() -> Result<()> {
    let client = owner()?;
    let [p256, ..] = CURVES;
    let verifies_only = CreateKeyParameters {
        key_ops: Some(vec![KeyOperation::Verify]),
        ..ec(p256.clone())
    };
    let disabled = CreateKeyParameters {
        key_attributes: Some(KeyAttributes {
            enabled: Some(false),
            ..Default::default()
        }),
        ..ec(p256)
    };
    for parameters in [verifies_only, disabled] {
        let key = make(&client, parameters).await?;
        let parameters = sign_zeros(SignatureAlgorithm::Es256);
        let error = client
            .sign(&key.name, parameters.try_into()?, None)
            .await
            .err()
            .unwrap();
        assert_eq!(refusal(&error), (403, "Forbidden"));
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_key_keeps_its_name() -> Result<()> {
    let client = owner()?;
    let key = make(&client, oct(256)).await?;
    client.delete_key(&key.name, None).await?;
    let error = client
        .create_key(&key.name, oct(256).try_into()?, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error), (409, "Conflict"));
    client.purge_deleted_key(&key.name, None).await?;
    client
        .create_key(&key.name, oct(256).try_into()?, None)
        .await?;
    Ok(())
}

#[tokio::test]
async fn who_has_no_role_is_denied() -> Result<()> {
    let client = client_of(
        variable("TEST_USER_CLIENT_ID"),
        variable("TEST_USER_SECRET"),
    )?;
    let parameters = GetRandomBytesParameters { count: Some(4) };
    let error = client
        .get_random_bytes(parameters.try_into()?, None)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal(&error), (403, "AccessDenied"));
    assert!(
        error
            .to_string()
            .contains("Microsoft.KeyVault/managedHsm/rng/action"),
        "{error}"
    );
    let error = make(&client, oct(256)).await.err().unwrap();
    assert_eq!(refusal(&error), (403, "AccessDenied"));
    Ok(())
}

#[tokio::test]
async fn who_cannot_log_in_learns_why() -> Result<()> {
    for (client_id, secret, code) in [
        (
            variable("AZURE_CLIENT_ID"),
            "wrong".to_owned(),
            "AADSTS7000215",
        ),
        (
            uuid::Uuid::new_v4().to_string(),
            "wrong".to_owned(),
            "AADSTS700016",
        ),
    ] {
        let client = client_of(client_id, secret)?;
        let error = client.get_key("key", None).await.err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::Credential), "{error}");
        assert!(error.to_string().contains(code), "{error}");
    }
    Ok(())
}
