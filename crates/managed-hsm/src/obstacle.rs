//! What keeps a connection from the service, and what to do about it.

/// Why no connection could be had, as far as that tells what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The certificate is signed by a CA that is not trusted here.
    UnknownIssuer,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate has expired.
    Expired,
    /// The certificate was refused for another reason.
    Certificate,
    /// What listens there does not speak TLS.
    NotTls,
    /// What answers there does not speak HTTP.
    NotHttp,
    /// Both sides speak TLS, and did not agree.
    Handshake,
    /// It took too long.
    TimedOut,
    /// The resolver knows no address of the host.
    Resolver,
    /// Nothing listens there.
    Refused,
    /// The proxy does not lead there.
    Proxy,
    /// The server does not speak HTTP/2, where nothing else was asked for.
    NoHttp2,
    /// The connection broke after the request was sent, before the answer was there.
    Broken,
    /// Anything else.
    Other,
}

impl Obstacle {
    /// What did not come to pass with the service's address, which follows.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Broken => "no answer from",
            _ => "can't reach",
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "its certificate is not signed by a CA that is trusted here; if it is the right server, set AKV_CA_FILE, or the \
                 configuration file's setting, to the CA's certificate"
            }
            Self::WrongHost => {
                "its certificate is for another host; check the address (AZURE_MANAGEDHSM_URL, or the configuration file) and \
                 the name servers of this machine"
            }
            Self::Expired => {
                "its certificate has expired; check the server's certificate and this machine's clock"
            }
            Self::Certificate => {
                "its certificate was refused; check the address and this machine's clock"
            }
            Self::NotTls => {
                "what listens there does not speak TLS; check host and port (AZURE_MANAGEDHSM_URL, or the configuration file)"
            }
            Self::NotHttp => {
                "what answered does not speak HTTP as a Managed HSM does; check host and port (AZURE_MANAGEDHSM_URL, or the \
                 configuration file), and what is between this machine and the HSM"
            }
            Self::TimedOut => {
                "no connection within the time allowed; check firewalls and routes between this machine and the HSM"
            }
            Self::Resolver => "check the vault's name, and the name servers of this machine",
            Self::Refused => {
                "nothing listens there; check the address (AZURE_MANAGEDHSM_URL, or the configuration file), or start the emulator"
            }
            Self::Proxy => {
                "check HTTPS_PROXY and NO_PROXY, or the configuration file's settings, and that the proxy runs"
            }
            Self::Handshake | Self::NoHttp2 | Self::Broken | Self::Other => {
                "check the network between this machine and the HSM"
            }
        }
    }
}
