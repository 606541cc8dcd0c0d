//! How scripts find a running emulator: the endpoint files, and readiness.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::data_dir::DataDir;
use crate::error::Error;

/// Names and URLs of the vaults that are served.
const VAULTS_FILE: &str = "vault-endpoints";
/// The URL of the port for managed identities, if there is one.
const METADATA_FILE: &str = "metadata-endpoint";
/// The URL of the control port, if there is one.
const CONTROL_FILE: &str = "control-endpoint";
const POLL: Duration = Duration::from_millis(25);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

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
/// [`Error::NotRunning`] when none does and none is waited for, [`Error::NotReady`] when none does
/// by then.
pub fn wait_until_ready(data: &DataDir, wait: Duration) -> Result<String, Error> {
    let start = Instant::now();
    loop {
        if let Some(url) = read_url(data)?
            && accepts(&url)
        {
            return Ok(url);
        }
        if start.elapsed() >= wait {
            let folder = data.path().to_owned();
            return Err(match wait.is_zero() {
                true => Error::NotRunning(folder),
                false => Error::NotReady(folder, wait),
            });
        }
        std::thread::sleep(POLL);
    }
}

/// Where managed identities of the running emulator ask for tokens: at a port of their own, or at
/// `url`, its first.
pub(crate) fn metadata_url(data: &DataDir, url: &str) -> Result<String, Error> {
    let own = data.read(METADATA_FILE)?;
    let own = own.map(|url| String::from_utf8_lossy(&url).trim().to_owned());
    Ok(own.unwrap_or_else(|| url.to_owned()))
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
    fn a_stale_endpoint_file_is_not_a_running_emulator() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let nobody = testing::ReservedPort::take();
        data.write("endpoint", nobody.url().as_bytes()).unwrap();
        assert!(matches!(
            wait_until_ready(&data, Duration::ZERO),
            Err(Error::NotRunning(_))
        ));
        let waited = wait_until_ready(&data, Duration::from_millis(1));
        assert!(matches!(waited, Err(Error::NotReady(_, _))));
    }
}
