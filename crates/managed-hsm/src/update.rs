//! How a key is changed.

use bytes::Bytes;
use http::Method;

use crate::client::Client;
use crate::error::Error;
use crate::key::{Key, Update};
use crate::request::Request;
use crate::uri::KeyUri;
use crate::wire;

impl Client {
    /// Changes a key: the version that `uri` names, or the newest. The last of several writers
    /// wins: the service has no way to tell them apart.
    pub fn update_key(&self, uri: &KeyUri, update: &Update) -> Result<Key, Error> {
        let path = match &uri.version {
            Some(version) => format!("/keys/{}/{version}", uri.key),
            None => format!("/keys/{}", uri.key),
        };
        let mut request = Request {
            operation: "update key",
            vault: uri.vault.clone(),
            key: uri.to_string().into(),
            method: Method::PATCH,
            algorithm: None,
            url: self.url(&uri.vault, &path)?,
            body: Some(Bytes::from_owner(wire::update_request(update))),
            // The same once more gives the same.
            repeatable: true,
        };
        self.raise_for(
            &mut request,
            update.operations.as_deref().unwrap_or_default(),
        )?;
        self.ask_for_key(request, uri.clone())
    }
}
