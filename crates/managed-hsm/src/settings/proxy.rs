//! The proxy that connections go through.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::Error;
use crate::secret::Secret;
use crate::settings::origin::Origin;

/// A proxy's address. While it lives its password is not shown, even where the proxy repeats it.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    _secrets: Vec<Secret>,
}

impl Proxy {
    fn new(url: Url) -> Self {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let secrets = url.password().map(|encoded| {
            let password = decoded(encoded);
            let login = format!("{}:{password}", decoded(url.username()));
            // As it is sent (RFC 7617). The login itself is none: it begins with the user's name,
            // and that may stand in others.
            let sent = STANDARD.encode(login);
            let all = [encoded.to_owned(), password, sent];
            all.map(Secret::new).into()
        });
        Self {
            _secrets: secrets.unwrap_or_default(),
            url,
        }
    }

    /// Which hosts are reached through it: all but the `exceptions`.
    pub(crate) fn matcher(&self, exceptions: &str) -> Matcher {
        let builder = Matcher::builder().https(self.url.as_str());
        builder.no(exceptions).build()
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({:?})", self.url.host_str())
    }
}

/// The address of a proxy.
pub(crate) fn proxy((text, origin): (String, Origin)) -> Result<Proxy, Error> {
    // As curl and others have it, a proxy may be given without its scheme.
    let text = text.trim();
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    match Url::parse(&with_scheme) {
        Ok(url) if url.scheme() == "http" && url.host_str().is_some() => Ok(Proxy::new(url)),
        // Not shown: it may hold a password.
        _ => Err(Error::setting(
            &origin,
            "it is not the address of a proxy that is spoken to over HTTP (HTTPS goes through it); give http://[<user>:<password>@]<host>[:<port>]",
        )),
    }
}
