//! What leads a client to a running emulator: environment variables, in the forms that take them.

use std::path::Path;

use serde_json::{Map, Value};

use crate::data_dir::DataDir;
use crate::endpoint::metadata_url;
use crate::error::Error;
use crate::identity::Identity;
use crate::token::{OWNER_CLIENT, TENANT};

/// Variables that lead clients to HSMs and vaults elsewhere, or have them show the emulator a token
/// of somewhere else, whatever is in an [`Environment::with_identity`].
pub const LEADING_ELSEWHERE: [&str; 4] = [
    "AKV_ENDPOINTS",
    "AKV_TOKEN_FILE",
    "AZURE_CLI_ACCESS_TOKEN",
    "AZURE_KEYVAULT_URL",
];

/// The variables that a client needs to use a running emulator.
#[derive(Clone)]
pub struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// With a bearer token, for programs that take one. `ca_file` is the PEM file of the CA that
    /// the emulator's certificate verifies with.
    #[must_use]
    pub fn with_token(url: &str, vault_url: Option<&str>, ca_file: &Path, token: String) -> Self {
        let mut all = urls(url, vault_url);
        all.push(("AKV_CA_FILE", ca_file.to_string_lossy().into_owned()));
        all.push(("AZURE_CLI_ACCESS_TOKEN", token));
        Self(all)
    }

    /// With what identity libraries log in by as the owner: a client secret, or a managed identity.
    /// HTTP clients are told of the CA in the ways that Python, Node.js and others know.
    ///
    /// # Errors
    /// [`Error::File`] when the secret can't be read.
    pub fn with_identity(
        data: &DataDir,
        url: &str,
        vault_url: Option<&str>,
    ) -> Result<Self, Error> {
        let secret = Identity::owner_secret(data)?;
        let managed = metadata_url(data, url)?;
        let ca_file = data.ca_file().to_string_lossy().into_owned();
        let mut all = urls(url, vault_url);
        all.extend([
            ("AZURE_AUTHORITY_HOST", url.to_owned()),
            ("AZURE_TENANT_ID", TENANT.to_owned()),
            ("AZURE_CLIENT_ID", OWNER_CLIENT.to_owned()),
            ("AZURE_CLIENT_SECRET", secret.clone()),
            ("IDENTITY_ENDPOINT", format!("{managed}/msi/token")),
            ("IDENTITY_HEADER", secret),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", managed),
            ("AKV_CA_FILE", ca_file.clone()),
            ("SSL_CERT_FILE", ca_file.clone()),
            ("REQUESTS_CA_BUNDLE", ca_file.clone()),
            ("NODE_EXTRA_CA_CERTS", ca_file),
        ]);
        Ok(Self(all))
    }

    /// Names and values.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Exports that a shell can evaluate.
    #[must_use]
    pub fn to_shell(&self) -> String {
        let quoted = |value: &str| value.replace('\'', r"'\''");
        self.lines(|name, value| format!("export {name}='{}'\n", quoted(value)))
    }

    /// `NAME=value` in each line, as `$GITHUB_ENV`, systemd and container programs read.
    #[must_use]
    pub fn to_lines(&self) -> String {
        self.lines(|name, value| format!("{name}={value}\n"))
    }

    /// An object of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let all = self.variables();
        let all: Map<String, Value> = all
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        format!("{}\n", Value::from(all))
    }

    fn lines(&self, line: impl Fn(&str, &str) -> String) -> String {
        self.variables()
            .map(|(name, value)| line(name, value))
            .collect()
    }
}

fn urls(url: &str, vault_url: Option<&str>) -> Vec<(&'static str, String)> {
    let mut urls = vec![("AZURE_MANAGEDHSM_URL", url.to_owned())];
    urls.extend(vault_url.map(|url| ("AZURE_KEYVAULT_URL", url.to_owned())));
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::with_token(
            "https://localhost:1",
            Some("https://localhost:2"),
            Path::new("/it's here/ca.pem"),
            "t".to_owned(),
        )
    }

    #[test]
    fn exports_survive_quotes_in_a_path() {
        assert_eq!(
            environment().to_shell(),
            "export AZURE_MANAGEDHSM_URL='https://localhost:1'\nexport AZURE_KEYVAULT_URL='https://localhost:2'\nexport AKV_CA_FILE='/it'\\''s here/ca.pem'\nexport AZURE_CLI_ACCESS_TOKEN='t'\n"
        );
    }

    #[test]
    fn lines_and_json_have_values_as_they_are() {
        assert!(
            environment()
                .to_lines()
                .contains("\nAKV_CA_FILE=/it's here/ca.pem\n")
        );
        let json: Value = serde_json::from_str(&environment().to_json()).unwrap();
        assert_eq!(json["AKV_CA_FILE"], "/it's here/ca.pem");
    }
}
