//! The kinds of credentials, and what to do about each.

/// A source of tokens, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A token in AZURE_CLI_ACCESS_TOKEN.
    AccessToken,
    /// A file with a token, which somebody else renews.
    TokenFile,
    /// An application with a client secret.
    ClientSecret,
    /// An application with a client certificate.
    ClientCertificate,
    /// An application with a token of another issuer: Kubernetes's workload identity.
    WorkloadIdentity,
    /// The identity of the machine or App Service that this runs on.
    ManagedIdentity,
    /// Whoever is logged in to the Azure CLI.
    AzureCli,
    /// Whoever is logged in to the Azure Developer CLI.
    AzureDeveloperCli,
    /// Whoever is logged in to Azure PowerShell.
    AzurePowerShell,
}

impl CredentialKind {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::AccessToken,
        Self::TokenFile,
        Self::ClientSecret,
        Self::ClientCertificate,
        Self::WorkloadIdentity,
        Self::ManagedIdentity,
        Self::AzureCli,
        Self::AzureDeveloperCli,
        Self::AzurePowerShell,
    ];

    /// The name that selects it. Microsoft's libraries have the same for those that they share.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "AccessToken",
            Self::TokenFile => "TokenFile",
            Self::ClientSecret => "ClientSecretCredential",
            Self::ClientCertificate => "ClientCertificateCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
            Self::AzurePowerShell => "AzurePowerShellCredential",
        }
    }

    /// Whether another token than the last can be had from it.
    pub(crate) const fn is_renewable(self) -> bool {
        !matches!(self, Self::AccessToken)
    }

    /// Whether a failure lets the next credential be tried: a person's tools may well be there and
    /// not logged in.
    pub(crate) const fn is_developers(self) -> bool {
        matches!(
            self,
            Self::AzureCli | Self::AzureDeveloperCli | Self::AzurePowerShell
        )
    }

    /// What to do when the service doesn't accept its tokens, which are to be for `audience`.
    pub fn remedy(self, audience: &str) -> String {
        let remedy = match self {
            Self::AccessToken => {
                return format!(
                    "set AZURE_CLI_ACCESS_TOKEN to a new one, from '{}'",
                    by_az(audience)
                );
            }
            Self::TokenFile => "have a new token written to the token file",
            Self::ClientSecret | Self::ClientCertificate | Self::WorkloadIdentity => {
                "check AZURE_TENANT_ID (it must be the tenant of the HSM) and AKV_CLOUD, or the configuration file's settings"
            }
            Self::ManagedIdentity => {
                "check that the identity is of the HSM's tenant, and AKV_CLOUD, or the configuration file's setting"
            }
            Self::AzureCli => "log in to the tenant of the HSM with 'az login --tenant <tenant>'",
            Self::AzureDeveloperCli => {
                "log in to the tenant of the HSM with 'azd auth login --tenant-id <tenant>'"
            }
            Self::AzurePowerShell => {
                "log in to the tenant of the HSM with 'Connect-AzAccount -Tenant <tenant>'"
            }
        };
        remedy.to_owned()
    }

    /// What to do when it gives no token: it was refused, or whoever gives tokens can't be asked.
    pub(crate) const fn remedy_of_failure(self) -> &'static str {
        match self {
            Self::AccessToken => "set AZURE_CLI_ACCESS_TOKEN to a token, and nothing else",
            Self::TokenFile => "have a token, and nothing else, written to the token file",
            Self::ClientSecret => {
                "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or the PIN, and the way to Entra ID from here"
            }
            Self::ClientCertificate => {
                "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_CERTIFICATE_PATH, and the way to Entra ID from here"
            }
            Self::WorkloadIdentity => {
                "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE, and the way to Entra ID from here"
            }
            Self::ManagedIdentity => {
                "check that the identity is assigned to this machine (AKV_MANAGED_IDENTITY, AZURE_CLIENT_ID, or the \
                 configuration file)"
            }
            Self::AzureCli => {
                "log in with 'az login', and see what 'az account get-access-token' says"
            }
            Self::AzureDeveloperCli => {
                "log in with 'azd auth login', and see what 'azd auth token' says"
            }
            Self::AzurePowerShell => {
                "log in with 'Connect-AzAccount', and see what 'Get-AzAccessToken' says"
            }
        }
    }

    /// Whether the claims that the service asks for have anything to do with the token that it
    /// gives.
    pub(crate) const fn heeds_claims(self) -> bool {
        matches!(
            self,
            Self::ClientSecret | Self::ClientCertificate | Self::WorkloadIdentity | Self::AzureCli
        )
    }

    /// What to do where a token has expired that was given just now.
    pub(crate) fn remedy_of_expiry(self, audience: &str) -> String {
        match self {
            Self::AccessToken | Self::TokenFile => self.remedy(audience),
            _ => "it was given just now, so check this machine's clock".to_owned(),
        }
    }
}

/// The command that prints a token for `audience`.
pub(crate) fn by_az(audience: &str) -> String {
    format!("az account get-access-token --resource {audience} --query accessToken -o tsv")
}
