//! Certificates of a vault, imported with their keys and read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::vaults::Vault;

#[tokio::test]
async fn a_certificate_is_imported_with_its_key_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let own = testing::Certificate::for_localhost();
    let key = own.key.private_key_to_pem_pkcs8().unwrap();
    let pem = String::from_utf8([own.pem(), key].concat()).unwrap();
    let mut bundle = openssl::pkcs12::Pkcs12::builder();
    let bundle = bundle.name("web").pkey(&own.key).cert(&own.certificate);
    let bundle = bundle.build2("secret").unwrap().to_der().unwrap();
    let bundle = STANDARD.encode(bundle);
    let der = STANDARD.encode(own.certificate.to_der().unwrap());
    for body in [
        json!({"value": pem}),
        json!({"value": bundle, "pwd": "secret"}),
    ] {
        let path = "/certificates/web/import";
        let made = vault.call("POST", path, Some(body)).await.success();
        assert_eq!(made["cer"], der, "{made}");
        let kid = made["kid"].as_str().unwrap();
        let version = kid.rsplit('/').next().unwrap();
        assert!(
            made["id"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/certificates/web/{version}"))
        );
        for path in [
            "/certificates/web".to_owned(),
            format!("/certificates/web/{version}"),
        ] {
            let read = vault.call("GET", &path, None).await.success();
            assert_eq!(read["cer"], der);
        }
        // Its key is a key like others, and says whose it is.
        let key = vault.call("GET", "/keys/web", None).await.success();
        assert_eq!(
            (&key["managed"], &key["key"]["kid"]),
            (&json!(true), &json!(kid))
        );
    }
    vault.create("plain", json!({"kty": "EC"})).await;
    for (method, path, body, status) in [
        ("GET", "/certificates/plain", None, 404),
        ("GET", "/certificates/absent", None, 404),
        (
            "POST",
            "/certificates/x/import",
            Some(json!({"value": "AAAA"})),
            400,
        ),
    ] {
        let refused = vault.call(method, path, body).await;
        assert_eq!(refused.status, status, "{path}");
        if status == 404 {
            let (_, code, message) = refused.error();
            let name = path.rsplit('/').next().unwrap();
            let begin = format!("A certificate with (name/id) {name} was not found");
            assert_eq!(code, "CertificateNotFound");
            assert!(message.starts_with(&begin), "{message}");
        }
    }
    // A Managed HSM has none.
    let refused = vault.emulator.call("GET", "/certificates/web", None).await;
    assert_eq!(refused.status, 404);
}
