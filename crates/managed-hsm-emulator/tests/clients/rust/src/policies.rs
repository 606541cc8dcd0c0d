//! Rotation and release policies, what is released under one, and random bytes.

use azure_core::Result;
use azure_security_keyvault_keys::KeyClient;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, GetRandomBytesParameters, KeyAttributes, KeyClientReleaseOptions,
    KeyEncryptionAlgorithm, KeyReleasePolicy, KeyRotationPolicyAction, ReleaseParameters,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::encrypt::Decrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use crate::judge;
use crate::service::{
    CURVES, Made, Service, ec, emulator, http, make, oct, owner, refusal, rsa, set_rotation_policy,
};

#[tokio::test]
async fn rotation_policies_are_set_and_followed() -> Result<()> {
    let client = owner()?;
    for parameters in Service::ManagedHsm.kinds() {
        let key = make(&client, parameters).await?;
        let none = client.get_key_rotation_policy(&key.name, None).await?;
        assert!(
            none.into_model()?
                .lifetime_actions
                .unwrap_or_default()
                .is_empty()
        );
        let refused = client.rotate_key(&key.name, None).await.unwrap_err();
        assert_eq!(refusal(&refused), (400, "BadParameter"));
        let set = set_rotation_policy(&client, &key.name).await?;
        let got = client
            .get_key_rotation_policy(&key.name, None)
            .await?
            .into_model()?;
        for policy in [set, got] {
            assert_eq!(
                policy.attributes.unwrap().expiry_time.as_deref(),
                Some("P90D")
            );
            let action = policy.lifetime_actions.unwrap().remove(0);
            assert_eq!(
                action.action.unwrap().type_prop,
                Some(KeyRotationPolicyAction::Rotate)
            );
            assert_eq!(
                action.trigger.unwrap().time_after_create.as_deref(),
                Some("P30D")
            );
        }
        let rotated = client.rotate_key(&key.name, None).await?.into_model()?;
        let attributes = rotated.attributes.unwrap();
        let life = attributes.expires.unwrap() - attributes.created.unwrap();
        assert_eq!(life.whole_days(), 90);
    }
    Ok(())
}

#[tokio::test]
async fn random_bytes_differ() -> Result<()> {
    let client = owner()?;
    let random = async |count| {
        let parameters = GetRandomBytesParameters { count: Some(count) };
        let bytes = client
            .get_random_bytes(parameters.try_into()?, None)
            .await?;
        azure_core::Result::Ok(bytes.into_model()?.value.unwrap())
    };
    assert_eq!(random(1).await?.len(), 1);
    let bytes = random(128).await?;
    assert_eq!(bytes.len(), 128);
    assert_ne!(bytes, random(128).await?);
    for count in [0, 129] {
        assert_eq!(
            refusal(&random(count).await.unwrap_err()),
            (400, "BadParameter")
        );
    }
    Ok(())
}

/// A key that is released to whom the emulator's attestation says that `sdk-test` is true.
async fn exportable(client: &KeyClient, parameters: CreateKeyParameters) -> Result<Made> {
    let policy = json!({
        "version": "1.0.0",
        "anyOf": [{"authority": emulator(), "allOf": [{"claim": "sdk-test", "equals": "true"}]}],
    });
    let parameters = CreateKeyParameters {
        key_attributes: Some(KeyAttributes {
            exportable: Some(true),
            ..Default::default()
        }),
        release_policy: Some(KeyReleasePolicy {
            encoded_policy: Some(policy.to_string().into_bytes()),
            ..Default::default()
        }),
        ..parameters
    };
    make(client, parameters).await
}

/// An attestation of an environment with this key.
async fn attestation(environment: &Rsa<openssl::pkey::Private>) -> String {
    let encode = |number: &openssl::bn::BigNumRef| URL_SAFE_NO_PAD.encode(number.to_vec());
    let key = json!({
        "kty": "RSA",
        "kid": "environment",
        "n": encode(environment.n()),
        "e": encode(environment.e()),
    });
    let answer = http()
        .post(format!("{}/generate-test-token", emulator()))
        .body(json!({"key": key}).to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    answer["token"].as_str().expect("a token").to_owned()
}

/// The key in a release: PKCS#8, or the bytes of a symmetric key.
fn opened(
    release: &str,
    environment: &Rsa<openssl::pkey::Private>,
    hash: MessageDigest,
) -> Vec<u8> {
    let json = |text: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    let payload = json(release.split('.').nth(1).unwrap());
    assert_eq!(payload["request"]["nonce"], "once");
    let transferred = json(
        payload["response"]["key"]["key"]["key_hsm"]
            .as_str()
            .unwrap(),
    );
    let ciphertext = transferred["ciphertext"].as_str().unwrap();
    let ciphertext = URL_SAFE_NO_PAD.decode(ciphertext).unwrap();
    let (wrapping, wrapped) = ciphertext.split_at(environment.size() as usize);
    let environment = PKey::from_rsa(environment.clone()).unwrap();
    let mut decrypter = Decrypter::new(&environment).unwrap();
    decrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
    decrypter.set_rsa_oaep_md(hash).unwrap();
    decrypter.set_rsa_mgf1_md(hash).unwrap();
    let mut aes = vec![0; decrypter.decrypt_len(wrapping).unwrap()];
    let len = decrypter.decrypt(wrapping, &mut aes).unwrap();
    judge::aes_unwrap(&aes[..len], wrapped, true).expect("wrapped by the AES key")
}

#[tokio::test]
async fn keys_are_released_to_whom_an_attestation_names() -> Result<()> {
    let client = owner()?;
    let environment = judge::new_rsa(2048);
    let token = attestation(&environment).await;
    let [p256, ..] = CURVES;
    for parameters in [rsa(2048), ec(p256), oct(256)] {
        let key = exportable(&client, parameters).await?;
        for (algorithm, hash) in [
            (
                KeyEncryptionAlgorithm::CkmRsaAesKeyWrap,
                MessageDigest::sha1(),
            ),
            (
                KeyEncryptionAlgorithm::RsaAesKeyWrap256,
                MessageDigest::sha256(),
            ),
            (
                KeyEncryptionAlgorithm::RsaAesKeyWrap384,
                MessageDigest::sha384(),
            ),
        ] {
            let parameters = ReleaseParameters {
                algorithm: Some(algorithm),
                nonce: Some("once".to_owned()),
                target_attestation_token: Some(token.clone()),
            };
            let options = KeyClientReleaseOptions {
                key_version: Some(key.version.clone()),
                ..Default::default()
            };
            let released = client.release(&key.name, parameters.try_into()?, Some(options));
            let released = released.await?.into_model()?.value.unwrap();
            let private = opened(&released, &environment, hash);
            if key.jwk.n.is_none() && key.jwk.x.is_none() {
                assert_eq!(private.len(), 32);
                continue;
            }
            let private = PKey::private_key_from_der(&private).unwrap();
            assert!(private.public_eq(&judge::public_key(&key.jwk)));
        }
        let parameters = ReleaseParameters {
            target_attestation_token: Some("not an attestation".to_owned()),
            ..Default::default()
        };
        let refused = client
            .release(&key.name, parameters.try_into()?, None)
            .await;
        assert_eq!(refusal(&refused.err().unwrap()), (403, "Forbidden"));
    }
    Ok(())
}
