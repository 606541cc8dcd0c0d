//! How scripts find a running emulator: the endpoint file, readiness, and shell exports.

use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::identity::Identity;
use crate::token::{OWNER_CLIENT, TENANT};

/// Names and URLs of the vaults that are served.
const VAULTS_FILE: &str = "vault-endpoints";
/// The URL of the port for managed identities, if there is one.
const METADATA_FILE: &str = "metadata-endpoint";
/// The URL of the control port, if there is one.
const CONTROL_FILE: &str = "control-endpoint";
const POLL: Duration = Duration::from_millis(25);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client needs to use a running emulator. `Display` writes shell exports, fit for `eval`.
#[derive(Clone)]
pub struct Environment {
    /// The emulator's URL, `https://localhost:PORT`.
    pub url: String,
    /// The URL of a vault, if it serves one.
    pub vault_url: Option<String>,
    /// The PEM file of the CA that the emulator's certificate verifies with.
    pub ca_file: PathBuf,
    /// A bearer token.
    pub token: String,
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&urls(&self.url, self.vault_url.as_deref()))?;
        formatter.write_str(&exports(&[
            ("AKV_CA_FILE", &self.ca_file.to_string_lossy()),
            ("AZURE_CLI_ACCESS_TOKEN", &self.token),
        ]))
    }
}

fn urls(url: &str, vault_url: Option<&str>) -> String {
    let vault = vault_url.map(|url| ("AZURE_KEYVAULT_URL", url));
    let hsm = [("AZURE_MANAGEDHSM_URL", url)];
    exports(&hsm.into_iter().chain(vault).collect::<Vec<_>>())
}

fn exports(variables: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| {
        format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
    };
    variables.iter().map(line).collect()
}

/// Shell exports with which identity libraries log in as the owner: with a client secret, or as a
/// managed identity. HTTP clients are told of the CA in the ways that Python, Node.js and others
/// know.
///
/// # Errors
/// [`Error::File`] when the secret can't be read.
pub fn identity_exports(
    data: &DataDir,
    url: &str,
    vault_url: Option<&str>,
) -> Result<String, Error> {
    let secret = Identity::owner_secret(data)?;
    let managed = data.read(METADATA_FILE)?;
    let managed = managed.map(|url| String::from_utf8_lossy(&url).trim().to_owned());
    let managed = managed.unwrap_or_else(|| url.to_owned());
    let ca_file = data.ca_file();
    let ca_file = ca_file.to_string_lossy();
    let identity = exports(&[
        ("AZURE_AUTHORITY_HOST", url),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", OWNER_CLIENT),
        ("AZURE_CLIENT_SECRET", &secret),
        ("IDENTITY_ENDPOINT", &format!("{managed}/msi/token")),
        ("IDENTITY_HEADER", &secret),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &managed),
        ("AKV_CA_FILE", &ca_file),
        ("SSL_CERT_FILE", &ca_file),
        ("REQUESTS_CA_BUNDLE", &ca_file),
        ("NODE_EXTRA_CA_CERTS", &ca_file),
    ]);
    Ok(urls(url, vault_url) + &identity)
}

/// The URL of the vault `name`, or of the first, that the running emulator serves; None: it serves
/// none.
///
/// # Errors
/// [`Error::NoVault`] when there is none of that name.
pub fn vault_url(data: &DataDir, name: Option<&str>) -> Result<Option<String>, Error> {
    let contents = data.read(VAULTS_FILE)?.unwrap_or_default();
    let contents = String::from_utf8_lossy(&contents);
    let mut vaults = contents.lines().filter_map(|line| line.split_once(' '));
    let Some(name) = name else {
        return Ok(vaults.next().map(|(_, url)| url.to_owned()));
    };
    let found = vaults.find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, url) = found.ok_or_else(|| Error::NoVault(name.to_owned()))?;
    Ok(Some(url.to_owned()))
}

/// The URL of the emulator that serves from `data`, once it accepts connections; waits for that at
/// most `wait`.
///
/// # Errors
/// [`Error::NotRunning`] when none does by then.
pub fn wait_until_ready(data: &DataDir, wait: Duration) -> Result<String, Error> {
    let start = Instant::now();
    loop {
        if let Some(url) = read_url(data)?
            && accepts(&url)
        {
            return Ok(url);
        }
        if start.elapsed() >= wait {
            return Err(Error::NotRunning(data.path().to_owned()));
        }
        std::thread::sleep(POLL);
    }
}

fn read_url(data: &DataDir) -> Result<Option<String>, Error> {
    let contents = data.read("endpoint")?;
    Ok(contents
        .and_then(|contents| String::from_utf8(contents).ok())
        .map(|url| url.trim().to_owned()))
}

/// A file that a killed emulator left behind does not count: something has to accept.
fn accepts(url: &str) -> bool {
    url.strip_prefix("https://")
        .and_then(|authority| authority.to_socket_addrs().ok())
        .is_some_and(|mut addresses| {
            addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
        })
}

/// Announces the URL, and takes it back when dropped.
pub(crate) struct Announcement(Vec<PathBuf>);

impl Announcement {
    pub(crate) fn publish(
        data: &DataDir,
        url: &str,
        vaults: &[(String, String)],
        metadata_url: Option<&str>,
        control_url: Option<&str>,
    ) -> Result<Self, Error> {
        let further = [(METADATA_FILE, metadata_url), (CONTROL_FILE, control_url)];
        let mut files = vec![data.endpoint_file(), data.file(VAULTS_FILE)];
        files.extend(further.map(|(file, _)| data.file(file)));
        let announcement = Self(files);
        for (file, url) in further {
            match url {
                Some(url) => data.write(file, format!("{url}\n").as_bytes())?,
                // It is of one that was killed, if it is there.
                None => drop(std::fs::remove_file(data.file(file))),
            }
        }
        let lines = vaults.iter().map(|(name, url)| format!("{name} {url}\n"));
        data.write(VAULTS_FILE, lines.collect::<String>().as_bytes())?;
        // Last, since it is what others wait for.
        data.write("endpoint", format!("{url}\n").as_bytes())?;
        Ok(announcement)
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_survive_quotes_in_a_path() {
        let environment = Environment {
            url: "https://localhost:1".to_owned(),
            vault_url: Some("https://localhost:2".to_owned()),
            ca_file: PathBuf::from("/it's here/ca.pem"),
            token: "t".to_owned(),
        };
        assert_eq!(
            environment.to_string(),
            "export AZURE_MANAGEDHSM_URL='https://localhost:1'\nexport AZURE_KEYVAULT_URL='https://localhost:2'\nexport AKV_CA_FILE='/it'\\''s here/ca.pem'\nexport AZURE_CLI_ACCESS_TOKEN='t'\n"
        );
    }

    #[test]
    fn a_stale_endpoint_file_is_not_a_running_emulator() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let nobody = testing::RefusingPort::take();
        data.write("endpoint", nobody.url().as_bytes()).unwrap();
        assert!(matches!(
            wait_until_ready(&data, Duration::ZERO),
            Err(Error::NotRunning(_))
        ));
    }
}
