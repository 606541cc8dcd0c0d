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

/// A setting: its names, what it is without them, and what it is for.
#[derive(Debug)]
pub struct Setting {
    /// The key in a configuration file. None: it has no business in a file that others may read.
    pub key: Option<&'static str>,
    /// The environment variable, which wins over the file.
    pub variable: &'static str,
    /// The value when neither is set.
    pub default: &'static str,
    /// What the value is, and what it does.
    pub help: &'static str,
}

/// Where a value comes from; errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment variable of this name.
    Variable(&'static str),
    /// The key of this name in a configuration file.
    File(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File(key) => write!(f, "'{key}' in openssl.cnf"),
        }
    }
}

/// A value with its origin.
type Found = Option<(String, Origin)>;

static ENDPOINT: Setting = Setting {
    key: Some("endpoint"),
    variable: "AZURE_MANAGEDHSM_URL",
    default: "https://<vault>.managedhsm.azure.net",
    help: "https://<host>[:<port>] that gets all requests: a private endpoint, another cloud, the emulator",
};
static CA_FILE: Setting = Setting {
    key: Some("ca-file"),
    variable: "AKV_CA_FILE",
    default: "",
    help: "PEM file with CA certificates that are trusted besides the system's",
};
static ACCESS_TOKEN: Setting = Setting {
    key: None,
    variable: "AZURE_CLI_ACCESS_TOKEN",
    default: "",
    help: "bearer token for https://managedhsm.azure.net",
};
static OPERATION_TIMEOUT: Setting = Setting {
    key: Some("operation-timeout"),
    variable: "AKV_OPERATION_TIMEOUT",
    default: "30",
    help: "seconds that an operation may take in all, 0.1 to 600",
};
static CONNECT_TIMEOUT: Setting = Setting {
    key: Some("connect-timeout"),
    variable: "AKV_CONNECT_TIMEOUT",
    default: "5",
    help: "seconds that opening a connection may take, 0.1 to 600",
};
static MAX_CONNECTIONS: Setting = Setting {
    key: Some("max-connections"),
    variable: "AKV_MAX_CONNECTIONS",
    default: "20",
    help: "requests under way, and so connections open, at most; 1 to 1000",
};

impl Settings {
    /// All settings that there are.
    pub const ALL: [&'static Setting; 6] = [
        &ENDPOINT,
        &CA_FILE,
        &ACCESS_TOKEN,
        &OPERATION_TIMEOUT,
        &CONNECT_TIMEOUT,
        &MAX_CONNECTIONS,
    ];

    /// The settings by what the environment says. A variable that is set to nothing counts as not set.
    ///
    /// # Errors
    /// [`Error::Settings`] names the variable whose value can't be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::read(Setting::from_env)
    }

    /// The settings by what `find` says of each.
    ///
    /// # Errors
    /// [`Error::Settings`] names the origin of a value that can't be used; and what `find` returns.
    pub fn read(find: impl Fn(&'static Setting) -> Result<Found, Error>) -> Result<Self, Error> {
        let mut settings = Self {
            endpoint: find(&ENDPOINT)?.map(endpoint).transpose()?,
            ca_file: find(&CA_FILE)?.map(|(path, _)| PathBuf::from(path)),
            access_token: find(&ACCESS_TOKEN)?.map(access_token).transpose()?,
            ..Self::default()
        };
        if let Some(found) = find(&OPERATION_TIMEOUT)? {
            settings.operation_timeout = duration(found)?;
        }
        if let Some(found) = find(&CONNECT_TIMEOUT)? {
            settings.connect_timeout = duration(found)?;
        }
        if let Some(found) = find(&MAX_CONNECTIONS)? {
            settings.max_connections = connections(found)?;
        }
        Ok(settings)
    }
}

impl Setting {
    /// The value of the environment variable, unless it is absent or empty.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn from_env(&'static self) -> Result<Found, Error> {
        let origin = Origin::Variable(self.variable);
        match std::env::var_os(self.variable).map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) if value.trim().is_empty() => Ok(None),
            Some(Ok(value)) => Ok(Some((value, origin))),
            Some(Err(_)) => Err(Error::setting(&origin, "it is not UTF-8")),
        }
    }
}

fn access_token((token, origin): (String, Origin)) -> Result<AccessToken, Error> {
    AccessToken::new(&token).ok_or_else(|| {
        Error::setting(
            &origin,
            "it holds characters that are never in a token; set it to the output of \
             'az account get-access-token --resource https://managedhsm.azure.net --query accessToken -o tsv'",
        )
    })
}

fn duration((text, origin): (String, Origin)) -> Result<Duration, Error> {
    match text.trim().parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(Error::setting(
            &origin,
            &format!(
                "'{}' is not a number of seconds from 0.1 to 600",
                text.trim()
            ),
        )),
    }
}

fn connections((text, origin): (String, Origin)) -> Result<usize, Error> {
    match text.trim().parse::<usize>() {
        Ok(count) if (1..=1000).contains(&count) => Ok(count),
        _ => Err(Error::setting(
            &origin,
            &format!("'{}' is not a number from 1 to 1000", text.trim()),
        )),
    }
}

fn endpoint((text, origin): (String, Origin)) -> Result<Url, Error> {
    let url = Url::parse(text.trim()).map_err(|error| {
        Error::setting(
            &origin,
            &format!("it is not a URL ({error}); give https://<host>[:<port>]"),
        )
    })?;
    if url.scheme() != "https" || url.host_str().is_none() {
        return Err(Error::setting(
            &origin,
            &format!(
                "it begins with {}: and not with https://<host>; a token is never sent in the clear",
                url.scheme()
            ),
        ));
    }
    let bare = matches!(url.path(), "/" | "") && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(Error::setting(
            &origin,
            "it has more than a host and a port; give https://<host>[:<port>]",
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(|setting| {
            let found = pairs.iter().find(|(name, _)| *name == setting.variable);
            Ok(found.map(|(_, value)| ((*value).to_owned(), Origin::Variable(setting.variable))))
        })
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let settings = from(&[]).unwrap();
        assert!(settings.endpoint.is_none() && settings.access_token.is_none());
        assert_eq!(
            settings.operation_timeout.as_secs().to_string(),
            OPERATION_TIMEOUT.default
        );
        assert_eq!(
            settings.connect_timeout.as_secs().to_string(),
            CONNECT_TIMEOUT.default
        );
        assert_eq!(
            settings.max_connections.to_string(),
            MAX_CONNECTIONS.default
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_name_and_the_value() {
        for (name, value) in [
            ("AKV_OPERATION_TIMEOUT", "0"),
            ("AKV_OPERATION_TIMEOUT", "NaN"),
            ("AKV_CONNECT_TIMEOUT", "601"),
            ("AKV_CONNECT_TIMEOUT", "5s"),
            ("AKV_MAX_CONNECTIONS", "0"),
            ("AKV_MAX_CONNECTIONS", "-1"),
        ] {
            let message = from(&[(name, value)]).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains(value),
                "{message}"
            );
        }
        let settings = from(&[("AKV_OPERATION_TIMEOUT", "0.5")]).unwrap();
        assert_eq!(settings.operation_timeout, Duration::from_millis(500));
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
