//! Names of keys and of vaults, in all forms that people have them in.

mod error;
mod names;
mod parse;

use std::fmt;
use std::str::FromStr;

pub use self::error::UriError;
pub use self::names::{KeyName, KeyVersion, VaultName};
use self::parse::Named;
use crate::cloud::{Cloud, Service};

/// A Managed HSM or a key vault: `managedhsm:<name>` or `keyvault:<name>`; a bare name is an HSM's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vault {
    /// Which of the two.
    pub service: Service,
    /// Its name.
    pub name: VaultName,
    /// The cloud that a key identifier named; requests for it go to no other.
    pub(crate) cloud: Option<Cloud>,
}

impl Vault {
    /// The vault of that name, in the cloud that the settings name.
    pub fn new(service: Service, name: VaultName) -> Self {
        Self {
            service,
            name,
            cloud: None,
        }
    }

    /// Whether it was named by an identifier, which is true in one cloud only.
    pub fn is_by_identifier(&self) -> bool {
        self.cloud.is_some()
    }

    /// Its address in a cloud's domain.
    pub(crate) fn default_endpoint(&self, domain: &str) -> Result<url::Url, UriError> {
        // A name such as 'xn--a' keeps to the service's rules and is no host name all the same.
        url::Url::parse(&format!("https://{}.{domain}", self.name)).map_err(|error| {
            let problem = format!("the vault name makes no host name ({error})");
            UriError::new(&self.to_string(), problem)
        })
    }

    /// What is wrong with its identifier where requests for the vault go somewhere else.
    pub(crate) fn elsewhere(&self, cloud: Cloud, used: &str) -> UriError {
        let identifier = format!("https://{}.{}", self.name, cloud.domain(self.service));
        UriError::new(&identifier, format!("requests go to {used}"))
    }

    /// Whether both are the same one: names differ in more than case.
    pub fn is_same(&self, other: &Self) -> bool {
        self.service == other.service
            && (self.name.as_str()).eq_ignore_ascii_case(other.name.as_str())
    }
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.name)
    }
}

impl FromStr for Vault {
    type Err = UriError;

    /// Parses `<name>`, `managedhsm:<name>`, `keyvault:<name>`, and the address that Azure shows.
    fn from_str(text: &str) -> Result<Self, UriError> {
        let refused = |problem| UriError::new(text, problem);
        let Some((scheme, _)) = text.split_once(':') else {
            let name = VaultName::checked(text).map_err(refused)?;
            return Ok(Self::new(Service::ManagedHsm, name));
        };
        let known = parse::service(scheme).is_some() || scheme.eq_ignore_ascii_case("https");
        let expected = "expected <name>, managedhsm:<name> or keyvault:<name>";
        if !known {
            return Err(UriError::new(text, expected));
        }
        let named = parse::parse(text).map_err(refused)?;
        match (&named.key, &named.version) {
            (None, None) => Ok(named.vault()),
            _ => Err(refused(format!("it names a key; {expected}"))),
        }
    }
}

impl Named {
    fn vault(self) -> Vault {
        Vault {
            service: self.service,
            name: self.vault,
            cloud: self.cloud,
        }
    }

    fn key(mut self) -> Result<KeyUri, String> {
        let key = self.key.take().ok_or_else(parse::without_key)?;
        let version = self.version.take();
        Ok(KeyUri {
            vault: self.vault(),
            key,
            version,
        })
    }
}

/// The name of a key, with or without a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyUri {
    /// Where it is kept.
    pub vault: Vault,
    /// The key.
    pub key: KeyName,
    /// The version; none means the newest.
    pub version: Option<KeyVersion>,
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.vault, self.key)?;
        match &self.version {
            Some(version) => write!(f, "?version={version}"),
            None => Ok(()),
        }
    }
}

impl FromStr for KeyUri {
    type Err = UriError;

    /// Parses, of an HSM (`managedhsm:`) or of a key vault (`keyvault:`):
    ///
    /// - `managedhsm:<vault>:<key>[?version=<version>]` and `managedhsm:<vault>:<key>[/<version>]`
    /// - `managedhsm:vault=<vault>,name=<key>[,version=<version>]`
    /// - `akv:[type=managedhsm|keyvault,]vault=<vault>,name=<key>[,version=<version>]`
    /// - the identifier that Azure shows, `https://<vault>.<domain>/keys/<key>[/<version>]`, bare
    ///   or after `managedhsm:`
    ///
    /// Schemes and attribute names may be in any case, values percent-encoded.
    fn from_str(uri: &str) -> Result<Self, UriError> {
        let named = parse::parse(uri).and_then(Named::key);
        named.map_err(|problem| UriError::new(uri, problem))
    }
}

/// What a store can be opened for: a key, or all keys of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreUri {
    /// A key.
    Key(KeyUri),
    /// A vault: `managedhsm:<vault>`, `keyvault:<vault>`, `akv:vault=<vault>` or its address.
    Vault(Vault),
}

impl FromStr for StoreUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let named = parse::parse(uri).and_then(|named| match (&named.key, &named.version) {
            (None, None) => Ok(Self::Vault(named.vault())),
            _ => named.key().map(Self::Key),
        });
        named.map_err(|problem| UriError::new(uri, problem))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789ABCDEF";

    #[test]
    fn every_documented_form_is_understood() {
        let cases = [
            (
                "managedhsm:MyHSM:mykey".to_owned(),
                "managedhsm:MyHSM:mykey".to_owned(),
            ),
            (
                "ManagedHSM:MyHSM:my%2Dkey".to_owned(),
                "managedhsm:MyHSM:my-key".to_owned(),
            ),
            (
                format!("managedhsm:MyHSM:mykey?version={VERSION}"),
                format!("managedhsm:MyHSM:mykey?version={VERSION}"),
            ),
            (
                "KeyVault:MyVault:mykey".to_owned(),
                "keyvault:MyVault:mykey".to_owned(),
            ),
            (
                "akv:vault=MyHSM,name=mykey".to_owned(),
                "managedhsm:MyHSM:mykey".to_owned(),
            ),
            (
                format!("AKV:version={VERSION},Name=mykey,VAULT=MyHSM"),
                format!("managedhsm:MyHSM:mykey?version={VERSION}"),
            ),
        ];
        let cases = cases.into_iter().chain(identifiers());
        for (uri, canonical) in cases {
            assert_eq!(uri.parse::<KeyUri>().unwrap().to_string(), canonical);
        }
    }

    /// Names as the portal and other tools show them.
    fn identifiers() -> Vec<(String, String)> {
        let hsm = "managedhsm:MyHSM:mykey".to_owned();
        let pinned = format!("{hsm}?version={VERSION}");
        let vault = "keyvault:MyVault:mykey".to_owned();
        vec![
            (format!("managedhsm:MyHSM:mykey/{VERSION}"), pinned.clone()),
            ("managedhsm:vault=MyHSM,name=mykey".to_owned(), hsm.clone()),
            (
                "keyvault:name=mykey,vault=MyVault".to_owned(),
                vault.clone(),
            ),
            (
                "akv:type=keyvault,vault=MyVault,name=mykey".to_owned(),
                vault.clone(),
            ),
            (
                "akv:vault=MyHSM,type=ManagedHSM,name=mykey".to_owned(),
                hsm.clone(),
            ),
            (
                "https://MyHSM.managedhsm.azure.net/keys/mykey".to_owned(),
                hsm.clone(),
            ),
            (
                format!("https://MyHSM.managedhsm.azure.net:443/keys/mykey/{VERSION}"),
                pinned,
            ),
            (
                "managedhsm:HTTPS://MyHSM.ManagedHSM.Azure.CN/keys/mykey/".to_owned(),
                hsm,
            ),
            (
                "https://MyVault.vault.azure.net/keys/mykey".to_owned(),
                vault,
            ),
        ]
    }

    #[test]
    fn a_vault_is_named_in_the_same_forms() {
        for (text, canonical) in [
            ("MyHSM", "managedhsm:MyHSM"),
            ("KeyVault:MyVault", "keyvault:MyVault"),
            ("managedhsm:vault=MyHSM", "managedhsm:MyHSM"),
            ("https://MyHSM.managedhsm.azure.net/", "managedhsm:MyHSM"),
            ("https://MyVault.vault.azure.net", "keyvault:MyVault"),
        ] {
            assert_eq!(text.parse::<Vault>().unwrap().to_string(), canonical);
        }
        for (text, expected) in [
            ("managedhsm:MyHSM:k", "it names a key"),
            ("pkcs11:MyHSM", "expected <name>, managedhsm:<name>"),
            ("https://example.com/", "belongs to no Managed HSM"),
        ] {
            let message = text.parse::<Vault>().unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn each_malformed_uri_gets_its_own_explanation() {
        let long = format!("managedhsm:MyHSM:{}", "k".repeat(128));
        let cases = [
            ("mykey", "no scheme"),
            ("pkcs11:MyHSM:mykey", "scheme 'pkcs11' is unknown"),
            ("managedhsm://MyHSM/mykey", "'//' does not belong"),
            ("managedhsm:MyHSM", "key name is missing"),
            ("managedhsm:MyHSM:a:b", "too many parts"),
            ("managedhsm::mykey", "vault name '' is not valid"),
            (
                "managedhsm:My.HSM:mykey",
                "vault name 'My.HSM' is not valid",
            ),
            (
                "managedhsm:evil.example%2f:mykey",
                "vault name 'evil.example/' is not valid",
            ),
            ("managedhsm:1HSM:mykey", "vault name '1HSM' is not valid"),
            ("managedhsm:MyHSM:my_key", "key name 'my_key' is not valid"),
            (
                "managedhsm:MyHSM:..%2Frng",
                "key name '../rng' is not valid",
            ),
            (&long, "1 to 127 characters"),
            (
                "managedhsm:MyHSM:my%2",
                "'%' without two hexadecimal digits",
            ),
            ("managedhsm:MyHSM:my%ff", "does not decode to UTF-8"),
            (
                "managedhsm:MyHSM:mykey?version=12",
                "version '12' is not valid",
            ),
            ("managedhsm:MyHSM:mykey?v=12", "parameter 'v' is unknown"),
            ("managedhsm:MyHSM:mykey#x", "fragment"),
            ("akv:vault=MyHSM", "key name is missing"),
            ("akv:name=mykey", "vault name is missing"),
            ("akv:MyHSM,mykey", "not of the form attribute=value"),
            ("akv:vault=MyHSM,vault=Other,name=k", "given twice"),
            (
                "akv:vault=MyHSM,name=k,type=rsa",
                "the type 'rsa' is unknown",
            ),
            (
                "keyvault:type=keyvault,vault=MyVault,name=k",
                "attribute 'type' is unknown",
            ),
            ("managedhsm:MyHSM:k/1", "version '1' is not valid"),
            ("managedhsm:MyHSM:k/1?version=2", "version is given twice"),
            (
                "https://myhsm.managedhsm.azure.net.evil.example/keys/k",
                "belongs to no Managed HSM or key vault",
            ),
            ("https://127.0.0.1:8443/keys/k", "belongs to no Managed HSM"),
            (
                "https://me@myhsm.managedhsm.azure.net/keys/k",
                "vault name 'me@myhsm' is not valid",
            ),
            (
                "https://other.myhsm.managedhsm.azure.net/keys/k",
                "vault name 'other.myhsm' is not valid",
            ),
            (
                "https://myhsm.managedhsm.azure.net:8443/keys/k",
                "belongs to no Managed HSM",
            ),
            (
                "https://myhsm.managedhsm.azure.net/secrets/k",
                "'/secrets/k' is not that of a key",
            ),
            (
                "https://myhsm.managedhsm.azure.net/keys/k?api-version=7.4",
                "a query ('?') does not belong",
            ),
            (
                "https://myhsm.managedhsm.azure.net/keys/../rng",
                "key name '..' is not valid",
            ),
            ("https://myhsm.managedhsm.azure.net/", "key name is missing"),
            (
                "managedhsm:https://myvault.vault.azure.net/keys/k",
                "one of 'keyvault:', not of 'managedhsm:'",
            ),
            ("http://myhsm.managedhsm.azure.net/keys/k", "'//' does not"),
        ];
        for (uri, expected) in cases {
            let message = uri.parse::<KeyUri>().unwrap_err().to_string();
            assert!(message.contains(expected), "{uri}: {message}");
        }
    }

    #[test]
    fn a_vault_name_that_makes_no_host_is_an_error_and_not_a_panic() {
        let host = |vault: &str| {
            let vault = vault.parse::<Vault>().unwrap();
            vault.default_endpoint("managedhsm.azure.net")
        };
        assert_eq!(
            host("MyHSM").unwrap().host_str(),
            Some("myhsm.managedhsm.azure.net")
        );
        assert!(host("xn--a").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(uri in "(managedhsm|keyvault|akv)?:?\\PC{0,60}") {
            let _ = uri.parse::<KeyUri>();
        }

        #[test]
        fn what_is_shown_parses_to_the_same(
            vault in "[A-Za-z][A-Za-z0-9-]{2,23}",
            key in "[A-Za-z0-9-]{1,127}",
            version in proptest::option::of("[0-9a-f]{32}"),
        ) {
            for service in Service::ALL {
                let (vault, key) = (vault.clone(), key.clone());
                let uri = KeyUri {
                    vault: Vault::new(service, vault.parse().unwrap()),
                    key: key.parse().unwrap(),
                    version: version.as_deref().map(|version| version.parse().unwrap()),
                };
                prop_assert_eq!(uri.to_string().parse::<KeyUri>().unwrap(), uri);
            }
        }
    }
}
