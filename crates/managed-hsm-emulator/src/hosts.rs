//! Several HSMs and vaults in one process, told apart by the host name or the port that a client
//! addresses.

use std::str::FromStr;
use std::sync::Arc;

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::hsm::{Hsm, Shared};
use crate::service::{Address, Service};
use crate::store::{Rules, Store};

/// An HSM or a vault to serve: its name, and a port of its own if it is to have a certain one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedName {
    /// As in `<name>.managedhsm.azure.net` or `<name>.vault.azure.net`.
    pub name: String,
    /// The port whose requests are all for it; 0 for any that is free.
    pub port: Option<u16>,
}

impl FromStr for ServedName {
    type Err = String;

    /// `NAME` or `NAME:PORT`
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        let valid = (3..=24).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !valid {
            return Err(format!(
                "'{name}' can't be the name of an HSM or a vault: a letter, then letters, digits and hyphens, 3 to 24 in all"
            ));
        }
        let port = port.map(|port| {
            let parsed = port.parse();
            parsed.map_err(|_| format!("'{port}' is not a port"))
        });
        Ok(Self {
            name: name.to_ascii_lowercase(),
            port: port.transpose()?,
        })
    }
}

/// What is behind an address.
#[derive(Clone)]
pub(crate) enum Behind {
    /// One, whatever its name.
    One(Arc<Hsm>),
    /// By name.
    Named(Arc<ByName>),
    /// None: only the token service's endpoints for managed identities.
    ManagedIdentities(Shared),
}

/// All that a process serves.
pub(crate) struct ByName {
    /// Also under names that aren't of a service, such as localhost.
    pub(crate) first: Arc<Hsm>,
    /// Whether `first` answers to the name of every HSM, there being no other.
    pub(crate) first_is_every_hsm: bool,
    /// With names.
    pub(crate) others: Vec<(String, Arc<Hsm>)>,
}

impl Behind {
    /// What all that is behind any address has in common.
    pub(crate) fn shared(&self) -> &Shared {
        match self {
            Self::One(hsm) => &hsm.shared,
            Self::Named(by_name) => &by_name.first.shared,
            Self::ManagedIdentities(shared) => shared,
        }
    }

    /// What a host name means; None: there is no such HSM or vault.
    pub(crate) fn of_host(&self, host: &str) -> Option<&Arc<Hsm>> {
        let by_name = match self {
            Self::One(hsm) => return Some(hsm),
            Self::Named(by_name) => by_name,
            Self::ManagedIdentities(_) => return None,
        };
        let every_hsm = by_name.first_is_every_hsm.then_some(&by_name.first);
        if let Some(Address { name, service, .. }) = Address::parse(host) {
            let found = by_name.find(&name, |known| known == service);
            return found.or_else(|| every_hsm.filter(|_| service == Service::ManagedHsm));
        }
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match host.split_once('.') {
            Some((name, "localhost")) => by_name.find(name, |_| true).or(every_hsm),
            _ => Some(&by_name.first),
        }
    }
}

impl ByName {
    /// The first of a name, which may be an HSM's and a vault's.
    fn find(&self, name: &str, is_of: impl Fn(Service) -> bool) -> Option<&Arc<Hsm>> {
        let found = self
            .others
            .iter()
            .find(|(known, hsm)| known == name && is_of(hsm.service));
        found.map(|(_, hsm)| hsm)
    }
}

/// A name, the port of its own that it is to have, and the HSM or vault.
pub(crate) type OwnPort = (String, u16, Arc<Hsm>);

/// The HSMs and vaults to serve, and those of them that have ports of their own. A vault always has
/// one: nothing else leads to it without its name.
pub(crate) fn open_all(
    data: &DataDir,
    hsms: &[ServedName],
    vaults: &[ServedName],
    shared: &Shared,
) -> Result<(Behind, Vec<OwnPort>), Error> {
    let mut own_ports = Vec::new();
    let mut open = |service, served: &ServedName, port: Option<u16>| {
        let folder = match service {
            Service::ManagedHsm => "hsms",
            Service::KeyVault => "vaults",
        };
        let name = &served.name;
        let folder = DataDir::resolve(Some(data.path().join(folder).join(name)))?;
        folder.make()?;
        let rules = match service {
            Service::ManagedHsm => shared.rules,
            Service::KeyVault => Rules {
                activated: true,
                max_keys: None,
                max_versions: None,
                ..shared.rules
            },
        };
        let store = Store::open(&folder, rules)?;
        let hsm = Arc::new(Hsm::new(service, name, store, shared.clone())?);
        if let Some(port) = port {
            own_ports.push((name.clone(), port, Arc::clone(&hsm)));
        }
        Ok::<_, Error>((name.clone(), hsm))
    };
    refuse_twins(hsms, "--hsm")?;
    refuse_twins(vaults, "--vault")?;
    let mut others = Vec::new();
    for hsm in hsms {
        others.push(open(Service::ManagedHsm, hsm, hsm.port)?);
    }
    let first = match others.first() {
        Some((_, first)) => Arc::clone(first),
        None => {
            let store = Store::open(data, shared.rules)?;
            let hsm = Hsm::new(Service::ManagedHsm, "default", store, shared.clone())?;
            Arc::new(hsm)
        }
    };
    for vault in vaults {
        others.push(open(Service::KeyVault, vault, vault.port.or(Some(0)))?);
    }
    let by_name = ByName {
        first,
        first_is_every_hsm: hsms.is_empty(),
        others,
    };
    Ok((Behind::Named(Arc::new(by_name)), own_ports))
}

/// Refuses names that stand twice.
fn refuse_twins(names: &[ServedName], option: &'static str) -> Result<(), Error> {
    for (index, ServedName { name, .. }) in names.iter().enumerate() {
        if names[..index].iter().any(|before| before.name == *name) {
            return Err(Error::NameTwice(name.clone(), option));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_service_allows() {
        let named: ServedName = "MyHSM:8443".parse().unwrap();
        assert_eq!((named.name.as_str(), named.port), ("myhsm", Some(8443)));
        assert_eq!("contoso".parse::<ServedName>().unwrap().port, None);
        for text in [
            "",
            "ab",
            "1hsm",
            "my_hsm",
            "MyHSM:",
            "MyHSM:http",
            "MyHSM:70000",
        ] {
            assert!(text.parse::<ServedName>().is_err(), "{text}");
        }
    }
}
