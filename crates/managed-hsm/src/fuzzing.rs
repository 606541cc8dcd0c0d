//! What the fuzz targets of `fuzz/` reach inside this crate. Built with `--cfg fuzzing`, and for
//! tests, which read the seeds.

use url::Url;

use crate::key::KeyId;
use crate::public_key::PublicKey;
use crate::token::AccessToken;
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

/// What hostile answers repeat.
pub const TOKEN: &str = "a-token-that-no-error-may-show";

/// Checks a text that a person or the log gets to see: one line, bounded, nothing hidden in it,
/// nothing of the token.
///
/// # Panics
/// It is not fit to be shown.
pub fn check_shown(shown: &impl std::fmt::Display) {
    let text = shown.to_string();
    assert!(!text.contains(TOKEN), "{text:?}");
    assert!(text.len() < 2048, "{text:?}");
    // All that escape_debug escapes, but for quotes.
    let is_visible = |character: char| {
        matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
    };
    assert!(text.chars().all(is_visible), "{text:?}");
}

/// Reads a body as each answer that there is. What is accepted must be fit for use.
pub fn answers(body: &[u8]) {
    let uri = uri();
    let asked = (uri.key.clone(), VERSION.parse().expect("a version"));
    let url = Url::parse("https://myhsm.managedhsm.azure.net/?api-version=7.4").expect("a URL");
    // As long as it is there it is taken out.
    let _token = AccessToken::new(TOKEN);
    let version = "2026-05-01-preview".parse().expect("a version");
    let key = wire::key(body, &uri, &url, &version);
    if let Err(problem) = &key {
        check_shown(problem);
    }
    if let Ok(wire::Told::Known(key)) = key {
        check_shown(&key.kid);
        check_shown(&format!("{:?}", key.kid));
        key.operations.iter().for_each(check_shown);
        key.properties.external_key.iter().for_each(check_shown);
        assert!(key.id.key.as_str().eq_ignore_ascii_case(uri.key.as_str()));
        match key.public {
            PublicKey::Rsa { n, e } => assert!(PublicKey::rsa(n, e).is_ok()),
            PublicKey::Ec { curve, x, y } => {
                assert!(x.len() == curve.coordinate_len() && y.len() == curve.coordinate_len());
                assert!(PublicKey::ec(curve, x, y).is_ok());
            }
            PublicKey::MlDsa { set, key } => assert!(PublicKey::ml_dsa(set, key).is_ok()),
            PublicKey::Oct => {}
        }
    }
    if let Ok(value) = wire::value(body, &asked) {
        assert!(!value.is_empty());
    }
    if let Err(problem) = wire::result(body, &asked) {
        check_shown(&problem);
    }
    match wire::random_bytes(body, 16) {
        Ok(bytes) => assert_eq!(bytes.len(), 16),
        Err(problem) => check_shown(&problem),
    }
    match wire::key_page(body, &uri.vault) {
        Ok((items, _)) => {
            for item in items {
                assert_eq!(item.uri.to_string().parse().as_ref(), Ok(&item.uri));
            }
        }
        Err(problem) => check_shown(&problem),
    }
    if let Some((code, message)) = wire::service_error(body) {
        check_shown(&code);
        check_shown(&message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_of_answers_is_shown_fit() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/answers");
        let seeds: Vec<_> = std::fs::read_dir(seeds).unwrap().flatten().collect();
        assert!(seeds.len() > 20, "{}", seeds.len());
        for seed in seeds {
            answers(&std::fs::read(seed.path()).unwrap());
        }
    }
}
