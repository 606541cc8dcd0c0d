//! Answers that come twice, or that nobody asked for, are taken for no other request's.
//!
//! What stands between here and the emulator passes answers on, and then says more: as load
//! balancers do on connections that are idle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};

use crate::hostile::{Answer, Guise, Impostor, lead};
use crate::support::{Hsm, RSA_2048, uri};

const TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nidle";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nidle";

/// Longer than it takes to read an answer, and less than the program waits between two requests.
const MOMENT: Duration = Duration::from_millis(15);

/// The emulator's answer to a request.
fn relay(port: u16, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    connector.set_verify(SslVerifyMode::NONE);
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut tls = connector
        .build()
        .connect("localhost", stream)
        .map_err(std::io::Error::other)?;
    tls.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    while !is_complete(&answer) {
        match tls.read(&mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(answer)
}

fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().expect("a number"))
}

/// Passes the emulator's answers on, and says `more` after each.
fn saying_more(
    hsm: &Hsm,
    more: impl Fn(&mut SslStream<TcpStream>, &[u8]) -> std::io::Result<()> + Send + Sync + 'static,
) -> Impostor {
    let url = hsm.variable("AZURE_MANAGEDHSM_URL");
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.expect("the URL ends with a port");
    let answer: Answer = Arc::new(move |tls, request| {
        let answer = relay(port, request)?;
        tls.write_all(&answer)?;
        more(tls, &answer)
    });
    Impostor::disguised(&Guise::default(), answer)
}

fn stay_in_step(
    more: impl Fn(&mut SslStream<TcpStream>, &[u8]) -> std::io::Result<()> + Send + Sync + 'static,
) {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let impostor = saying_more(&hsm, more);
    let hsm = lead(hsm, &impostor);
    let program = hsm.compile("in_step");
    hsm.run(&program, &[&uri("rsa")]).succeeds();
}

#[test]
fn an_answer_that_comes_twice_answers_no_other_request() {
    stay_in_step(|tls, answer| {
        thread::sleep(MOMENT);
        tls.write_all(answer)
    });
    stay_in_step(|tls, answer| tls.write_all(answer));
}

#[test]
fn what_load_balancers_say_on_idle_connections_fails_no_request() {
    for said in [TIMED_OUT, BAD] {
        stay_in_step(move |tls, _| {
            thread::sleep(MOMENT);
            tls.write_all(said)
        });
        stay_in_step(move |tls, _| {
            thread::sleep(MOMENT);
            tls.write_all(said)?;
            let _ = tls.shutdown();
            Err(std::io::ErrorKind::BrokenPipe.into())
        });
    }
}
