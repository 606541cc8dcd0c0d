//! Several HSMs in one process, told apart by the host name or the port that a client addresses.

use std::str::FromStr;
use std::sync::Arc;

use crate::api::Hsm;

/// An HSM to serve: its name, and a port of its own if it is to have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmName {
    /// As in `<name>.managedhsm.azure.net`.
    pub name: String,
    /// The port whose requests are all for this HSM; 0 for any that is free.
    pub port: Option<u16>,
}

impl FromStr for HsmName {
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
                "'{name}' can't be the name of an HSM: a letter, then letters, digits and hyphens, 3 to 24 in all"
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

/// The HSMs behind an address.
#[derive(Clone)]
pub(crate) enum Behind {
    /// One, whatever its name.
    One(Arc<Hsm>),
    /// By name; the first also under names that aren't of an HSM, such as localhost.
    Named(Arc<Vec<(String, Arc<Hsm>)>>),
}

impl Behind {
    /// The HSM that a host name means; None: there is no such HSM.
    pub(crate) fn of_host(&self, host: &str) -> Option<&Arc<Hsm>> {
        let named = match self {
            Self::One(hsm) => return Some(hsm),
            Self::Named(named) => named,
        };
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match host.split_once('.') {
            Some((label, rest)) if rest == "localhost" || rest.starts_with("managedhsm.") => named
                .iter()
                .find(|(name, _)| name == label)
                .map(|(_, hsm)| hsm),
            _ => named.first().map(|(_, hsm)| hsm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_service_allows() {
        let named: HsmName = "MyHSM:8443".parse().unwrap();
        assert_eq!((named.name.as_str(), named.port), ("myhsm", Some(8443)));
        assert_eq!("contoso".parse::<HsmName>().unwrap().port, None);
        for text in [
            "",
            "ab",
            "1hsm",
            "my_hsm",
            "MyHSM:",
            "MyHSM:http",
            "MyHSM:70000",
        ] {
            assert!(text.parse::<HsmName>().is_err(), "{text}");
        }
    }
}
