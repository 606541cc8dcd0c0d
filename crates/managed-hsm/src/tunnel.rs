//! Tunnels through proxies (RFC 9110, section 9.3.6).

use std::error::Error as StdError;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;

use crate::dial::Dialler;
use crate::http::driver::drive;
use crate::http::host::without_brackets;
use crate::socket::Socket;

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a proxy leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("there is no connection to the proxy")]
    Connect(#[source] Cause),
    #[error("the proxy asks for a user and a password (HTTP 407)")]
    Login,
    #[error("the proxy does not accept the user and the password (HTTP 407)")]
    WrongLogin,
    #[error("the proxy answered HTTP {}", .0.as_u16())]
    Refused(StatusCode),
    #[error("the proxy can't be talked to")]
    Exchange(#[source] Cause),
    #[error("the proxy sent something before the server could")]
    Early,
}

/// A connection through a proxy to a host and port, as they stand in a URL.
pub(crate) async fn open(
    tcp: &Dialler,
    proxy: &Intercept,
    authority: &str,
) -> Result<Socket, TunnelError> {
    let exchange = |error: hyper::Error| TunnelError::Exchange(error.into());
    let unusable = |error: http::Error| TunnelError::Exchange(error.into());
    let host = without_brackets(proxy.uri().host().unwrap_or_default());
    let port = proxy
        .uri()
        .port_u16()
        .unwrap_or_else(|| match proxy.uri().scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
    let socket = tcp.connect(host, port).await;
    let socket = socket.map_err(|error| TunnelError::Connect(error.into()))?;

    let handshake = http1::handshake(TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.map_err(exchange)?;
    drive(connection.with_upgrades());
    let target: Uri = authority
        .parse()
        .map_err(|error: http::uri::InvalidUri| unusable(error.into()))?;
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = target;
    let headers = request.headers_mut();
    let name = HeaderValue::from_str(authority);
    headers.insert(HOST, name.map_err(|error| unusable(error.into()))?);
    if let Some(login) = proxy.basic_auth() {
        headers.insert(PROXY_AUTHORIZATION, login.clone());
    }
    let response = sender.send_request(request).await.map_err(exchange)?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(match proxy.basic_auth() {
                Some(_) => TunnelError::WrongLogin,
                None => TunnelError::Login,
            });
        }
        status => return Err(TunnelError::Refused(status)),
    }
    let tunnel = hyper::upgrade::on(response).await.map_err(exchange)?;
    match tunnel.downcast::<TokioIo<Socket>>() {
        Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner().tunnelled()),
        _ => Err(TunnelError::Early),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use hyper_util::client::proxy::matcher::Matcher;

    use super::*;
    use crate::causes::causes;
    use crate::event_loop::EventLoop;

    /// What a proxy was asked, and what comes of its answer.
    fn asked(answer: &'static str) -> (String, Result<Socket, TunnelError>) {
        told(answer, false)
    }

    /// The same where the answer may be sent again and again.
    fn told(answer: &'static str, is_repeated: bool) -> (String, Result<Socket, TunnelError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = client.read(&mut request).unwrap();
            while client.write_all(answer.as_bytes()).is_ok() && is_repeated {}
            String::from_utf8(request[..count].to_vec()).unwrap()
        });
        let matcher = Matcher::builder().all(format!("http://user:pass@{address}"));
        let intercept = matcher.build().intercept(&Uri::from_static("https://hsm"));
        let mut events = EventLoop::new().unwrap();
        let dialler = Dialler::default();
        let opened = open(&dialler, intercept.as_ref().unwrap(), "hsm:443");
        let opened = events.run(opened);
        (proxy.join().unwrap(), opened)
    }

    #[test]
    fn a_proxy_is_asked_as_documented_and_its_refusal_is_told() {
        let (request, opened) = asked("HTTP/1.1 200 Connection established\r\n\r\n");
        assert!(opened.is_ok());
        assert!(
            request.starts_with("CONNECT hsm:443 HTTP/1.1\r\n"),
            "{request}"
        );
        let request = request.to_lowercase();
        for header in ["host: hsm:443", "proxy-authorization: basic dxnlcjpwyxnz"] {
            assert!(request.contains(header), "{request}");
        }
        for (answer, words) in [
            (
                "HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n",
                "does not accept the user and the password (HTTP 407)",
            ),
            (
                "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n",
                "answered HTTP 403",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nHELLO", "before the server could"),
            ("what?", "can't be talked to"),
        ] {
            let error = asked(answer).1.err().unwrap();
            assert!(causes(&error).contains(words), "{answer}: {error}");
        }
    }

    #[test]
    fn a_proxy_that_never_comes_to_an_answer_is_given_up() {
        let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        let error = told(many.leak(), true).1.err().unwrap();
        assert!(causes(&error).contains("has no end"), "{error:?}");
    }
}
