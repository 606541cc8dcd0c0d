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
    ///
    /// # Errors
    /// [`Error::FolderName`] when the file's name is not UTF-8.
    pub fn with_token(
        url: &str,
        vault_url: Option<&str>,
        ca_file: &Path,
        token: String,
    ) -> Result<Self, Error> {
        let mut all = urls(url, vault_url);
        all.push(("AKV_CA_FILE", name(ca_file)?));
        all.push(("AZURE_CLI_ACCESS_TOKEN", token));
        Ok(Self(all))
    }

    /// With what identity libraries log in by as the owner: a client secret, or a managed identity.
    /// HTTP clients are told of the CA in the ways that Python, Node.js and others know.
    ///
    /// # Errors
    /// [`Error::File`] when the secret can't be read; [`Error::FolderName`] when the folder's name
    /// is not UTF-8.
    pub fn with_identity(
        data: &DataDir,
        url: &str,
        vault_url: Option<&str>,
    ) -> Result<Self, Error> {
        let secret = Identity::owner_secret(data)?;
        let managed = metadata_url(data, url)?;
        let ca_file = name(&data.ca_file())?;
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
    ///
    /// # Errors
    /// [`Error::LineBreak`] when a value has more than one line: what comes after the first would
    /// be taken for another variable.
    pub fn to_lines(&self) -> Result<String, Error> {
        match self
            .variables()
            .find(|(_, value)| value.contains(['\n', '\r']))
        {
            Some((name, _)) => Err(Error::LineBreak(name)),
            None => Ok(self.lines(|name, value| format!("{name}={value}\n"))),
        }
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

/// A file's name as a variable's value.
fn name(file: &Path) -> Result<String, Error> {
    let name = file.to_str().map(str::to_owned);
    name.ok_or_else(|| Error::FolderName(file.parent().unwrap_or(file).to_owned()))
}

fn urls(url: &str, vault_url: Option<&str>) -> Vec<(&'static str, String)> {
    let mut urls = vec![("AZURE_MANAGEDHSM_URL", url.to_owned())];
    urls.extend(vault_url.map(|url| ("AZURE_KEYVAULT_URL", url.to_owned())));
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(ca_file: &str) -> Environment {
        Environment::with_token(
            "https://localhost:1",
            Some("https://localhost:2"),
            Path::new(ca_file),
            "t".to_owned(),
        )
        .unwrap()
    }

    #[test]
    fn exports_survive_quotes_in_a_path() {
        assert_eq!(
            environment("/it's here/ca.pem").to_shell(),
            "export AZURE_MANAGEDHSM_URL='https://localhost:1'\nexport AZURE_KEYVAULT_URL='https://localhost:2'\nexport AKV_CA_FILE='/it'\\''s here/ca.pem'\nexport AZURE_CLI_ACCESS_TOKEN='t'\n"
        );
    }

    #[test]
    fn lines_and_json_have_values_as_they_are() {
        let environment = environment("/it's here/ca.pem");
        let lines = environment.to_lines().unwrap();
        assert!(lines.contains("\nAKV_CA_FILE=/it's here/ca.pem\n"));
        let json: Value = serde_json::from_str(&environment.to_json()).unwrap();
        assert_eq!(json["AKV_CA_FILE"], "/it's here/ca.pem");
    }

    #[test]
    fn a_value_of_several_lines_has_no_form_in_one() {
        for ca_file in ["/a\nPATH=/evil/ca.pem", "/a\rb/ca.pem"] {
            let environment = environment(ca_file);
            let error = environment.to_lines().unwrap_err().to_string();
            assert!(error.contains("AKV_CA_FILE has a line break"), "{error}");
            let json: Value = serde_json::from_str(&environment.to_json()).unwrap();
            assert_eq!(json["AKV_CA_FILE"], ca_file);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_is_told_to_nobody() {
        use std::os::unix::ffi::OsStrExt;
        let ca_file = Path::new(std::ffi::OsStr::from_bytes(b"/a\xff/ca.pem"));
        let told = Environment::with_token("https://localhost:1", None, ca_file, "t".to_owned());
        let error = told.err().unwrap().to_string();
        assert!(error.contains("is not UTF-8"), "{error}");
    }
}
