//! The two services that the emulator stands for, and the clouds that they are in: host names,
//! audiences, authorities.

/// What an HSM, or a vault, is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Azure Managed HSM.
    ManagedHsm,
    /// Azure Key Vault, with the capabilities of a Premium vault.
    KeyVault,
}

impl Service {
    const ALL: [Self; 2] = [Self::ManagedHsm, Self::KeyVault];

    /// The first label of the service's domain in every cloud.
    fn label(self) -> &'static str {
        match self {
            Self::ManagedHsm => "managedhsm",
            Self::KeyVault => "vault",
        }
    }
}

/// A cloud with hosts and authorities of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    Public,
    UsGovernment,
    China,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    fn domain(self) -> &'static str {
        match self {
            Self::Public => "azure.net",
            Self::UsGovernment => "usgovcloudapi.net",
            Self::China => "azure.cn",
        }
    }
}

/// What tokens have to be for: a service, in one cloud or, where the address that was asked names
/// none, in any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) service: Service,
    pub(crate) cloud: Option<Cloud>,
}

impl Audience {
    /// Of an HSM or a vault that is addressed as `host`.
    pub(crate) fn at(service: Service, host: &str) -> Self {
        let addressed = Address::parse(host);
        let cloud = addressed.filter(|address| address.service == service);
        Self {
            service,
            cloud: cloud.map(|address| address.cloud),
        }
    }

    /// The resource that a challenge names, such as `https://vault.azure.net`.
    pub(crate) fn resource(self) -> String {
        resource(self.service, self.cloud.unwrap_or(Cloud::Public))
    }

    /// Whether a token with this `aud` will do.
    pub(crate) fn accepts(self, aud: &str) -> bool {
        let aud = aud.trim_end_matches('/');
        let mut clouds = Cloud::ALL
            .into_iter()
            .filter(|cloud| self.cloud.is_none_or(|own| own == *cloud));
        clouds.any(|cloud| resource(self.service, cloud) == aud)
    }

    /// Where a challenge sends callers for a token. Recorded are the public cloud's, the others are
    /// as documented.
    pub(crate) fn authority(self) -> &'static str {
        match (self.cloud.unwrap_or(Cloud::Public), self.service) {
            (Cloud::Public, Service::ManagedHsm) => "https://login.microsoftonline.com",
            (Cloud::Public, Service::KeyVault) => "https://login.windows.net",
            (Cloud::UsGovernment, _) => "https://login.microsoftonline.us",
            (Cloud::China, _) => "https://login.chinacloudapi.cn",
        }
    }
}

fn resource(service: Service, cloud: Cloud) -> String {
    format!("https://{}.{}", service.label(), cloud.domain())
}

/// A host name of one of the services, such as `contoso.vault.azure.net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) service: Service,
    cloud: Cloud,
}

impl Address {
    /// None: the host, with or without a port, is not a name of the services.
    pub(crate) fn parse(host: &str) -> Option<Self> {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let (name, domain) = host.split_once('.')?;
        let pairs = Service::ALL
            .into_iter()
            .flat_map(|service| Cloud::ALL.map(|cloud| (service, cloud)));
        let (service, cloud) = pairs
            .into_iter()
            .find(|(service, cloud)| domain == domain_of(*service, *cloud))?;
        Some(Self {
            name: name.to_owned(),
            service,
            cloud,
        })
    }
}

fn domain_of(service: Service, cloud: Cloud) -> String {
    format!("{}.{}", service.label(), cloud.domain())
}

/// The services' host names in all clouds, with an asterisk for the name, as certificates have
/// them.
pub(crate) fn wildcards() -> impl Iterator<Item = String> {
    Service::ALL
        .into_iter()
        .flat_map(|service| Cloud::ALL.map(|cloud| format!("*.{}", domain_of(service, cloud))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_its_service_and_its_cloud() {
        for (host, expected) in [
            (
                "Contoso.vault.azure.net:8443",
                Some((Service::KeyVault, Cloud::Public)),
            ),
            (
                "contoso.vault.usgovcloudapi.net",
                Some((Service::KeyVault, Cloud::UsGovernment)),
            ),
            (
                "contoso.vault.azure.cn.",
                Some((Service::KeyVault, Cloud::China)),
            ),
            (
                "contoso.managedhsm.azure.cn",
                Some((Service::ManagedHsm, Cloud::China)),
            ),
            ("contoso.localhost:1", None),
            ("localhost", None),
            ("vault.azure.net", None),
            ("a.b.vault.azure.net", None),
        ] {
            let address = Address::parse(host);
            let found = address.map(|address| (address.service, address.cloud));
            assert_eq!(found, expected, "{host}");
        }
    }

    #[test]
    fn tokens_are_for_the_service_and_for_the_cloud_that_the_host_names() {
        for (service, host, aud, accepted) in [
            (
                Service::KeyVault,
                "localhost",
                "https://vault.azure.net",
                true,
            ),
            (
                Service::KeyVault,
                "localhost",
                "https://vault.azure.cn/",
                true,
            ),
            (
                Service::KeyVault,
                "localhost",
                "https://managedhsm.azure.net",
                false,
            ),
            (
                Service::KeyVault,
                "a.vault.azure.net",
                "https://vault.azure.cn",
                false,
            ),
            (
                Service::KeyVault,
                "a.vault.azure.cn",
                "https://vault.azure.cn",
                true,
            ),
            // A port of its own, asked by a name of the other service.
            (
                Service::KeyVault,
                "a.managedhsm.azure.cn",
                "https://vault.azure.net",
                true,
            ),
            (
                Service::ManagedHsm,
                "a.managedhsm.azure.cn",
                "https://managedhsm.azure.net",
                false,
            ),
            (
                Service::ManagedHsm,
                "a.localhost",
                "https://vault.azure.net.example",
                false,
            ),
        ] {
            let audience = Audience::at(service, host);
            assert_eq!(audience.accepts(aud), accepted, "{host} {aud}");
        }
    }
}
