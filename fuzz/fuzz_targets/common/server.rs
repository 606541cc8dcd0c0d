//! An HTTPS server that gives the next request the answer that it was told, byte for byte, and then
//! closes the connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use openssl::ssl::{ShutdownState, SslAcceptor, SslMethod, SslStream};
use testing::Certificate;

pub struct Server {
    port: u16,
    pub ca_file: PathBuf,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub fn start() -> Self {
        let identity = Certificate::for_localhost();
        let acceptor = acceptor(&identity).expect("TLS");
        let ca_file = std::env::temp_dir().join(format!("akv-fuzz-{}.pem", std::process::id()));
        std::fs::write(&ca_file, identity.pem()).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(tls) = acceptor.accept(stream.expect("a connection")) else {
                    continue;
                };
                let answer = told.lock().expect("nobody panics").clone();
                // Who was answered may be gone already.
                let _ = serve(tls, &answer);
            }
        });
        Self {
            port,
            ca_file,
            answer,
        }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn will_answer(&self, answer: Vec<u8>) {
        *self.answer.lock().expect("nobody panics") = answer;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

fn serve(mut tls: SslStream<TcpStream>, answer: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !is_complete(&request) {
        match tls.read(&mut buffer)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    tls.write_all(answer)?;
    tls.set_shutdown(ShutdownState::RECEIVED);
    let _ = tls.shutdown();
    Ok(())
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn acceptor(identity: &Certificate) -> Result<SslAcceptor, openssl::error::ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_private_key(&identity.key)?;
    acceptor.set_certificate(&identity.certificate)?;
    Ok(acceptor.build())
}
