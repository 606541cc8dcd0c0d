//! Blob storage, where full backups of HSMs lie: folders in the data folder, which stand for all
//! storage over HTTPS, so that nothing leaves the machine; or storage that is reached over plain
//! HTTP, such as Azurite.

use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::data_dir::DataDir;

/// The name of the blob in a backup's folder.
const BLOB: &str = "backup";
const TIMEOUT: Duration = Duration::from_secs(60);
/// Larger than the backup of an HSM with as many keys as it can have.
const LIMIT: usize = 1 << 30;

/// Why a blob is not there, or was not written.
pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The problem of an address without a container, which the storage of the service answers so.
#[derive(Debug, thiserror::Error)]
#[error("InvalidQueryParameterValue")]
pub(crate) struct NoContainer;

/// A container of blob storage, or a folder in one.
pub(crate) struct Container {
    /// As it was named.
    pub(crate) url: String,
    place: Place,
}

enum Place {
    /// A folder.
    Own(PathBuf),
    /// A host alone.
    Nowhere,
    /// Its URI, and a shared access signature.
    Http(Uri, String),
}

impl Container {
    /// The container of a URI, with the folders in it that the URI names. None: it is none.
    pub(crate) fn parse(root: &Path, uri: &str, token: Option<&str>) -> Option<Self> {
        let url = uri.trim_end_matches('/').to_owned();
        let parsed: Uri = url.parse().ok()?;
        // It is told again in statuses, where a signature or a password would be seen.
        if parsed.query().is_some() || parsed.authority()?.as_str().contains('@') {
            return None;
        }
        let place = match parsed.scheme_str()? {
            "https" => {
                // An address of IPv6 has colons and brackets.
                let host = parsed
                    .host()?
                    .to_ascii_lowercase()
                    .replace(['[', ']', ':'], "_");
                let name = parsed.path().trim_start_matches('/');
                if name.is_empty() {
                    return Some(Self {
                        url,
                        place: Place::Nowhere,
                    });
                }
                Place::Own(root.join(plain_name(&host)?).join(plain_path(name)?))
            }
            "http" => {
                let token = token.unwrap_or_default().trim_start_matches('?');
                Place::Http(parsed, token.to_owned())
            }
            _ => return None,
        };
        Some(Self { url, place })
    }

    /// Whether there is a container at all.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        match &self.place {
            Place::Nowhere => Err(NoContainer.into()),
            Place::Own(_) | Place::Http(..) => Ok(()),
        }
    }

    /// Writes the blob of a backup's folder.
    pub(crate) fn write(&self, folder: &str, blob: &[u8]) -> Result<(), Problem> {
        match &self.place {
            Place::Nowhere => Err(NoContainer.into()),
            Place::Own(container) => {
                let folder = container.join(plain_path(folder).ok_or("a folder of this name")?);
                let folder = DataDir::resolve(Some(folder))?;
                folder.make()?;
                Ok(folder.write(BLOB, blob)?)
            }
            Place::Http(uri, token) => {
                let blob = Bytes::copy_from_slice(blob);
                let (status, _) = ask(Method::PUT, uri, folder, token, blob)?;
                match status.is_success() {
                    true => Ok(()),
                    false => Err(format!("it answered {status} to a PUT").into()),
                }
            }
        }
    }

    /// Reads it.
    pub(crate) fn read(&self, folder: &str) -> Result<Vec<u8>, Problem> {
        match &self.place {
            Place::Nowhere => Err(NoContainer.into()),
            Place::Own(container) => {
                let none = || format!("there is no backup '{folder}'");
                let folder = plain_path(folder).ok_or_else(none)?;
                std::fs::read(container.join(folder).join(BLOB)).map_err(|_| none().into())
            }
            Place::Http(uri, token) => {
                let (status, blob) = ask(Method::GET, uri, folder, token, Bytes::new())?;
                match status.is_success() {
                    true => Ok(blob),
                    false => Err(format!("it answered {status} to a GET").into()),
                }
            }
        }
    }
}

/// A name that can't lead anywhere else.
fn plain_name(name: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_plain = name.len() <= 255 && name.bytes().all(allowed) && !name.starts_with('.');
    (is_plain && !name.is_empty()).then_some(name)
}

/// A path of such names.
fn plain_path(path: &str) -> Option<&str> {
    let mut names = path.split('/');
    names.all(|name| plain_name(name).is_some()).then_some(path)
}

/// A request for the blob of a folder, from a thread that may wait.
fn ask(
    method: Method,
    container: &Uri,
    folder: &str,
    token: &str,
    body: Bytes,
) -> Result<(StatusCode, Vec<u8>), Problem> {
    let path = format!("{}/{folder}/{BLOB}", container.path().trim_end_matches('/'));
    let query = if token.is_empty() {
        String::new()
    } else {
        format!("?{token}")
    };
    let host = container
        .authority()
        .map(http::uri::Authority::as_str)
        .unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}{query}"))
        .header(header::HOST, host)
        .header("x-ms-version", "2021-12-02")
        .header("x-ms-blob-type", "BlockBlob")
        .body(Full::new(body))?;
    let port = container.port_u16().unwrap_or(80);
    let address = (container.host().unwrap_or_default(), port)
        .to_socket_addrs()?
        .next();
    let address = address.ok_or("its host has no address")?;
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LIMIT).collect().await?;
        driving.abort();
        Ok::<_, Problem>((status, body.to_bytes().to_vec()))
    };
    Handle::current().block_on(async { tokio::time::timeout(TIMEOUT, exchange).await? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_folders_or_reached_over_plain_http() {
        let root = Path::new("/blobs");
        let parse = |uri| Container::parse(root, uri, Some("?sv=1"));
        for (uri, folder) in [
            ("https://localhost:1/backups/", "/blobs/localhost/backups"),
            ("https://[::1]:1/backups", "/blobs/___1_/backups"),
            (
                "https://a.blob.core.windows.net/b",
                "/blobs/a.blob.core.windows.net/b",
            ),
            (
                "https://a.blob.core.windows.net/b/some/folder/name",
                "/blobs/a.blob.core.windows.net/b/some/folder/name",
            ),
        ] {
            let place = parse(uri).unwrap().place;
            assert!(matches!(place, Place::Own(path) if path == Path::new(folder)));
        }
        // What is asked for there fails, when it is done.
        for host in ["https://localhost:1", "https://a.blob.core.windows.net/"] {
            let nowhere = parse(host).unwrap();
            assert!(nowhere.read("f").unwrap_err().is::<NoContainer>());
            assert!(nowhere.write("f", b"").unwrap_err().is::<NoContainer>());
        }
        let other = parse("http://127.0.0.1:10000/account/backups").unwrap();
        assert!(matches!(other.place, Place::Http(_, token) if token == "sv=1"));
        for uri in [
            "",
            "backups",
            "https://localhost:1/../keys",
            "https://localhost:1/b/../../keys",
            "https://localhost:1/b//c",
            "https://../keys",
            "https://localhost/b?sig=secret",
            "http://localhost/b?sig=secret",
            "https://user:secret@localhost/b",
            "ftp://localhost/b",
        ] {
            assert!(parse(uri).is_none(), "{uri}");
        }
    }
}
