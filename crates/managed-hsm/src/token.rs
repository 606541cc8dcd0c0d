//! Access tokens.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::secret::{JWT, Secret};

/// A bearer token. It is wiped from memory when dropped and never shown.
#[derive(Clone)]
pub struct AccessToken {
    text: Secret,
    expires_at: Option<SystemTime>,
}

impl AccessToken {
    /// Takes a token. Surrounding white space and a byte order mark are dropped. None: it is empty
    /// or has characters that can't be in a header.
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim_start_matches('\u{feff}').trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        Some(Self {
            text: Secret::new(token.to_owned()),
            expires_at: expiry(token),
        })
    }

    /// When the token expires, if it is a JSON Web Token that says so.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// The token itself, for whoever is to send it.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// The token with the time of its end as its giver tells it.
    pub(crate) fn expiring_at(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Whether it begins like a JSON Web Token and lacks its end: such a token has three parts, and
    /// five if it is encrypted (RFC 7515, section 3.1; RFC 7516, section 3.1). What begins
    /// otherwise is nobody's business but its giver's.
    pub(crate) fn is_cut(&self) -> bool {
        let text = self.text.expose();
        let parts = text.split('.').count();
        text.starts_with(JWT) && (!matches!(parts, 3 | 5) || text.ends_with('.'))
    }

    /// Whether both are the same text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// The value of an `Authorization` header.
    pub(crate) fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.text.expose()))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// The `exp` claim (RFC 7519, section 4.1.4). The signature is the service's to check.
fn expiry(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: f64,
    }
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?);
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(claims.exp).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!(
            "eyJhbGciOiJub25lIn0.{}.c2ln",
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    #[test]
    fn the_expiry_of_a_jwt_is_read() {
        let token = AccessToken::new(&token(r#"{"exp":1700000000}"#)).unwrap();
        assert_eq!(
            token.expires_at(),
            Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        );
    }

    #[test]
    fn a_token_without_a_readable_expiry_is_taken_as_it_is() {
        for text in [
            "opaque",
            "a.b.c",
            &token("{}"),
            &token(r#"{"exp":-1}"#),
            &token(r#"{"exp":1e300}"#),
        ] {
            assert_eq!(AccessToken::new(text).unwrap().expires_at(), None, "{text}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_in_a_header_is_refused() {
        for text in ["", "  ", "a b", "a\r\nHost: evil", "a\u{e9}"] {
            assert!(AccessToken::new(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_beginning_of_a_jwt_is_told_from_a_token() {
        let whole = token(r#"{"exp":1700000000}"#);
        for (text, is_cut) in [
            (&*whole, false),
            ("eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn", false),
            ("opaque", false),
            ("opaque.", false),
            ("ey", false),
            ("eyJhbGci", true),
            (&whole[..whole.len() - 5], true),
            (&whole[..whole.len() - 4], true),
        ] {
            assert_eq!(AccessToken::new(text).unwrap().is_cut(), is_cut, "{text}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        assert!(!format!("{:?}", AccessToken::new("topsecret").unwrap()).contains("topsecret"));
    }
}
