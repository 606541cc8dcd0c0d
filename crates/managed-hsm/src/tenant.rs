//! The tenant that a service belongs to, as it tells those who have no token.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Method};

use crate::client::Client;
use crate::error::Error;
use crate::request::Request;
use crate::uri::Vault;

impl Client {
    /// The tenant of the vault's subscription. Of the challenge that names it nothing else counts:
    /// where tokens are to be had, and for what, is not for the one who asks to say.
    ///
    /// # Errors
    /// The request failed, or the answer does not name the tenant.
    pub fn tenant(&self, vault: &Vault) -> Result<String, Error> {
        let request = Request {
            operation: "ask for the tenant of",
            vault: vault.clone(),
            key: vault.to_string().into(),
            method: Method::GET,
            algorithm: None,
            url: self.url(vault, "/keys")?,
            body: None,
            repeatable: true,
        };
        let headers = self.sessions().ask_without_token(&request)?;
        tenant(&headers).ok_or_else(|| {
            request
                .bad_answer("it does not tell the tenant (in WWW-Authenticate); name it".to_owned())
        })
    }
}

/// The last part of the address in `Bearer authorization="https://<host>/<tenant>", resource="…"`.
fn tenant(headers: &HeaderMap) -> Option<String> {
    let challenge = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
