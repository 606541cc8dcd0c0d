//! The tenant that a service belongs to, as it tells those who have no token.

use crate::challenge;
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
        let url = self.url(vault, "/keys")?;
        let request = Request::of_vault("ask for the tenant of", vault, url);
        let headers = self.sessions.ask_without_token(&request, self.limit())?;
        challenge::tenant(&headers).ok_or_else(|| {
            request
                .bad_answer("it does not tell the tenant (in WWW-Authenticate); name it".to_owned())
        })
    }
}
