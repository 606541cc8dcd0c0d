//! What a refusal of the token asks for (RFC 9110, section 11.6.1): claims, and a token of which
//! tenant. Nothing else of it is looked at: who gives tokens, and for whom, is not for the one who
//! asks to say.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The claims that a challenge wants to be in the token, as JSON (error="insufficient_claims").
pub(crate) fn claims(headers: &HeaderMap) -> Option<String> {
    let challenge = text(headers)?;
    if !challenge.contains("insufficient_claims") {
        return None;
    }
    let encoded = challenge.split_once("claims=\"")?.1.split_once('"')?.0;
    let encoded = encoded.trim_end_matches('=');
    let decoded = STANDARD_NO_PAD.decode(encoded);
    let decoded = decoded.or_else(|_| URL_SAFE_NO_PAD.decode(encoded)).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).ok()?;
    Some(text)
}

/// The tenant of the service: the last part of the address in
/// `Bearer authorization="https://<host>/<tenant>", resource="…"`.
pub(crate) fn tenant(headers: &HeaderMap) -> Option<String> {
    let challenge = text(headers)?;
    let (_, address) = challenge
        .split_once("authorization=\"")
        .or_else(|| challenge.split_once("authorization_uri=\""))?;
    let (address, _) = address.split_once('"')?;
    let tenant = address.trim_end_matches('/').rsplit('/').next()?;
    // It becomes a part of a path.
    let is_plain = !tenant.is_empty()
        && tenant
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_plain.then(|| tenant.to_owned())
}

fn text(headers: &HeaderMap) -> Option<&str> {
    headers.get(WWW_AUTHENTICATE)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_taken_from_a_challenge_and_nothing_else() {
        let challenge = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            claims(&headers)
        };
        let wanted = r#"{"access_token":{"nbf":{"essential":true}}}"#;
        let encoded = base64::engine::general_purpose::STANDARD.encode(wanted);
        let text = format!(
            r#"Bearer realm="", authorization_uri="https://evil.example/", error="insufficient_claims", claims="{encoded}""#
        );
        assert_eq!(challenge(&text).as_deref(), Some(wanted));
        for text in [
            r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://managedhsm.azure.net""#,
            r#"Bearer error="insufficient_claims""#,
            r#"Bearer error="insufficient_claims", claims="*""#,
            r#"Bearer error="insufficient_claims", claims="AAAA""#,
            r#"Bearer error="insufficient_claims", claims="e30"#,
        ] {
            assert_eq!(challenge(text), None, "{text}");
        }
    }

    #[test]
    fn a_tenant_is_taken_from_the_challenge_and_nothing_else() {
        let told = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            tenant(&headers)
        };
        let id = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let good = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{id}\", resource=\"https://managedhsm.azure.net\""
        );
        assert_eq!(told(&good).as_deref(), Some(id));
        for wrong in [
            "Bearer",
            "Bearer authorization=\"",
            "Bearer authorization=\"https://login.microsoftonline.com/..\"",
            "Bearer authorization=\"https://login.microsoftonline.com/a?b=c\"",
            "Bearer resource=\"https://managedhsm.azure.net\"",
        ] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
        assert_eq!(tenant(&HeaderMap::new()), None);
    }
}
