//! What a client needs to know, and where it comes from.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::api_version::ApiVersion;
use crate::cloud::{Cloud, Service};
use crate::error::Error;
use crate::settings::credentials::CredentialSettings;
use crate::settings::front_end::FrontEnd;
use crate::settings::metrics;
use crate::settings::origin::Origin;
use crate::settings::proxy::{Proxy, proxy};
use crate::settings::setting::{Find, Setting, https, path, text};
use crate::uri::{UriError, Vault};

/// Settings of a [`crate::Client`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the client is a part of.
    pub front_end: FrontEnd,
    /// Where requests to Managed HSMs go instead of `https://<HSM>.managedhsm.azure.net`.
    pub endpoint: Option<Url>,
    /// Where requests to key vaults go instead of `https://<vault>.vault.azure.net`.
    pub key_vault_endpoint: Option<Url>,
    /// Where requests to single vaults go; a vault's in order of preference.
    pub endpoints: Vec<(Vault, Url)>,
    /// The cloud; none: as the endpoint's host says, else the public one.
    pub cloud: Option<Cloud>,
    /// The version of the service's API that requests name, unless what they ask for came later.
    pub api_version: ApiVersion,
    /// A PEM file with CA certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether only a hybrid post-quantum key exchange will do.
    pub require_post_quantum: bool,
    /// The proxy that HTTPS connections go through, with credentials if it wants any.
    pub https_proxy: Option<Proxy>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// Who asks.
    pub credentials: CredentialSettings,
    /// How long an operation may take from call to return.
    pub operation_timeout: Duration,
    /// How long it may take to open a connection.
    pub connect_timeout: Duration,
    /// How long an answer is waited for before the request is sent again.
    pub response_timeout: Duration,
    /// How often a request is sent again, at most, after a failure that passes.
    pub max_retries: u32,
    /// How many requests are under way, and so connections open, at most.
    pub max_connections: usize,
    /// How many connections a process opens as soon as it knows a key; each one that it forks does
    /// so again.
    pub connections_ahead: usize,
    /// Whether an operation that takes longer than most is sent a second time.
    pub hedging: bool,
    /// The folder that each process writes its metrics to, as a file for Prometheus.
    pub metrics_folder: Option<PathBuf>,
    /// The folder where each process has a socket that tells its metrics.
    pub metrics_sockets: Option<PathBuf>,
    /// How long a connection is kept without a request. Users have no setting for it.
    pub idle_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self::general(&|_| Ok(None)).expect("the defaults are valid")
    }
}

static ENDPOINT: Setting = Setting {
    key: Some("endpoint"),
    variable: "AZURE_MANAGEDHSM_URL",
    default: "https://<HSM>.managedhsm.azure.net",
    range: None,
    help: "https://<host>[:<port>] that gets all requests for HSMs: a private endpoint, another cloud, the emulator",
};
static KEY_VAULT_ENDPOINT: Setting = Setting {
    key: Some("keyvault-endpoint"),
    variable: "AZURE_KEYVAULT_URL",
    default: "https://<vault>.vault.azure.net",
    range: None,
    help: "https://<host>[:<port>] that gets all requests for key vaults",
};
static ENDPOINTS: Setting = Setting {
    key: Some("endpoints"),
    variable: "AKV_ENDPOINTS",
    default: "",
    range: None,
    help: "endpoints of single vaults: <vault>=https://<host>[:<port>], separated by spaces; keyvault:<vault> names a key vault; a vault that is there more than once is asked at the first healthy endpoint",
};
static CLOUD: Setting = Setting {
    key: Some("cloud"),
    variable: "AKV_CLOUD",
    default: "public",
    range: None,
    help: "public, usgovernment or china; without it the host of the endpoint tells",
};
static API_VERSION: Setting = Setting {
    key: Some("api-version"),
    variable: "AKV_API_VERSION",
    default: "7.4",
    range: None,
    help: "version of the service's API that requests name: 7.4, 2025-07-01, 2026-05-01-preview and so on; a request for what a later stable version brought names that one; previews, which ML-DSA needs, are only used where one is named here",
};
static CA_FILE: Setting = Setting {
    key: Some("ca-file"),
    variable: "AKV_CA_FILE",
    default: "",
    range: None,
    help: "PEM file with CA certificates that are trusted besides the system's",
};
static REQUIRE_POST_QUANTUM: Setting = Setting {
    key: Some("require-post-quantum"),
    variable: "AKV_REQUIRE_POST_QUANTUM",
    default: "no",
    range: None,
    help: "yes refuses servers without TLS 1.3 and the key exchange X25519MLKEM768, which is otherwise only preferred",
};
static HTTPS_PROXY: Setting = Setting {
    key: Some("https-proxy"),
    variable: "HTTPS_PROXY",
    default: "",
    range: None,
    help: "http://[<user>:<password>@]<host>[:<port>] of the proxy that connections go through",
};
static NO_PROXY: Setting = Setting {
    key: Some("no-proxy"),
    variable: "NO_PROXY",
    default: "",
    range: None,
    help: "hosts, domains and address ranges that are reached without the proxy, separated by commas; * for all",
};
static OPERATION_TIMEOUT: Setting = Setting {
    key: Some("operation-timeout"),
    variable: "AKV_OPERATION_TIMEOUT",
    default: "30",
    range: Some(0.1..=600.0),
    help: "seconds that an operation may take in all",
};
static CONNECT_TIMEOUT: Setting = Setting {
    key: Some("connect-timeout"),
    variable: "AKV_CONNECT_TIMEOUT",
    default: "5",
    range: Some(0.1..=600.0),
    help: "seconds that opening a connection may take",
};
static RESPONSE_TIMEOUT: Setting = Setting {
    key: Some("response-timeout"),
    variable: "AKV_RESPONSE_TIMEOUT",
    default: "10",
    range: Some(0.1..=600.0),
    help: "seconds that an answer is waited for, connecting included, before the request is sent again on another connection; what must not be done twice, as creating a key, is not sent again",
};
static MAX_RETRIES: Setting = Setting {
    key: Some("max-retries"),
    variable: "AKV_MAX_RETRIES",
    default: "6",
    range: Some(0.0..=100.0),
    help: "how often a request is sent again, at most and within its time, after a lost connection, 408, 429, 500, 502, 503 or 504",
};
static MAX_CONNECTIONS: Setting = Setting {
    key: Some("max-connections"),
    variable: "AKV_MAX_CONNECTIONS",
    default: "20",
    range: Some(1.0..=1000.0),
    help: "requests under way, and so connections open, at most; over HTTP/2, which asynchronous jobs use where the server offers it, one connection carries as many as the server allows",
};
static CONNECTIONS_AHEAD: Setting = Setting {
    key: Some("connections-ahead"),
    variable: "AKV_CONNECTIONS_AHEAD",
    default: "0",
    range: Some(0.0..=1000.0),
    help: "connections that a process opens, with a token, as soon as it knows a key, and that each process forked from it opens again, so that the first operations cost no more than the later ones; no more than max-connections",
};
static HEDGING: Setting = Setting {
    key: Some("hedging"),
    variable: "AKV_HEDGING",
    default: "no",
    range: None,
    help: "yes sends an operation that takes longer than 95 % of the last ones a second time, to another endpoint if there is one, and takes the first answer; at most one operation in twenty",
};

/// The settings that are not about credentials.
static GENERAL: [&Setting; 18] = [
    &ENDPOINT,
    &KEY_VAULT_ENDPOINT,
    &ENDPOINTS,
    &CLOUD,
    &API_VERSION,
    &CA_FILE,
    &REQUIRE_POST_QUANTUM,
    &HTTPS_PROXY,
    &NO_PROXY,
    &OPERATION_TIMEOUT,
    &CONNECT_TIMEOUT,
    &RESPONSE_TIMEOUT,
    &MAX_RETRIES,
    &MAX_CONNECTIONS,
    &CONNECTIONS_AHEAD,
    &HEDGING,
    &metrics::FOLDER,
    &metrics::SOCKETS,
];

impl Settings {
    /// All settings that there are.
    pub fn all() -> impl Iterator<Item = &'static Setting> {
        GENERAL.into_iter().chain(CredentialSettings::all())
    }

    /// The settings by what the environment says. A variable that is set to nothing counts as not
    /// set.
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
    pub fn read(
        find: impl Fn(&'static Setting) -> Result<Option<(String, Origin)>, Error>,
    ) -> Result<Self, Error> {
        let find: Find<'_> = &find;
        Ok(Self {
            credentials: CredentialSettings::read(find)?,
            ..Self::general(find)?
        })
    }

    /// The settings that are not about credentials.
    fn general(find: Find<'_>) -> Result<Self, Error> {
        Ok(Self {
            front_end: FrontEnd::default(),
            endpoint: find(&ENDPOINT)?.map(https).transpose()?,
            key_vault_endpoint: find(&KEY_VAULT_ENDPOINT)?.map(https).transpose()?,
            endpoints: find(&ENDPOINTS)?.map_or_else(|| Ok(Vec::new()), endpoints)?,
            cloud: find(&CLOUD)?.map(cloud).transpose()?,
            api_version: api_version(API_VERSION.found(find)?)?,
            ca_file: path(find, &CA_FILE)?,
            require_post_quantum: REQUIRE_POST_QUANTUM.is_on(find)?,
            https_proxy: find(&HTTPS_PROXY)?.map(proxy).transpose()?,
            no_proxy: text(find, &NO_PROXY)?,
            credentials: CredentialSettings::default(),
            operation_timeout: OPERATION_TIMEOUT.seconds(find)?,
            connect_timeout: CONNECT_TIMEOUT.seconds(find)?,
            response_timeout: RESPONSE_TIMEOUT.seconds(find)?,
            max_retries: MAX_RETRIES.count(find)?,
            max_connections: MAX_CONNECTIONS.count(find)? as usize,
            connections_ahead: CONNECTIONS_AHEAD.count(find)? as usize,
            hedging: HEDGING.is_on(find)?,
            metrics_folder: find(&metrics::FOLDER)?.map(metrics::folder).transpose()?,
            metrics_sockets: find(&metrics::SOCKETS)?
                .map(metrics::of_sockets)
                .transpose()?,
            idle_timeout: Duration::from_secs(60),
        })
    }

    /// The address of a vault.
    ///
    /// # Errors
    /// The vault's name makes no host name, or it was named by an identifier of another cloud.
    pub fn address(&self, vault: &Vault) -> Result<Url, Error> {
        let cloud = self.cloud_of(vault);
        self.check_identifier(vault, cloud)?;
        if let Some(endpoint) = self.endpoint_of(vault) {
            return Ok(endpoint.clone());
        }
        Ok(vault.default_endpoint(cloud.domain(vault.service))?)
    }

    /// An identifier names a host, and no other vault's is asked in its place, at whichever of its
    /// endpoints.
    fn check_identifier(&self, vault: &Vault, cloud: Cloud) -> Result<(), UriError> {
        fn told(url: &Url) -> Option<(Cloud, Service, &str)> {
            Cloud::with_vault(url.host_str()?)
        }
        let Some(named) = vault.cloud else {
            return Ok(());
        };
        let first = self.endpoint_of(vault);
        let all = first.into_iter().chain(self.endpoints_of(vault));
        let is_other = |(cloud, service, name): &(Cloud, Service, &str)| {
            (*cloud, *service) != (named, vault.service)
                || !name.eq_ignore_ascii_case(vault.name.as_str())
        };
        if let Some((cloud, service, name)) = all.filter_map(told).find(is_other) {
            let host = format!("{name}.{}", cloud.domain(service));
            let used = format!("'{host}', by the setting of an endpoint");
            return Err(vault.elsewhere(named, &used));
        }
        match named == cloud || first.and_then(told).is_some() {
            true => Ok(()),
            false => {
                let used = format!("the cloud '{}': set cloud = {}", cloud.name(), named.name());
                Err(vault.elsewhere(named, &used))
            }
        }
    }

    /// The cloud of a vault: as set, else as its endpoint's host tells, else the public one.
    pub fn cloud_of(&self, vault: &Vault) -> Cloud {
        let host = || self.endpoint_of(vault)?.host_str();
        self.cloud
            .or_else(|| Cloud::of_host(host()?))
            .unwrap_or_default()
    }

    /// Where requests to a vault go if the user said so; none: to its address in the cloud's
    /// domain.
    pub fn endpoint_of(&self, vault: &Vault) -> Option<&Url> {
        let general = match vault.service {
            Service::ManagedHsm => &self.endpoint,
            Service::KeyVault => &self.key_vault_endpoint,
        };
        let own = self.endpoints.iter().find(|(of, _)| of.is_same(vault));
        own.map(|(_, url)| url).or(general.as_ref())
    }

    /// Which hosts are reached through the proxy.
    pub fn proxy_matcher(&self) -> Option<Matcher> {
        let exceptions = self.no_proxy.as_deref().unwrap_or_default();
        let proxy = self.https_proxy.as_ref()?;
        Some(proxy.matcher(exceptions))
    }

    /// All endpoints that the user gave for a vault, in order of preference; empty: there is only
    /// its [`Settings::address`].
    pub(crate) fn endpoints_of(&self, vault: &Vault) -> Vec<&Url> {
        let own = self.endpoints.iter().filter(|(of, _)| of.is_same(vault));
        own.map(|(_, url)| url).collect()
    }
}

fn cloud((text, origin): (String, Origin)) -> Result<Cloud, Error> {
    Cloud::by_name(text.trim()).ok_or_else(|| {
        Error::setting(
            &origin,
            &format!(
                "'{}' is none of public, usgovernment, china",
                text.trim().escape_debug()
            ),
        )
    })
}

fn api_version((text, origin): (String, Origin)) -> Result<ApiVersion, Error> {
    let parsed = text.trim().parse();
    parsed.map_err(|problem: String| Error::setting(&origin, &problem))
}

fn endpoints((text, origin): (String, Origin)) -> Result<Vec<(Vault, Url)>, Error> {
    let mut endpoints = Vec::new();
    for entry in text
        .split([' ', '\t', '\n', ','])
        .filter(|entry| !entry.is_empty())
    {
        let Some((vault, url)) = entry.split_once('=') else {
            return Err(Error::setting(
                &origin,
                "an entry has no '='; give <vault>=https://<host>[:<port>], separated by spaces",
            ));
        };
        let vault: Vault = vault
            .parse()
            .map_err(|error: UriError| Error::setting(&origin, &error.to_string()))?;
        endpoints.push((vault, https((url.to_owned(), origin.clone()))?));
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uri::KeyUri;

    fn from(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(|setting| {
            let found = pairs.iter().find(|(name, _)| *name == setting.variable);
            Ok(found.map(|(_, value)| ((*value).to_owned(), Origin::Variable(setting.variable))))
        })
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let settings = from(&[]).unwrap();
        assert!(settings.endpoint.is_none() && settings.https_proxy.is_none());
        assert_eq!(settings.operation_timeout, Duration::from_secs(30));
        assert_eq!(settings.connect_timeout, Duration::from_secs(5));
        assert_eq!(settings.response_timeout, Duration::from_secs(10));
        assert_eq!((settings.max_retries, settings.max_connections), (6, 20));
        assert_eq!(settings.idle_timeout, Duration::from_secs(60));
        assert_eq!(settings.api_version.as_str(), "7.4");
        assert!(!settings.require_post_quantum && !settings.hedging);
        assert_eq!(format!("{:?}", Settings::default()), {
            let credentials = CredentialSettings::default();
            format!(
                "{:?}",
                Settings {
                    credentials,
                    ..settings
                }
            )
        });
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_name_and_the_value() {
        for (name, value) in [
            ("AKV_OPERATION_TIMEOUT", "0"),
            ("AKV_OPERATION_TIMEOUT", "NaN"),
            ("AKV_CONNECT_TIMEOUT", "601"),
            ("AKV_CONNECT_TIMEOUT", "5s"),
            ("AKV_MAX_CONNECTIONS", "0"),
            ("AKV_MAX_CONNECTIONS", "-1"),
            ("AKV_MAX_RETRIES", "101"),
            ("AKV_CLOUD", "germany"),
            ("AKV_API_VERSION", "7.four"),
            ("AKV_REQUIRE_POST_QUANTUM", "maybe"),
            ("AKV_ENDPOINTS", "My_HSM=https://h"),
        ] {
            let message = from(&[(name, value)]).unwrap_err().to_string();
            let value = value.split('=').next().unwrap();
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
            for (name, value) in [
                ("AZURE_MANAGEDHSM_URL", url.to_owned()),
                ("AZURE_KEYVAULT_URL", url.to_owned()),
                ("AKV_ENDPOINTS", format!("MyHSM={url}")),
            ] {
                let message = from(&[(name, &value)]).unwrap_err().to_string();
                assert!(message.contains(name), "{message}");
                assert!(!message.contains("pw"), "{message}");
            }
        }
        assert!(from(&[("AZURE_MANAGEDHSM_URL", "https://localhost:8443/")]).is_ok());
    }

    #[test]
    fn each_vault_has_its_address_and_its_cloud() {
        let address = |settings: &Settings, vault: &str| {
            let vault = vault.parse().unwrap();
            let url = settings.address(&vault).unwrap();
            (url.to_string(), settings.cloud_of(&vault))
        };
        let settings = from(&[(
            "AKV_ENDPOINTS",
            "MyHSM=https://hsm.internal keyvault:MyVault=https://v.vault.azure.cn",
        )])
        .unwrap();
        for (vault, url, cloud) in [
            ("myHSM", "https://hsm.internal/", Cloud::Public),
            (
                "Other",
                "https://other.managedhsm.azure.net/",
                Cloud::Public,
            ),
            (
                "keyvault:MyHSM",
                "https://myhsm.vault.azure.net/",
                Cloud::Public,
            ),
            (
                "keyvault:MyVault",
                "https://v.vault.azure.cn/",
                Cloud::China,
            ),
        ] {
            assert_eq!(address(&settings, vault), (url.to_owned(), cloud));
        }
        let settings = from(&[("AKV_CLOUD", "AzureUSGovernment")]).unwrap();
        let expected = "https://myhsm.managedhsm.usgovcloudapi.net/".to_owned();
        assert_eq!(address(&settings, "MyHSM"), (expected, Cloud::UsGovernment));
        let settings = from(&[("AZURE_MANAGEDHSM_URL", "https://x.managedhsm.azure.cn")]).unwrap();
        assert_eq!(address(&settings, "MyHSM").1, Cloud::China);
        assert_eq!(address(&settings, "keyvault:MyHSM").1, Cloud::Public);
    }

    #[test]
    fn a_key_identifier_leads_to_no_other_vault_than_its_own() {
        let key: KeyUri = "https://MyHSM.managedhsm.azure.cn/keys/k".parse().unwrap();
        for (variable, value, expected) in [
            (
                "AKV_CLOUD",
                "china",
                Ok("https://myhsm.managedhsm.azure.cn/"),
            ),
            ("AKV_CLOUD", "public", Err("set cloud = china")),
            (
                "AZURE_MANAGEDHSM_URL",
                "https://myhsm.managedhsm.azure.cn",
                Ok("https://myhsm.managedhsm.azure.cn/"),
            ),
            (
                "AZURE_MANAGEDHSM_URL",
                "https://other.managedhsm.azure.cn",
                Err("requests go to 'other.managedhsm.azure.cn'"),
            ),
            (
                "AZURE_MANAGEDHSM_URL",
                "https://other.managedhsm.azure.cn.",
                Err("requests go to 'other.managedhsm.azure.cn'"),
            ),
            (
                "AKV_ENDPOINTS",
                "MyHSM=https://myhsm.managedhsm.azure.cn MyHSM=https://hsm.internal",
                Ok("https://myhsm.managedhsm.azure.cn/"),
            ),
            (
                "AKV_ENDPOINTS",
                "MyHSM=https://myhsm.managedhsm.azure.cn MyHSM=https://other.managedhsm.azure.cn",
                Err("requests go to 'other.managedhsm.azure.cn'"),
            ),
        ] {
            let settings = from(&[(variable, value)]).unwrap();
            let address = settings.address(&key.vault);
            match (address, expected) {
                (Ok(address), Ok(expected)) => assert_eq!(address.as_str(), expected),
                (Err(error), Err(expected)) => {
                    let message = error.to_string();
                    assert!(message.contains(expected), "{value}: {message}");
                }
                (address, _) => panic!("{value}: {address:?}"),
            }
        }
        // An emulator's, or a private one's.
        let public: KeyUri = "https://MyHSM.managedhsm.azure.net/keys/k".parse().unwrap();
        let settings = from(&[("AZURE_MANAGEDHSM_URL", "https://localhost:8443")]).unwrap();
        let address = settings.address(&public.vault).unwrap();
        assert_eq!(address.as_str(), "https://localhost:8443/");
    }

    #[test]
    fn a_proxy_is_taken_with_and_without_a_scheme_and_its_password_is_not_shown() {
        for text in ["proxy:3128", "http://proxy:3128", "http://user:pw@proxy"] {
            let settings = from(&[("HTTPS_PROXY", text)]).unwrap();
            assert!(settings.proxy_matcher().is_some(), "{text}");
        }
        let message = from(&[("HTTPS_PROXY", "socks://user:pw@proxy")]).unwrap_err();
        let message = message.to_string();
        assert!(message.contains("HTTPS_PROXY") && !message.contains("pw"));
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
