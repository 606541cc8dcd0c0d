//! Key URIs, checked so strictly that no text of theirs can change the host or the path of a request.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::cloud::Service;

/// Why a key URI was refused: the URI, the part at fault, and the form that is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid key URI '{uri}': {problem}")]
pub struct UriError {
    uri: String,
    problem: String,
}

const FORMS: &str = "expected managedhsm:<vault>:<key>, managedhsm:<vault>:<key>?version=<version>, \
                     akv:vault=<vault>,name=<key>,version=<version> or keyvault:<vault>:<key>";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn checked(name: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(name).map(|()| Self(name.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = UriError;

            fn from_str(name: &str) -> Result<Self, UriError> {
                Self::checked(name).map_err(|problem| UriError { uri: printable(name), problem })
            }
        }
    };
}

name!(
    /// Name of a Managed HSM or of a key vault: a letter, then letters, digits and hyphens, 3 to 24 characters in all.
    VaultName,
    |name| {
        let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (3..=24).contains(&name.len());
        refuse_unless(valid, || {
            format!(
                "the vault name '{}' is not valid: it must start with a letter, have 3 to 24 characters, \
                 and hold only letters, digits and hyphens",
                printable(name)
            )
        })
    }
);

/// A Managed HSM or a key vault: `managedhsm:<name>` or `keyvault:<name>`; a bare name is an HSM's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vault {
    /// Which of the two.
    pub service: Service,
    /// Its name.
    pub name: VaultName,
}

impl Vault {
    /// Its address in a cloud's domain.
    pub(crate) fn default_endpoint(&self, domain: &str) -> Result<url::Url, UriError> {
        // A name such as 'xn--a' keeps to the service's rules and is no host name all the same.
        url::Url::parse(&format!("https://{}.{domain}", self.name)).map_err(|error| UriError {
            uri: self.to_string(),
            problem: format!("the vault name makes no host name ({error})"),
        })
    }

    /// Whether both are the same one: names differ in more than case.
    pub fn is_same(&self, other: &Self) -> bool {
        self.service == other.service && self.name.0.eq_ignore_ascii_case(&other.name.0)
    }
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.name)
    }
}

impl FromStr for Vault {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (service, name) = match text.split_once(':') {
            Some((scheme, name)) => (service(scheme), name),
            None => (Some(Service::ManagedHsm), text),
        };
        let unknown = || "expected <name>, managedhsm:<name> or keyvault:<name>".to_owned();
        let vault = service.ok_or_else(unknown).and_then(|service| {
            let name = VaultName::checked(name)?;
            Ok(Self { service, name })
        });
        vault.map_err(|problem| UriError {
            uri: printable(text),
            problem,
        })
    }
}

/// The service that a scheme names.
fn service(scheme: &str) -> Option<Service> {
    let mut all = Service::ALL.into_iter();
    all.find(|service| scheme.eq_ignore_ascii_case(service.scheme()))
}

name!(
    /// Name of a key: letters, digits and hyphens, 1 to 127 characters.
    KeyName,
    |name| {
        let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (1..=127).contains(&name.len());
        refuse_unless(valid, || {
            format!(
                "the key name '{}' is not valid: it must have 1 to 127 characters, \
                 and hold only letters, digits and hyphens",
                printable(name)
            )
        })
    }
);

name!(
    /// Version of a key: 32 hexadecimal digits.
    KeyVersion,
    |version| {
        let valid = version.len() == 32 && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        refuse_unless(valid, || {
            format!("the version '{}' is not valid: it must be 32 hexadecimal digits", printable(version))
        })
    }
);

fn refuse_unless(valid: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if valid { Ok(()) } else { Err(problem()) }
}

/// Text from outside, fit for an error message: one line, of bounded length.
fn printable(text: &str) -> String {
    const LIMIT: usize = 160;
    let mut shown: String = text
        .chars()
        .take(LIMIT)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LIMIT).is_some() {
        shown.push('…');
    }
    shown
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

    /// Parses `managedhsm:<vault>:<key>[?version=<version>]`, `keyvault:<vault>:<key>[?version=<version>]` and
    /// `akv:vault=<vault>,name=<key>[,version=<version>]`, which names a key of an HSM.
    /// Schemes and attribute names may be in any case, values percent-encoded.
    fn from_str(uri: &str) -> Result<Self, UriError> {
        parse(uri).map_err(|problem| UriError {
            uri: printable(uri),
            problem,
        })
    }
}

/// What a store can be opened for: a key, or all keys of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreUri {
    /// A key.
    Key(KeyUri),
    /// A vault: `managedhsm:<vault>`, `keyvault:<vault>` or `akv:vault=<vault>`.
    Vault(Vault),
}

impl FromStr for StoreUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let vault = uri.split_once(':').and_then(|(scheme, rest)| {
            let attribute = scheme.eq_ignore_ascii_case("akv");
            match (service(scheme), rest.split_once('=')) {
                (Some(service), None) if !rest.contains([':', '?', '/', '#']) => {
                    Some((service, rest))
                }
                (None, Some((name, vault)))
                    if attribute
                        && name.eq_ignore_ascii_case("vault")
                        && !vault.contains([',', '=']) =>
                {
                    Some((Service::ManagedHsm, vault))
                }
                _ => None,
            }
        });
        let Some((service, name)) = vault else {
            return uri.parse().map(Self::Key);
        };
        decode("vault name", name)
            .and_then(|name| VaultName::checked(&name))
            .map(|name| Self::Vault(Vault { service, name }))
            .map_err(|problem| UriError {
                uri: printable(uri),
                problem,
            })
    }
}

fn parse(uri: &str) -> Result<KeyUri, String> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err(format!("it has no scheme; {FORMS}"));
    };
    if rest.starts_with("//") {
        return Err(format!("'//' does not belong after the scheme; {FORMS}"));
    }
    if rest.contains('#') {
        return Err(format!("a fragment ('#') does not belong in it; {FORMS}"));
    }
    if let Some(service) = service(scheme) {
        parse_path(service, rest)
    } else if scheme.eq_ignore_ascii_case("akv") {
        parse_attributes(rest)
    } else {
        Err(format!(
            "the scheme '{}' is unknown; {FORMS}",
            printable(scheme)
        ))
    }
}

/// `<vault>:<key>[?version=<version>]`
fn parse_path(service: Service, rest: &str) -> Result<KeyUri, String> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (vault, key) = match path.split(':').collect::<Vec<_>>()[..] {
        [vault, key] => (vault, key),
        [_] => return Err(format!("the key name is missing; {FORMS}")),
        _ => return Err(format!("it has too many parts separated by ':'; {FORMS}")),
    };
    let version = query.map(parse_query).transpose()?;
    build(
        service,
        Some(decode("vault name", vault)?),
        Some(decode("key name", key)?),
        version,
    )
}

/// `version=<version>`, the only parameter there is.
fn parse_query(query: &str) -> Result<String, String> {
    let mut version = None;
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !name.eq_ignore_ascii_case("version") {
            return Err(format!(
                "the parameter '{}' is unknown; only 'version' may follow '?'",
                printable(name)
            ));
        }
        if version.replace(decode("version", value)?).is_some() {
            return Err("the parameter 'version' is given twice".to_owned());
        }
    }
    version.ok_or_else(|| "the parameter 'version' is missing after '?'".to_owned())
}

/// `vault=<vault>,name=<key>[,version=<version>]`, in any order.
fn parse_attributes(rest: &str) -> Result<KeyUri, String> {
    let (mut vault, mut key, mut version) = (None, None, None);
    for attribute in rest.split(',') {
        let Some((name, value)) = attribute.split_once('=') else {
            return Err(format!(
                "'{}' is not of the form attribute=value; {FORMS}",
                printable(attribute)
            ));
        };
        let field = match name.to_ascii_lowercase().as_str() {
            "vault" => &mut vault,
            "name" => &mut key,
            "version" => &mut version,
            _ => {
                return Err(format!(
                    "the attribute '{}' is unknown; {FORMS}",
                    printable(name)
                ));
            }
        };
        if field.replace(decode(name, value)?).is_some() {
            return Err(format!("the attribute '{name}' is given twice"));
        }
    }
    build(Service::ManagedHsm, vault, key, version)
}

fn build(
    service: Service,
    vault: Option<String>,
    key: Option<String>,
    version: Option<String>,
) -> Result<KeyUri, String> {
    let vault = vault.ok_or_else(|| format!("the vault name is missing; {FORMS}"))?;
    let key = key.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| format!("the key name is missing; {FORMS}"))?;
    Ok(KeyUri {
        vault: Vault {
            service,
            name: VaultName::checked(&vault)?,
        },
        key: KeyName::checked(&key)?,
        version: version.as_deref().map(KeyVersion::checked).transpose()?,
    })
}

fn decode(part: &str, value: &str) -> Result<String, String> {
    let bytes = value.as_bytes();
    let broken = |at: &usize| {
        let digits = bytes.get(at + 1..at + 3);
        bytes[*at] == b'%' && !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(|at| broken(&at)) {
        return Err(format!(
            "the {part} '{}' has a '%' without two hexadecimal digits",
            printable(value)
        ));
    }
    percent_decode_str(value)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| format!("the {part} '{}' does not decode to UTF-8", printable(value)))
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
        for (uri, canonical) in cases {
            assert_eq!(uri.parse::<KeyUri>().unwrap().to_string(), canonical);
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
                "attribute 'type' is unknown",
            ),
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
                let uri = build(service, Some(vault), Some(key), version.clone()).unwrap();
                prop_assert_eq!(uri.to_string().parse::<KeyUri>().unwrap(), uri);
            }
        }
    }
}
