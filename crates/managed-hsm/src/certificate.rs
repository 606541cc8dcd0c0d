//! Certificates that a key vault keeps with their keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;

use crate::client::Client;
use crate::error::Error;
use crate::key::KeyId;
use crate::request::Request;

#[derive(Deserialize)]
struct Bundle {
    cer: String,
}

impl Client {
    /// Asks a key vault for the certificate of a key, in DER: a key that is
    /// [managed](crate::Properties::managed) has one of its own name and version.
    pub fn certificate(&self, key: &KeyId) -> Result<Vec<u8>, Error> {
        let path = format!("/certificates/{}/{}", key.key, key.version);
        let request = Request {
            operation: "load the certificate of",
            vault: key.vault.clone(),
            key: key.to_string().into(),
            method: Method::GET,
            algorithm: None,
            url: self.url(&key.vault, &path)?,
            body: None,
            repeatable: true,
        };
        self.ask(request, |body| {
            let bundle: Result<Bundle, _> = serde_json::from_slice(body);
            let bundle = bundle.map_err(|_| "it has no 'cer'".to_owned())?;
            let der = STANDARD.decode(&bundle.cer);
            der.map_err(|_| "its 'cer' is not base64".to_owned())
        })
    }
}
