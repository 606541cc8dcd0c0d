//! Settings of credentials: Microsoft's own variables, and keys of a configuration file for those
//! that are no secrets.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use crate::credential::kind::CredentialKind;
use crate::environment;
use crate::error::Error;
use crate::files;
use crate::secret::Secret;
use crate::settings::origin::Origin;
use crate::settings::setting::{Find, Setting, https, path, text};
use crate::token::AccessToken;

/// Which credentials there are, and which of them are tried.
#[derive(Clone, Debug, Default)]
pub struct CredentialSettings {
    /// What is tried, in this order; empty: all.
    pub selection: Vec<CredentialKind>,
    /// A bearer token that is there already.
    pub access_token: Option<AccessToken>,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// The tenant of the application.
    pub tenant_id: Option<String>,
    /// The application, or the user-assigned managed identity.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<Secret>,
    /// The application's certificate and private key, in PEM or PKCS#12.
    pub client_certificate: Option<PathBuf>,
    /// The password of that file.
    pub client_certificate_password: Option<Secret>,
    /// Whether the certificate's chain is sent, for authentication by subject name and issuer.
    pub send_certificate_chain: bool,
    /// A file with a token of another issuer that Entra ID trusts.
    pub federated_token_file: Option<PathBuf>,
    /// Where Entra ID is, if not where the cloud has it.
    pub authority: Option<Url>,
    /// Which managed identity.
    pub managed_identity: Option<ManagedIdentityId>,
    /// App Service's token endpoint on this machine.
    pub identity_endpoint: Option<String>,
    /// What App Service wants to see in the header X-IDENTITY-HEADER.
    pub identity_header: Option<Secret>,
    /// Where the instance metadata service is, if not at its own address.
    pub imds_host: Option<Url>,
    /// The environment of the command-line tools, without what is secret. A server's workers may
    /// have lost theirs.
    pub(crate) tools_environment: Arc<Vec<(OsString, OsString)>>,
}

/// What tells a user-assigned managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedIdentityId {
    /// Its client id.
    Client(String),
    /// Its object (principal) id.
    Object(String),
    /// Its Azure resource id.
    Resource(String),
}

static SELECTION: Setting = Setting {
    key: Some("credential"),
    variable: "AZURE_TOKEN_CREDENTIALS",
    default: "",
    range: None,
    help: "prod or dev for the credentials of servers or of people, or the name of the only one to try; without it all are tried",
};
pub(crate) static ACCESS_TOKEN: Setting = Setting {
    key: None,
    variable: "AZURE_CLI_ACCESS_TOKEN",
    default: "",
    range: None,
    help: "bearer token for https://managedhsm.azure.net",
};
pub(crate) static TOKEN_FILE: Setting = Setting {
    key: Some("token-file"),
    variable: "AKV_TOKEN_FILE",
    default: "",
    range: None,
    help: "file with a bearer token, which is read again when it has changed",
};
pub(crate) static TENANT_ID: Setting = Setting {
    key: Some("tenant-id"),
    variable: "AZURE_TENANT_ID",
    default: "",
    range: None,
    help: "tenant of the application that logs in",
};
pub(crate) static CLIENT_ID: Setting = Setting {
    key: Some("client-id"),
    variable: "AZURE_CLIENT_ID",
    default: "",
    range: None,
    help: "id of the application that logs in, or of the user-assigned managed identity",
};
pub(crate) static CLIENT_SECRET: Setting = Setting {
    key: None,
    variable: "AZURE_CLIENT_SECRET",
    default: "",
    range: None,
    help: "secret of the application",
};
pub(crate) static CLIENT_CERTIFICATE: Setting = Setting {
    key: Some("client-certificate"),
    variable: "AZURE_CLIENT_CERTIFICATE_PATH",
    default: "",
    range: None,
    help: "PEM or PKCS#12 file with the certificate and the RSA private key of the application",
};
static CLIENT_CERTIFICATE_PASSWORD: Setting = Setting {
    key: None,
    variable: "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    default: "",
    range: None,
    help: "password of that file",
};
static SEND_CERTIFICATE_CHAIN: Setting = Setting {
    key: Some("client-send-certificate-chain"),
    variable: "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
    default: "no",
    range: None,
    help: "yes sends the certificates of that file, for authentication by subject name and issuer",
};
pub(crate) static FEDERATED_TOKEN_FILE: Setting = Setting {
    key: Some("federated-token-file"),
    variable: "AZURE_FEDERATED_TOKEN_FILE",
    default: "",
    range: None,
    help: "file with a token of another issuer that Entra ID trusts: workload identity",
};
static AUTHORITY: Setting = Setting {
    key: Some("authority-host"),
    variable: "AZURE_AUTHORITY_HOST",
    default: "https://login.microsoftonline.com",
    range: None,
    help: "where Entra ID is; by default where the cloud has it",
};
static MANAGED_IDENTITY: Setting = Setting {
    key: Some("managed-identity"),
    variable: "AKV_MANAGED_IDENTITY",
    default: "",
    range: None,
    help: "user-assigned managed identity: its client id, object:<object id>, or its resource id; without it AZURE_CLIENT_ID, else the system-assigned one",
};
static IDENTITY_ENDPOINT: Setting = Setting {
    key: None,
    variable: "IDENTITY_ENDPOINT",
    default: "",
    range: None,
    help: "set by App Service: where tokens of its managed identity are",
};
static IDENTITY_HEADER: Setting = Setting {
    key: None,
    variable: "IDENTITY_HEADER",
    default: "",
    range: None,
    help: "set by App Service: what has to be sent there",
};
static IMDS_HOST: Setting = Setting {
    key: Some("imds-host"),
    variable: "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    default: "http://169.254.169.254",
    range: None,
    help: "where the instance metadata service is",
};

static ALL: [&Setting; 15] = [
    &SELECTION,
    &ACCESS_TOKEN,
    &TOKEN_FILE,
    &TENANT_ID,
    &CLIENT_ID,
    &CLIENT_SECRET,
    &CLIENT_CERTIFICATE,
    &CLIENT_CERTIFICATE_PASSWORD,
    &SEND_CERTIFICATE_CHAIN,
    &FEDERATED_TOKEN_FILE,
    &AUTHORITY,
    &MANAGED_IDENTITY,
    &IDENTITY_ENDPOINT,
    &IDENTITY_HEADER,
    &IMDS_HOST,
];

/// Variables that no command-line tool gets from us.
const SECRET_VARIABLES: [&str; 5] = [
    "AZURE_CLI_ACCESS_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "IDENTITY_HEADER",
    "AZURE_PASSWORD",
];

impl CredentialSettings {
    pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
        ALL.into_iter()
    }

    pub(crate) fn read(find: Find<'_>) -> Result<Self, Error> {
        let secret = |setting| -> Result<Option<Secret>, Error> {
            Ok(find(setting)?.map(|(text, _)| Secret::new(files::bare(&text).to_owned())))
        };
        let environment = environment::all()
            .filter(|(name, _)| !SECRET_VARIABLES.iter().any(|secret| name == secret));
        Ok(Self {
            selection: find(&SELECTION)?
                .map(selection)
                .transpose()?
                .unwrap_or_default(),
            access_token: find(&ACCESS_TOKEN)?.map(access_token).transpose()?,
            token_file: path(find, &TOKEN_FILE)?,
            tenant_id: find(&TENANT_ID)?.map(tenant).transpose()?,
            client_id: text(find, &CLIENT_ID)?,
            client_secret: secret(&CLIENT_SECRET)?,
            client_certificate: path(find, &CLIENT_CERTIFICATE)?,
            client_certificate_password: secret(&CLIENT_CERTIFICATE_PASSWORD)?,
            send_certificate_chain: SEND_CERTIFICATE_CHAIN.is_on(find)?,
            federated_token_file: path(find, &FEDERATED_TOKEN_FILE)?,
            authority: find(&AUTHORITY)?.map(authority).transpose()?,
            managed_identity: text(find, &MANAGED_IDENTITY)?.map(managed_identity),
            identity_endpoint: text(find, &IDENTITY_ENDPOINT)?,
            identity_header: secret(&IDENTITY_HEADER)?,
            imds_host: find(&IMDS_HOST)?.map(imds_host).transpose()?,
            tools_environment: Arc::new(environment.collect()),
        })
    }

    /// What is tried, in this order.
    pub(crate) fn selected(&self) -> &[CredentialKind] {
        match self.selection.is_empty() {
            true => &CredentialKind::ALL,
            false => &self.selection,
        }
    }
}

/// `dev`, `prod`, or one credential, with Microsoft's names in any case. EnvironmentCredential is
/// an application with a secret or a certificate.
fn selection((text, origin): (String, Origin)) -> Result<Vec<CredentialKind>, Error> {
    use CredentialKind::*;
    let name = text.trim();
    match name.to_ascii_lowercase().as_str() {
        "prod" => {
            return Ok(vec![
                AccessToken,
                TokenFile,
                ClientSecret,
                ClientCertificate,
                WorkloadIdentity,
                ManagedIdentity,
            ]);
        }
        "dev" => {
            return Ok(vec![
                AccessToken,
                TokenFile,
                AzureCli,
                AzureDeveloperCli,
                AzurePowerShell,
            ]);
        }
        "environmentcredential" => return Ok(vec![ClientSecret, ClientCertificate]),
        _ => {}
    }
    let mut all = CredentialKind::ALL.into_iter();
    let one = all.find(|kind| kind.name().eq_ignore_ascii_case(name));
    one.map(|kind| vec![kind]).ok_or_else(|| {
        let names: Vec<&str> = CredentialKind::ALL.iter().map(|kind| kind.name()).collect();
        Error::setting(
            &origin,
            &format!(
                "there is no credential '{}' here; there are prod, dev, EnvironmentCredential, {}",
                name.escape_debug(),
                names.join(", ")
            ),
        )
    })
}

fn access_token((token, origin): (String, Origin)) -> Result<AccessToken, Error> {
    AccessToken::new(&token).ok_or_else(|| {
        Error::setting(
            &origin,
            "it holds characters that are never in a token; set it to the token alone, as 'az account \
             get-access-token --query accessToken -o tsv' prints it with --resource ('akv docs networks' says which)",
        )
    })
}

fn tenant((text, origin): (String, Origin)) -> Result<String, Error> {
    let tenant = text.trim();
    // It becomes a part of a path.
    let valid = tenant
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    match valid && tenant.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(tenant.to_owned()),
        false => Err(Error::setting(
            &origin,
            "it is neither the id nor a domain name of a tenant",
        )),
    }
}

/// Microsoft's libraries take a bare host, too.
fn authority((text, origin): (String, Origin)) -> Result<Url, Error> {
    let text = text.trim();
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    https((with_scheme, origin))
}

fn imds_host((text, origin): (String, Origin)) -> Result<Url, Error> {
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Ok(url),
        _ => Err(Error::setting(
            &origin,
            "it is not a URL; give http://<host>[:<port>]",
        )),
    }
}

fn managed_identity(text: String) -> ManagedIdentityId {
    match text.strip_prefix("object:") {
        Some(id) => ManagedIdentityId::Object(id.to_owned()),
        None if text.starts_with('/') => ManagedIdentityId::Resource(text),
        None => ManagedIdentityId::Client(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<CredentialSettings, Error> {
        CredentialSettings::read(&|setting: &'static Setting| {
            let found = pairs.iter().find(|(name, _)| *name == setting.variable);
            Ok(found.map(|(_, value)| ((*value).to_owned(), Origin::Variable(setting.variable))))
        })
    }

    #[test]
    fn a_selection_has_the_documented_meaning() {
        use CredentialKind::*;
        let selected = |text: &str| {
            let settings = from(&[("AZURE_TOKEN_CREDENTIALS", text)]).unwrap();
            settings.selected().to_vec()
        };
        assert_eq!(from(&[]).unwrap().selected(), CredentialKind::ALL);
        assert_eq!(selected("azureclicredential"), [AzureCli]);
        assert_eq!(
            selected("EnvironmentCredential"),
            [ClientSecret, ClientCertificate]
        );
        assert!(!selected("prod").contains(&AzureCli));
        assert!(!selected("DEV").contains(&ManagedIdentity));
        let refused = from(&[("AZURE_TOKEN_CREDENTIALS", "VisualStudioCredential")]).unwrap_err();
        let message = refused.to_string();
        assert!(
            message.contains("VisualStudioCredential") && message.contains("AzureCliCredential")
        );
    }

    #[test]
    fn a_tenant_or_an_authority_that_would_change_the_path_is_refused() {
        for (name, value) in [
            ("AZURE_TENANT_ID", "../common"),
            ("AZURE_TENANT_ID", "a/b"),
            ("AZURE_TENANT_ID", ".."),
            ("AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com"),
            (
                "AZURE_AUTHORITY_HOST",
                "https://login.microsoftonline.com/common",
            ),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "ftp://h"),
        ] {
            let message = from(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        let settings = from(&[("AZURE_AUTHORITY_HOST", "login.microsoftonline.us")]).unwrap();
        assert_eq!(settings.authority.unwrap().scheme(), "https");
    }

    #[test]
    fn a_managed_identity_is_told_by_any_of_its_ids() {
        for (text, expected) in [
            ("11-22", ManagedIdentityId::Client("11-22".to_owned())),
            ("object:33", ManagedIdentityId::Object("33".to_owned())),
            (
                "/subscriptions/s",
                ManagedIdentityId::Resource("/subscriptions/s".to_owned()),
            ),
        ] {
            assert_eq!(managed_identity(text.to_owned()), expected);
        }
    }

    #[test]
    fn nothing_secret_is_shown_or_handed_to_tools() {
        let settings = from(&[
            ("AZURE_CLIENT_SECRET", "hush-1"),
            ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "hush-2"),
            ("IDENTITY_HEADER", "hush-3"),
            ("AZURE_CLI_ACCESS_TOKEN", "hush-4"),
        ])
        .unwrap();
        let mut shown = settings.clone();
        shown.tools_environment = Arc::default();
        assert!(!format!("{shown:?}").contains("hush"));
        let names = settings.tools_environment.iter().map(|(name, _)| name);
        assert!(
            names
                .into_iter()
                .all(|name| name != "AZURE_CLI_ACCESS_TOKEN")
        );
    }
}
