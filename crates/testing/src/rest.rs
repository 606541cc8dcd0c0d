//! Requests to an emulator past the client: to make keys and to change them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use openssl::ssl::{SslConnector, SslMethod};
use serde_json::Value;

/// A version of the API that has all that tests make.
const NEWEST: &str = "2026-05-01-preview";

/// An emulator's REST API, with a token.
#[derive(Debug)]
pub struct Rest {
    /// `https://localhost:PORT`
    pub url: String,
    /// The PEM file of its CA.
    pub ca: PathBuf,
    /// A bearer token.
    pub token: String,
}

impl Rest {
    /// That of an emulator in this process, for its owner.
    #[cfg(feature = "emulator")]
    #[must_use]
    pub fn of(emulator: &crate::emulator::Handle) -> Self {
        Self {
            url: emulator.url.clone(),
            ca: emulator.ca.clone(),
            token: emulator.token.clone(),
        }
    }

    /// Sends a request on a connection of its own. Returns what a success answers.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Value {
        let authority = self.url.strip_prefix("https://").expect("an HTTPS URL");
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector.set_ca_file(&self.ca).expect("a CA file");
        let stream = TcpStream::connect(authority).expect("the emulator accepts");
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let connected = connector.build().connect(host, stream);
        let mut stream = connected.expect("the emulator speaks TLS");
        let request = format!(
            "{method} {path}?api-version={NEWEST} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it is read");
        let mut answer = String::new();
        // Without TLS's own farewell, which is nobody's concern here: the answer has a length.
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        let is_success = head.starts_with("HTTP/1.1 2");
        assert!(is_success, "{method} {path}: {answer}");
        match body {
            "" => Value::Null,
            body => serde_json::from_str(body).expect("the answer is JSON"),
        }
    }

    /// Creates a key, or a newer version of it. Returns the version.
    pub fn create(&self, name: &str, body: &str) -> String {
        self.version_made(&format!("/keys/{name}/create"), body)
    }

    /// Makes a newer version as the service's rotation does, which takes a rotation policy. Returns
    /// it.
    pub fn rotate(&self, name: &str) -> String {
        self.set_rotation_policy(name);
        self.version_made(&format!("/keys/{name}/rotate"), "")
    }

    /// Has the service rotate a key, in two years.
    pub fn set_rotation_policy(&self, name: &str) {
        let policy = r#"{"lifetimeActions":[{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"P2Y"}}]}"#;
        self.call("PUT", &format!("/keys/{name}/rotationpolicy"), policy);
    }

    fn version_made(&self, path: &str, body: &str) -> String {
        let bundle = self.call("POST", path, body);
        let kid = bundle["key"]["kid"].as_str().expect("a key has a name");
        kid.rsplit('/').next().expect("with a version").to_owned()
    }

    /// Changes a key's attributes or operations.
    pub fn update(&self, name: &str, body: &str) {
        self.call("PATCH", &format!("/keys/{name}"), body);
    }
}
