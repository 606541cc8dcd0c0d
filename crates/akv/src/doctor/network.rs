//! The way to the service: name, connection, proxy, TLS with its chain, the service itself, and its
//! clock if it tells its time.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper_util::client::proxy::matcher::Intercept;
use managed_hsm::{Obstacle, Settings, Vault};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use url::Url;

use super::certificates::{Look, Presented};
use super::steps::{Status, Steps};
use super::timed::{self, Timed};
use crate::failure::Failure;
use crate::output::{self, one_line};

/// How far clocks may be apart. Entra ID and services allow five minutes.
const MAX_SKEW: Duration = Duration::from_secs(300);
pub(crate) const UNUSUAL_SKEW: Duration = Duration::from_secs(30);
/// The most that is read of an answer's head, in bytes.
const MAX_HEAD: usize = 1 << 14;
/// A server's certificate that ends sooner is worth a warning.
const CERTIFICATE_SOON: Duration = Duration::from_secs(7 * 86_400);

/// What the service said of itself.
pub(crate) struct Found {
    /// The tenant that it belongs to.
    pub(crate) tenant: Option<String>,
    /// Whether it told its time, so that clocks were compared.
    pub(crate) told_time: bool,
}

/// None: the service can't be used from here.
pub(crate) fn check(
    steps: &mut Steps,
    settings: &Settings,
    vault: &Vault,
) -> Result<Option<Found>, Failure> {
    let url = match settings.address(vault) {
        Ok(url) => url,
        Err(error) => {
            let remedy = "check the name of the HSM or key vault";
            steps.add("name-resolution", Status::Failed, error.to_string(), remedy);
            return Ok(None);
        }
    };
    let route = Route {
        settings,
        vault,
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or(443),
        proxy: proxy(settings, &url),
    };
    Ok(route.check(steps))
}

/// The proxy for an address, by the rules that requests keep to.
fn proxy(settings: &Settings, url: &Url) -> Option<Intercept> {
    let matcher = settings.proxy_matcher()?;
    matcher.intercept(&url.as_str().parse().ok()?)
}

/// A connection on which TLS is agreed on.
type Tls = StreamOwned<ClientConnection, Timed>;

struct Route<'a> {
    settings: &'a Settings,
    vault: &'a Vault,
    host: String,
    port: u16,
    proxy: Option<Intercept>,
}

impl Route<'_> {
    fn endpoint(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }

    fn check(&self, steps: &mut Steps) -> Option<Found> {
        let tcp = self.connected(steps)?;
        let mut tls = self.secured(steps, tcp)?;
        self.service(steps, &mut tls)
    }

    /// The host and port that a connection is opened to: the service's or the proxy's.
    fn first_hop(&self) -> (String, u16) {
        match &self.proxy {
            None => (self.host.clone(), self.port),
            Some(proxy) => {
                let uri = proxy.uri();
                let usual = if uri.scheme_str() == Some("https") {
                    443
                } else {
                    80
                };
                let host = uri.host().unwrap_or_default().to_owned();
                (host, uri.port_u16().unwrap_or(usual))
            }
        }
    }

    fn connected(&self, steps: &mut Steps) -> Option<Timed> {
        let (host, port) = self.first_hop();
        let who = match &self.proxy {
            None => host.clone(),
            Some(_) => format!("the proxy {host}"),
        };
        let addresses = self.resolved(steps, &host, port, &who)?;
        steps.doing(format!("connecting to {who}, port {port}"));
        let started = Instant::now();
        let stream = match self.opened(&addresses, port, &who) {
            Ok(stream) => stream,
            Err((detail, remedy)) => {
                steps.add("connection", Status::Failed, detail, remedy);
                return None;
            }
        };
        let took = started.elapsed().as_secs_f64() * 1e3;
        steps.good_with(
            "connection",
            format!("{who}, port {port}, in {}", output::milliseconds(took)),
            json!({ "port": port, "ms": took, "proxy": self.proxy.is_some() }),
        );
        Some(stream)
    }

    /// The addresses of the host that a connection is opened to. `who`: its name for a person.
    fn resolved(
        &self,
        steps: &mut Steps,
        host: &str,
        port: u16,
        who: &str,
    ) -> Option<Vec<SocketAddr>> {
        steps.doing(format!("looking up {who}"));
        let plain = host.trim_matches(['[', ']']);
        let addresses = match timed::addresses(plain, port, self.settings.connect_timeout) {
            Ok(addresses) => addresses,
            Err(problem) => {
                let remedy = match &self.proxy {
                    Some(_) => "check HTTPS_PROXY, and the name servers of this machine",
                    None => {
                        "check the name of the HSM or key vault, AKV_CLOUD, and the name servers of this machine; with a private endpoint, its \
                         DNS zone"
                    }
                };
                let detail = format!("{who} has no address: {problem}");
                steps.add("name-resolution", Status::Failed, detail, remedy);
                return None;
            }
        };
        let ips = addresses.iter().map(|address| address.ip().to_string());
        let shown: Vec<String> = ips.collect();
        let detail = format!("{who} is {}", shown.join(", "));
        steps.good_with("name-resolution", detail, json!({ "addresses": shown }));
        Some(addresses)
    }

    /// A connection to the service, through the proxy if there is one; or what is wrong, and what
    /// to do.
    fn opened(
        &self,
        addresses: &[SocketAddr],
        port: u16,
        who: &str,
    ) -> Result<Timed, (String, &'static str)> {
        let limit = self.settings.connect_timeout;
        let attempt = Timed::connect(addresses, limit);
        let mut stream = attempt.map_err(|problem| {
            let is_refused = problem.kind() == io::ErrorKind::ConnectionRefused;
            let remedy = match (&self.proxy, is_refused) {
                (Some(_), _) => "check HTTPS_PROXY and NO_PROXY, and that the proxy runs",
                (None, true) => {
                    "nothing listens there: check AZURE_MANAGEDHSM_URL and its port, or start the emulator"
                }
                (None, false) => {
                    "check firewalls and routes between this machine and the HSM, and the HSM's own firewall"
                }
            };
            let detail = format!("no connection to {who}, port {port}: {problem}");
            (detail, remedy)
        })?;
        if let Some(proxy) = &self.proxy {
            stream.allow(limit);
            self.tunnel(&mut stream, proxy).map_err(|problem| {
                (
                    format!("{who} does not let through to {}: {problem}", self.host),
                    "check HTTPS_PROXY with its user and password, what the proxy allows, and NO_PROXY",
                )
            })?;
        }
        Ok(stream)
    }

    /// Asks the proxy for a connection to the service (RFC 9110, section 9.3.6).
    fn tunnel(&self, stream: &mut Timed, proxy: &Intercept) -> io::Result<()> {
        if proxy.uri().scheme_str() == Some("https") {
            return Err(io::Error::other(
                "akv doctor can't look through a proxy that is itself spoken to by TLS",
            ));
        }
        let target = format!("{}:{}", self.host, self.port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(login) = proxy.basic_auth().and_then(|login| login.to_str().ok()) {
            request += &format!("Proxy-Authorization: {login}\r\n");
        }
        request += "\r\n";
        stream.write_all(request.as_bytes())?;
        let head = head(stream)?;
        let status = head.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(()),
            _ => Err(io::Error::other(format!(
                "it answers '{}'",
                one_line(status)
            ))),
        }
    }

    fn secured(&self, steps: &mut Steps, tcp: Timed) -> Option<Tls> {
        let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned());
        let (config, name) = match (self.settings.tls(), name) {
            (Ok(config), Ok(name)) => (config, name),
            (config, name) => {
                let problem = config.err().map(|error| error.to_string());
                let problem = problem.or_else(|| name.err().map(|error| error.to_string()));
                let remedy = "check AZURE_MANAGEDHSM_URL and AKV_CA_FILE";
                steps.add("tls", Status::Failed, problem.unwrap_or_default(), remedy);
                return None;
            }
        };
        steps.doing(format!("agreeing on TLS with {}", self.host));
        let error = match self.agreed(config, name.clone(), tcp) {
            Ok(stream) => {
                self.tell_tls(steps, &stream);
                return Some(stream);
            }
            Err(error) => error,
        };
        let presented = self.presented(name);
        let detail = match presented.first() {
            None => format!("{}: {error}", self.endpoint()),
            Some(leaf) => format!("{}: {error}; it presents {leaf}", self.endpoint()),
        };
        let obstacle = match error.kind() {
            io::ErrorKind::TimedOut => Obstacle::TimedOut,
            _ => Obstacle::of(&error),
        };
        steps.add("tls", Status::Failed, detail, self.tls_remedy(obstacle));
        None
    }

    /// A connection on which both sides have agreed on TLS, and each trusts the other.
    fn agreed(
        &self,
        config: ClientConfig,
        name: ServerName<'static>,
        mut tcp: Timed,
    ) -> io::Result<Tls> {
        tcp.allow(self.settings.connect_timeout);
        let connection = ClientConnection::new(Arc::new(config), name);
        let mut connection = connection.map_err(io::Error::other)?;
        connection.complete_io(&mut tcp)?;
        Ok(StreamOwned::new(connection, tcp))
    }

    fn tls_remedy(&self, obstacle: Obstacle) -> &'static str {
        match obstacle {
            Obstacle::Handshake if self.settings.require_post_quantum => {
                "the server has not the key exchange X25519MLKEM768 that AKV_REQUIRE_POST_QUANTUM asks for: set that to no"
            }
            other => other.remedy(),
        }
    }

    fn tell_tls(&self, steps: &mut Steps, stream: &Tls) {
        let connection = &stream.conn;
        let version = connection.protocol_version().map(|it| format!("{it:?}"));
        let exchange = connection.negotiated_key_exchange_group();
        let exchange = exchange.map(|group| format!("{:?}", group.name()));
        let chain: Vec<Presented> = connection
            .peer_certificates()
            .into_iter()
            .flatten()
            .filter_map(Presented::parse)
            .collect();
        let shown: Vec<String> = chain.iter().map(ToString::to_string).collect();
        let detail = format!(
            "{} with key exchange {}, chain of {} that is trusted here: {}",
            version.clone().unwrap_or_default(),
            exchange.clone().unwrap_or_default(),
            shown.len(),
            shown.join("; ")
        );
        let ends_soon = chain.first().is_some_and(|leaf| {
            leaf.until
                .duration_since(SystemTime::now())
                .unwrap_or_default()
                < CERTIFICATE_SOON
        });
        match ends_soon {
            true => steps.add(
                "tls",
                Status::Warning,
                detail,
                "the server's certificate ends within a week: whoever runs the server must renew it",
            ),
            false => steps.good_with(
                "tls",
                detail,
                json!({
                    "version": version,
                    "key_exchange": exchange,
                    "chain": chain.iter().map(Presented::json).collect::<Vec<_>>(),
                }),
            ),
        }
    }

    /// The chain of a server that is not trusted, looked at on a connection that ends there.
    fn presented(&self, name: ServerName<'static>) -> Vec<Presented> {
        let Ok(config) = self.settings.tls() else {
            return Vec::new();
        };
        let look = Arc::new(Look {
            algorithms: config.crypto_provider().signature_verification_algorithms,
            seen: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(Arc::clone(config.crypto_provider()))
            .with_safe_default_protocol_versions();
        let Ok(config) = config else {
            return Vec::new();
        };
        let config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&look) as _)
            .with_no_client_auth();
        let mut silent = Steps::default();
        if let Some(tcp) = self.connected(&mut silent) {
            // It always fails: the verifier refuses everybody.
            drop(self.agreed(config, name, tcp));
        }
        let seen = look.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter_map(Presented::parse).collect()
    }

    /// Asks without a token, as Microsoft's libraries begin: the service says who it is and its
    /// time.
    fn service(&self, steps: &mut Steps, tls: &mut Tls) -> Option<Found> {
        let host = match self.port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        };
        let request = format!(
            "GET /keys?api-version={} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: akv/{}\r\nConnection: close\r\n\r\n",
            self.settings.api_version,
            env!("CARGO_PKG_VERSION")
        );
        steps.doing(format!("asking {} who it is", self.host));
        let sent = SystemTime::now();
        tls.sock.allow(self.settings.operation_timeout);
        let answer = tls.write_all(request.as_bytes()).and_then(|()| head(tls));
        let head = match answer {
            Ok(head) if head.starts_with("HTTP/1.") => head,
            other => {
                let problem = match other {
                    Ok(_) => "what it answers is not HTTP".to_owned(),
                    Err(problem) => problem.to_string(),
                };
                steps.add(
                    "service",
                    Status::Failed,
                    format!("{}: {problem}", self.endpoint()),
                    "check that this address is a Managed HSM or key vault, and the service's health in Azure",
                );
                return None;
            }
        };
        let middle = sent + sent.elapsed().unwrap_or_default() / 2;
        let tenant = self.challenge(steps, &head)?;
        let told_time = clock(steps, header(&head, "date"), middle);
        Some(Found { tenant, told_time })
    }

    /// What the service's challenge says; the tenant among it.
    fn challenge(&self, steps: &mut Steps, head: &str) -> Option<Option<String>> {
        let status = one_line(head.lines().next().unwrap_or_default());
        let challenge = header(head, "www-authenticate").unwrap_or_default();
        let quoted = |name: &str| {
            let start = challenge.split_once(&format!("{name}=\""))?.1;
            start.split_once('"').map(|(value, _)| one_line(value))
        };
        let code = status.split(' ').nth(1).unwrap_or_default().to_owned();
        let authority = quoted("authorization").or_else(|| quoted("authorization_uri"));
        if code != "401" || authority.is_none() {
            let remedy = match code.as_str() {
                "403" => {
                    "the service's firewall refuses this machine: allow its address, or come by the private endpoint"
                }
                "429" => {
                    "a key vault, or a gateway on the way, allows no more requests now: try again later"
                }
                code if code.starts_with('5') => {
                    "the service is not healthy: see its health in Azure, and try again later"
                }
                _ => "check that this address is a Managed HSM or key vault",
            };
            steps.add(
                "service",
                Status::Failed,
                format!(
                    "{} answers '{status}' to a request without a token, where an HSM answers 401 and who gives tokens",
                    self.endpoint()
                ),
                remedy,
            );
            return None;
        }
        let tenant = authority.as_deref().and_then(|url| {
            let tenant = url.trim_end_matches('/').rsplit('/').next()?;
            Some(tenant.to_owned())
        });
        let resource = quoted("resource").or_else(|| quoted("scope"));
        let detail = format!(
            "{} answers as {}; tenant {}, tokens for {}",
            self.endpoint(),
            self.vault,
            tenant.as_deref().unwrap_or("unknown"),
            resource.as_deref().unwrap_or("unknown")
        );
        let data = json!({ "tenant": tenant, "resource": resource });
        steps.good_with("service", detail, data);
        Some(tenant)
    }
}

/// What to do about a clock that is wrong.
pub(crate) const SET_CLOCK: &str =
    "set this machine's clock, and keep it by NTP: timedatectl set-ntp true";

/// Compares the service's time with that of this machine, `here`, when the answer was made. Key
/// vaults tell it, HSMs don't.
fn clock(steps: &mut Steps, date: Option<&str>, here: SystemTime) -> bool {
    let there = date.and_then(|date| azure_core::time::parse_rfc7231(date).ok());
    let Some(there) = there else {
        return false;
    };
    // The header has whole seconds.
    let there = output::from_unix(there.unix_timestamp()) + Duration::from_millis(500);
    let (skew, direction) = match here.duration_since(there) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = skew.as_secs_f64();
    let detail = format!("this machine is {seconds:.0} s {direction} the service");
    let data: Value = json!({ "skew_seconds": seconds, "direction": direction });
    match skew {
        _ if skew > MAX_SKEW => steps.add("clock", Status::Failed, detail, SET_CLOCK),
        _ if skew > UNUSUAL_SKEW => steps.add("clock", Status::Warning, detail, SET_CLOCK),
        _ => steps.good_with("clock", detail, data),
    }
    true
}

/// The head of an answer: status line and headers.
fn head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while head.len() < MAX_HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case_and_not_in_the_body() {
        let head =
            "HTTP/1.1 401 Unauthorized\r\nDATE: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\nx-late: 1";
        assert_eq!(header(head, "date"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert_eq!(header(head, "x-late"), None);
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let date = Some("Tue, 14 Nov 2023 22:13:20 GMT");
        for (offset, status, words) in [
            (1_700_000_001, "ok", "s ahead of"),
            (1_700_000_060, "ok", "60 s ahead of"),
            (1_699_999_000, "failed", "1000 s behind"),
        ] {
            let mut steps = Steps::default();
            assert!(clock(&mut steps, date, output::from_unix(offset)));
            let report = steps.report();
            assert_eq!(report.json["status"], status);
            assert!(report.text.contains(words), "{}", report.text);
        }
        assert!(!clock(&mut Steps::default(), None, SystemTime::now()));
    }
}
