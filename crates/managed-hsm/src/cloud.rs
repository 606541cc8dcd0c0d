//! Azure's clouds: where their services are, and whom their tokens are for.

use std::fmt;

use url::Url;

/// A service that keeps keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Azure Managed HSM: `managedhsm:` in URIs.
    ManagedHsm,
    /// Azure Key Vault: `keyvault:` in URIs.
    KeyVault,
}

impl Service {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ManagedHsm, Self::KeyVault];

    /// The scheme of URIs.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::ManagedHsm => "managedhsm",
            Self::KeyVault => "keyvault",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme())
    }
}

/// One of Azure's clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// The public cloud.
    #[default]
    Public,
    /// US Government.
    UsGovernment,
    /// China, operated by 21Vianet.
    China,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// Names as the Azure CLI and as people have them.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "public" | "azurecloud" | "azurepublic" => Some(Self::Public),
            "usgovernment" | "azureusgovernment" | "azuregovernment" => Some(Self::UsGovernment),
            "china" | "azurechinacloud" | "azurechina" => Some(Self::China),
            _ => None,
        }
    }

    /// The cloud that a host belongs to by its name, if it is one of a vault.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        Self::with_vault(host).map(|(cloud, _, _)| cloud)
    }

    /// What a vault's host name tells: the cloud, the service, and the name of the vault.
    pub(crate) fn with_vault(host: &str) -> Option<(Self, Service, &str)> {
        let mut domains = Self::ALL
            .into_iter()
            .flat_map(|cloud| Service::ALL.map(|service| (cloud, service)));
        // A dot at the end is the root of all names, and the host is the same.
        let host = host.strip_suffix('.').unwrap_or(host);
        domains.find_map(|(cloud, service)| {
            let rest = host.strip_suffix(cloud.domain(service))?;
            Some((cloud, service, rest.strip_suffix('.')?))
        })
    }

    /// The domain of a service's hosts.
    pub(crate) const fn domain(self, service: Service) -> &'static str {
        match (service, self) {
            (Service::ManagedHsm, Self::Public) => "managedhsm.azure.net",
            (Service::ManagedHsm, Self::UsGovernment) => "managedhsm.usgovcloudapi.net",
            (Service::ManagedHsm, Self::China) => "managedhsm.azure.cn",
            (Service::KeyVault, Self::Public) => "vault.azure.net",
            (Service::KeyVault, Self::UsGovernment) => "vault.usgovcloudapi.net",
            (Service::KeyVault, Self::China) => "vault.azure.cn",
        }
    }

    /// What a token has to be for, for a service to accept it.
    pub fn audience(self, service: Service) -> String {
        format!("https://{}", self.domain(service))
    }

    /// What the setting calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::UsGovernment => "usgovernment",
            Self::China => "china",
        }
    }

    /// Where Entra ID gives tokens.
    pub(crate) fn authority(self) -> Url {
        let authority = match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        };
        Url::parse(authority).expect("a constant URL is valid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_its_cloud_only_as_a_whole_domain() {
        for (host, cloud) in [
            ("myhsm.managedhsm.azure.net", Some(Cloud::Public)),
            ("v.vault.usgovcloudapi.net", Some(Cloud::UsGovernment)),
            ("myhsm.managedhsm.azure.cn", Some(Cloud::China)),
            ("myhsm.managedhsm.azure.cn.", Some(Cloud::China)),
            ("managedhsm.azure.cn", None),
            ("evilmanagedhsm.azure.cn", None),
            ("myhsm.managedhsm.azure.cn.evil.example", None),
            ("localhost", None),
        ] {
            assert_eq!(Cloud::of_host(host), cloud, "{host}");
        }
    }
}
