//! What a client needs to know, and where it comes from.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::error::Error;
use crate::token::AccessToken;

/// Settings of a [`crate::Client`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where all requests go instead of `https://<vault>.managedhsm.azure.net`.
    pub endpoint: Option<Url>,
    /// A PEM file with CA certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The bearer token.
    pub access_token: Option<AccessToken>,
    /// How long an operation may take from call to return.
    pub operation_timeout: Duration,
    /// How long it may take to open a connection.
    pub connect_timeout: Duration,
    /// How many requests are under way, and so connections open, at most.
    pub max_connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            ca_file: None,
            access_token: None,
            operation_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_connections: 20,
        }
    }
}

impl Settings {
    /// The default settings with what the environment says: `AZURE_MANAGEDHSM_URL`, `AKV_CA_FILE` and
    /// `AZURE_CLI_ACCESS_TOKEN`. A variable that is set to nothing counts as not set.
    ///
    /// # Errors
    /// [`Error::Settings`] names the variable whose value can't be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| match std::env::var_os(name) {
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| invalid(name, "it is not UTF-8")),
            None => Ok(None),
        })
    }

    fn from_lookup(
        lookup: impl Fn(&'static str) -> Result<Option<String>, Error>,
    ) -> Result<Self, Error> {
        let lookup = |name| -> Result<Option<String>, Error> {
            Ok(lookup(name)?.filter(|value| !value.trim().is_empty()))
        };
        let access_token = match lookup("AZURE_CLI_ACCESS_TOKEN")? {
            None => None,
            Some(token) => Some(AccessToken::new(&token).ok_or_else(|| {
                invalid(
                    "AZURE_CLI_ACCESS_TOKEN",
                    "it holds characters that are never in a token; set it to the output of \
                     'az account get-access-token --resource https://managedhsm.azure.net --query accessToken -o tsv'",
                )
            })?),
        };
        Ok(Self {
            endpoint: lookup("AZURE_MANAGEDHSM_URL")?
                .map(|url| endpoint(&url))
                .transpose()?,
            ca_file: lookup("AKV_CA_FILE")?.map(PathBuf::from),
            access_token,
            ..Self::default()
        })
    }
}

fn endpoint(text: &str) -> Result<Url, Error> {
    const NAME: &str = "AZURE_MANAGEDHSM_URL";
    let url = Url::parse(text.trim()).map_err(|error| {
        invalid(
            NAME,
            &format!("it is not a URL ({error}); give https://<host>[:<port>]"),
        )
    })?;
    if url.scheme() != "https" || url.host_str().is_none() {
        return Err(invalid(
            NAME,
            &format!(
                "it begins with {}: and not with https://<host>; a token is never sent in the clear",
                url.scheme()
            ),
        ));
    }
    let bare = matches!(url.path(), "/" | "") && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            NAME,
            "it has more than a host and a port; give https://<host>[:<port>]",
        ));
    }
    Ok(url)
}

fn invalid(variable: &'static str, problem: &str) -> Error {
    Error::Settings {
        variable,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from_lookup(|name| {
            Ok(pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        for pairs in [
            &[][..],
            &[
                ("AZURE_MANAGEDHSM_URL", ""),
                ("AZURE_CLI_ACCESS_TOKEN", " "),
            ],
        ] {
            let settings = from(pairs).unwrap();
            assert!(settings.endpoint.is_none() && settings.access_token.is_none());
        }
    }

    #[test]
    fn an_endpoint_that_would_send_the_token_elsewhere_or_in_the_clear_is_refused() {
        for url in [
            "http://localhost:1",
            "localhost:1",
            "https://user:pw@localhost",
            "http://user:pw@localhost",
            "https://user:pw@[",
            "https://localhost/x",
            "ftp://h",
        ] {
            let message = from(&[("AZURE_MANAGEDHSM_URL", url)])
                .unwrap_err()
                .to_string();
            assert!(message.contains("AZURE_MANAGEDHSM_URL"), "{message}");
            assert!(!message.contains("pw"), "{message}");
        }
        assert!(from(&[("AZURE_MANAGEDHSM_URL", "https://localhost:8443/")]).is_ok());
    }

    #[test]
    fn a_bad_token_is_named_but_not_shown() {
        let message = from(&[("AZURE_CLI_ACCESS_TOKEN", "top secret")])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("AZURE_CLI_ACCESS_TOKEN") && !message.contains("top secret"),
            "{message}"
        );
    }
}
