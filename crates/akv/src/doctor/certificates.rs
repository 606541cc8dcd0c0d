//! The certificates that a server presents, trusted or not.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use der::Decode;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use x509_cert::Certificate;

use crate::output::{self, one_line};

/// A certificate that a server presents.
pub(super) struct Presented {
    subject: String,
    issuer: String,
    pub(super) until: SystemTime,
}

impl Presented {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = certificate.tbs_certificate();
        Some(Self {
            subject: one_line(&tbs.subject().to_string()),
            issuer: one_line(&tbs.issuer().to_string()),
            until: tbs.validity().not_after.to_system_time(),
        })
    }

    pub(super) fn json(&self) -> Value {
        json!({ "subject": self.subject, "issuer": self.issuer, "until": output::time(self.until) })
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = output::time(self.until);
        write!(f, "{} by {}, until {until}", self.subject, self.issuer)
    }
}

/// Notes a server's certificates and refuses the server, so that nothing is ever sent to it.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = all
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        Err(rustls::Error::General("only looked at".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only looked at".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only looked at".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
