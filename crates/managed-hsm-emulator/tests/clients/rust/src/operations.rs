//! What keys do: sign, verify, encrypt, decrypt, wrap and unwrap, with every kind of key and every
//! algorithm.

use azure_core::Result;
use azure_security_keyvault_keys::KeyClient;
use azure_security_keyvault_keys::models::{
    CurveName, EncryptionAlgorithm, ImportKeyParameters, JsonWebKey, KeyClientEncryptOptions,
    KeyClientSignOptions, KeyClientWrapKeyOptions, KeyOperationParameters, KeyOperationResult,
    KeyType, SignParameters, SignatureAlgorithm, VerifyParameters,
};
use openssl::hash::{MessageDigest, hash};

use crate::judge;
use crate::service::{Made, Service, make, new_name, oct, owner, refusal};

const RSA_SIGNATURES: [SignatureAlgorithm; 6] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Rs384,
    SignatureAlgorithm::Rs512,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Ps384,
    SignatureAlgorithm::Ps512,
];
const HMACS: [SignatureAlgorithm; 3] = [
    SignatureAlgorithm::Hs256,
    SignatureAlgorithm::Hs384,
    SignatureAlgorithm::Hs512,
];
const RSA_ENCRYPTION: [EncryptionAlgorithm; 3] = [
    EncryptionAlgorithm::Rsa1_5,
    EncryptionAlgorithm::RsaOaep,
    EncryptionAlgorithm::RsaOaep256,
];

/// A message's digest of the length that the algorithm takes.
fn digest_for(algorithm: &SignatureAlgorithm) -> Vec<u8> {
    let name = algorithm.as_ref();
    let hash_function = match &name[2..5] {
        "256" => MessageDigest::sha256(),
        "384" => MessageDigest::sha384(),
        _ => MessageDigest::sha512(),
    };
    hash(hash_function, b"a message").unwrap().to_vec()
}

/// Signs once with the key's newest version and once with the named one.
async fn signatures(
    client: &KeyClient,
    key: &Made,
    algorithm: &SignatureAlgorithm,
    digest: &[u8],
) -> Result<[Vec<u8>; 2]> {
    let parameters = SignParameters {
        algorithm: Some(algorithm.clone()),
        value: Some(digest.to_owned()),
    };
    let newest = client.sign(&key.name, parameters.clone().try_into()?, None);
    let newest = newest.await?.into_model()?;
    let options = KeyClientSignOptions {
        key_version: Some(key.version.clone()),
        ..Default::default()
    };
    let named = client.sign(&key.name, parameters.try_into()?, Some(options));
    let named = named.await?.into_model()?;
    assert_eq!(newest.kid, key.jwk.kid);
    assert_eq!(named.kid, key.jwk.kid);
    Ok([newest, named].map(|result| result.result.unwrap()))
}

async fn verified(
    client: &KeyClient,
    key: &Made,
    algorithm: &SignatureAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Result<bool> {
    let parameters = VerifyParameters {
        algorithm: Some(algorithm.clone()),
        digest: Some(digest.to_owned()),
        signature: Some(signature.to_owned()),
    };
    let result = client
        .verify(&key.name, &key.version, parameters.try_into()?, None)
        .await?;
    Ok(result.into_model()?.value.unwrap())
}

/// Signs; the HSM and the `openssl` program take the signature for good, and a damaged one for bad.
async fn sign_and_verify(
    client: &KeyClient,
    key: &Made,
    algorithm: SignatureAlgorithm,
) -> Result<()> {
    let digest = digest_for(&algorithm);
    for mut signature in signatures(client, key, &algorithm, &digest).await? {
        assert!(
            verified(client, key, &algorithm, &digest, &signature).await?,
            "{algorithm}"
        );
        assert!(
            judge::verifies(&key.jwk, algorithm.as_ref(), &digest, &signature),
            "{algorithm}"
        );
        signature[3] ^= 1;
        assert!(
            !verified(client, key, &algorithm, &digest, &signature).await?,
            "{algorithm}"
        );
        assert!(
            !judge::verifies(&key.jwk, algorithm.as_ref(), &digest, &signature),
            "{algorithm}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn rsa_keys_sign_and_verify() -> Result<()> {
    for service in Service::ALL {
        let client = service.owner()?;
        for parameters in service.rsa_kinds() {
            let key = make(&client, parameters).await?;
            for algorithm in RSA_SIGNATURES {
                sign_and_verify(&client, &key, algorithm).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn ec_keys_sign_and_verify() -> Result<()> {
    for service in Service::ALL {
        let client = service.owner()?;
        for parameters in service.ec_kinds() {
            let algorithm = match parameters.curve.as_ref() {
                Some(CurveName::P256) => SignatureAlgorithm::Es256,
                Some(CurveName::P256K) => SignatureAlgorithm::Es256K,
                Some(CurveName::P384) => SignatureAlgorithm::Es384,
                _ => SignatureAlgorithm::Es512,
            };
            let key = make(&client, parameters).await?;
            sign_and_verify(&client, &key, algorithm).await?;
        }
    }
    Ok(())
}

/// Bytes that differ from each other.
fn secret_of(bits: i32) -> Vec<u8> {
    (0..=u8::MAX).take(bits as usize / 8).collect()
}

async fn import_oct(client: &KeyClient, secret: &[u8]) -> Result<Made> {
    let parameters = ImportKeyParameters {
        key: Some(JsonWebKey {
            kty: Some(KeyType::OctHsm),
            k: Some(secret.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let imported = client
        .import_key(&new_name(), parameters.try_into()?, None)
        .await?;
    Made::of(imported.into_model()?)
}

#[tokio::test]
async fn symmetric_keys_authenticate() -> Result<()> {
    let client = owner()?;
    for bits in [256, 384, 512] {
        let secret = secret_of(bits);
        let key = import_oct(&client, &secret).await?;
        for algorithm in HMACS {
            let digest = digest_for(&algorithm);
            // A key is at least as long as the digest.
            if digest.len() > secret.len() {
                continue;
            }
            let hash = format!("SHA{}", digest.len() * 8);
            let expected = judge::hmac(&secret, &hash, &digest);
            for mut signature in signatures(&client, &key, &algorithm, &digest).await? {
                assert_eq!(signature, expected, "{algorithm}");
                assert!(verified(&client, &key, &algorithm, &digest, &signature).await?);
                signature[3] ^= 1;
                assert!(!verified(&client, &key, &algorithm, &digest, &signature).await?);
            }
        }
    }
    Ok(())
}

/// What an operation is asked with, before the algorithm's own needs.
fn with(algorithm: &EncryptionAlgorithm, value: &[u8]) -> KeyOperationParameters {
    KeyOperationParameters {
        algorithm: Some(algorithm.clone()),
        value: Some(value.to_owned()),
        ..Default::default()
    }
}

async fn encrypt(
    client: &KeyClient,
    key: &Made,
    parameters: KeyOperationParameters,
) -> Result<KeyOperationResult> {
    let options = KeyClientEncryptOptions {
        key_version: Some(key.version.clone()),
        ..Default::default()
    };
    let result = client.encrypt(&key.name, parameters.try_into()?, Some(options));
    result.await?.into_model()
}

async fn decrypt(
    client: &KeyClient,
    key: &Made,
    parameters: KeyOperationParameters,
) -> Result<Vec<u8>> {
    let result = client
        .decrypt(&key.name, &key.version, parameters.try_into()?, None)
        .await?;
    Ok(result.into_model()?.result.unwrap())
}

/// Wraps with the key's newest version, which has to be the named one.
async fn wrap(
    client: &KeyClient,
    key: &Made,
    parameters: KeyOperationParameters,
) -> Result<Vec<u8>> {
    let newest = client.wrap_key(&key.name, parameters.clone().try_into()?, None);
    let newest = newest.await?.into_model()?;
    let options = KeyClientWrapKeyOptions {
        key_version: Some(key.version.clone()),
        ..Default::default()
    };
    let named = client.wrap_key(&key.name, parameters.try_into()?, Some(options));
    assert_eq!(named.await?.into_model()?.kid, newest.kid);
    Ok(newest.result.unwrap())
}

async fn unwrap(
    client: &KeyClient,
    key: &Made,
    parameters: KeyOperationParameters,
) -> Result<Vec<u8>> {
    let result = client
        .unwrap_key(&key.name, &key.version, parameters.try_into()?, None)
        .await?;
    Ok(result.into_model()?.result.unwrap())
}

#[tokio::test]
async fn rsa_keys_encrypt_and_wrap() -> Result<()> {
    for service in Service::ALL {
        let client = service.owner()?;
        for parameters in service.rsa_kinds() {
            let key = make(&client, parameters).await?;
            for algorithm in RSA_ENCRYPTION {
                encrypts_and_wraps(&client, &key, algorithm).await?;
            }
        }
    }
    Ok(())
}

/// The key opens what it or OpenSSL has encrypted or wrapped.
async fn encrypts_and_wraps(
    client: &KeyClient,
    key: &Made,
    algorithm: EncryptionAlgorithm,
) -> Result<()> {
    let sealed = encrypt(client, key, with(&algorithm, b"plain")).await?;
    let foreign = judge::rsa_encrypted(&key.jwk, algorithm.as_ref(), b"plain");
    for sealed in [sealed.result.unwrap(), foreign] {
        let opened = decrypt(client, key, with(&algorithm, &sealed)).await?;
        assert_eq!(opened, b"plain", "{algorithm}");
    }
    let wrapped = wrap(client, key, with(&algorithm, &[7; 32])).await?;
    let foreign = judge::rsa_encrypted(&key.jwk, algorithm.as_ref(), &[7; 32]);
    for wrapped in [wrapped, foreign] {
        let opened = unwrap(client, key, with(&algorithm, &wrapped)).await?;
        assert_eq!(opened, [7; 32], "{algorithm}");
    }
    Ok(())
}

#[tokio::test]
async fn symmetric_keys_encrypt() -> Result<()> {
    use EncryptionAlgorithm::*;
    let client = owner()?;
    for (bits, gcm, cbc, cbc_pad) in [
        (128, A128Gcm, A128Cbc, A128Cbcpad),
        (192, A192Gcm, A192Cbc, A192Cbcpad),
        (256, A256Gcm, A256Cbc, A256Cbcpad),
    ] {
        let key = make(&client, oct(bits)).await?;
        let plain = KeyOperationParameters {
            additional_authenticated_data: Some(b"aad".to_vec()),
            ..with(&gcm, b"plain")
        };
        let sealed = encrypt(&client, &key, plain).await?;
        let ciphertext = KeyOperationParameters {
            iv: sealed.iv,
            authentication_tag: sealed.authentication_tag,
            additional_authenticated_data: sealed.additional_authenticated_data,
            ..with(&gcm, &sealed.result.unwrap())
        };
        assert_eq!(decrypt(&client, &key, ciphertext.clone()).await?, b"plain");
        let changed = KeyOperationParameters {
            additional_authenticated_data: Some(b"bad".to_vec()),
            ..ciphertext
        };
        let refused = decrypt(&client, &key, changed).await.unwrap_err();
        assert_eq!(refusal(&refused), (400, "BadParameter"));

        for (algorithm, plain) in [(cbc, &[5; 32][..]), (cbc_pad, b"plain")] {
            let with_iv = |value: &[u8]| KeyOperationParameters {
                iv: Some(vec![9; 16]),
                ..with(&algorithm, value)
            };
            let sealed = encrypt(&client, &key, with_iv(plain)).await?;
            let opened = decrypt(&client, &key, with_iv(&sealed.result.unwrap())).await?;
            assert_eq!(opened, plain, "{algorithm}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn symmetric_keys_wrap() -> Result<()> {
    use EncryptionAlgorithm::*;
    let client = owner()?;
    for (bits, own) in [(128, A128Kw), (192, A192Kw), (256, A256Kw)] {
        let secret = secret_of(bits);
        let key = import_oct(&client, &secret).await?;
        for (algorithm, plain, padded) in [
            (own, &[3; 32][..], false),
            (CkmAesKeyWrap, &[4; 24], false),
            (CkmAesKeyWrapPad, b"seven b", true),
        ] {
            let wrapped = wrap(&client, &key, with(&algorithm, plain)).await?;
            let here = judge::aes_unwrap(&secret, &wrapped, padded);
            assert_eq!(here.as_deref(), Some(plain), "{algorithm}");
            let opened = unwrap(&client, &key, with(&algorithm, &wrapped)).await?;
            assert_eq!(opened, plain, "{algorithm}");
        }
    }
    Ok(())
}
