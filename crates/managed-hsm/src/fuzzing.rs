//! What the fuzz targets of `fuzz/` reach inside this crate. Built with `--cfg fuzzing` only.

use url::Url;

use crate::key::{KeyId, PublicKey};
use crate::uri::KeyUri;
use crate::wire;

const VERSION: &str = "68b1416e5f6b4d23ab6806d934a09a8b";

/// The key `k` as if an HSM at `endpoint` had answered with it.
pub fn key_id(endpoint: &Url) -> KeyId {
    let uri = uri();
    let version = VERSION.parse().expect("a version");
    KeyId::new(uri.vault, uri.key, version, endpoint)
}

fn uri() -> KeyUri {
    "managedhsm:MyHSM:k".parse().expect("a URI")
}

/// Reads a body as each answer that there is. What is accepted must be fit for use.
pub fn answers(body: &[u8]) {
    let (uri, version) = (uri(), VERSION.parse().expect("a version"));
    let url = Url::parse("https://myhsm.managedhsm.azure.net/?api-version=7.4").expect("a URL");
    if let Ok(key) = wire::key(body, &uri, &url) {
        assert!(key.id.key.as_str().eq_ignore_ascii_case(uri.key.as_str()));
        match key.public {
            PublicKey::Rsa { n, e } => assert!(n[0] != 0 && n.len() <= 2048 && e.len() <= 8),
            PublicKey::Ec { curve, x, y } => {
                assert!(x.len() == curve.coordinate_len() && y.len() == curve.coordinate_len());
            }
            PublicKey::Oct => {}
        }
    }
    if let Ok(value) = wire::value(body, &version) {
        assert!(!value.is_empty());
    }
    let _ = wire::result(body, &version);
    if let Ok(bytes) = wire::random_bytes(body, 16) {
        assert_eq!(bytes.len(), 16);
    }
    if let Ok((items, _)) = wire::key_page(body, &uri.vault) {
        for item in items {
            assert_eq!(item.uri.to_string().parse().as_ref(), Ok(&item.uri));
        }
    }
    let _ = wire::service_error(body);
}
