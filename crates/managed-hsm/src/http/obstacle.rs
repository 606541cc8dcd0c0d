//! What keeps a connection from the service, by the types of the errors.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::failure::Failure;
use crate::causes::sources;
use crate::dial::DialError;
use crate::obstacle::Obstacle;
use crate::tunnel::TunnelError;

impl Obstacle {
    /// What an error is about: the outermost of its causes that tells decides.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let found = sources(error).into_iter().find_map(known);
        found.unwrap_or(Self::Other)
    }
}

fn known(error: &(dyn StdError + 'static)) -> Option<Obstacle> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::Connect(error) => Some(Obstacle::of(error.as_ref())),
            Failure::Tls(error) => Some(Obstacle::of(error)),
            // Headers without an end, too.
            Failure::Exchange(error) if error.is_parse() => Some(Obstacle::NotHttp),
            Failure::Exchange(error) => Some(match Obstacle::of(error) {
                Obstacle::Other | Obstacle::Handshake | Obstacle::TimedOut => Obstacle::Broken,
                known => known,
            }),
            Failure::Unsent(error) => Some(Obstacle::of(error)),
            Failure::ConnectTimeout | Failure::Late(_) => Some(Obstacle::TimedOut),
            Failure::NoHttp2 => Some(Obstacle::NoHttp2),
            Failure::Body(_) | Failure::TooLong | Failure::Fault(_) => None,
        };
    }
    if error.is::<TunnelError>() {
        return Some(Obstacle::Proxy);
    }
    if let Some(DialError::Resolver(_)) = error.downcast_ref() {
        return Some(Obstacle::Resolver);
    }
    if let Some(error) = error.downcast_ref::<TlsError>() {
        return Some(by_tls(error));
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(Obstacle::Refused),
        io::ErrorKind::TimedOut => Some(Obstacle::TimedOut),
        _ => None,
    }
}

fn by_tls(error: &TlsError) -> Obstacle {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    match error {
        TlsError::InvalidCertificate(problem) => match problem {
            UnknownIssuer => Obstacle::UnknownIssuer,
            NotValidForName | NotValidForNameContext { .. } => Obstacle::WrongHost,
            Expired | ExpiredContext { .. } => Obstacle::Expired,
            _ => Obstacle::Certificate,
        },
        TlsError::NoCertificatesPresented | TlsError::InvalidCertRevocationList(_) => {
            Obstacle::Certificate
        }
        TlsError::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown,
        ) => Obstacle::Certificate,
        TlsError::InvalidMessage(_) => Obstacle::NotTls,
        _ => Obstacle::Handshake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(error: TlsError) -> Failure {
        Failure::Tls(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn io(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn each_error_has_the_remedy_of_its_type() {
        let certificate = |problem| tls(TlsError::InvalidCertificate(problem));
        let refused = || DialError::Connect(io(io::ErrorKind::ConnectionRefused));
        for (failure, expected) in [
            (
                certificate(CertificateError::UnknownIssuer),
                Obstacle::UnknownIssuer,
            ),
            (
                certificate(CertificateError::NotValidForName),
                Obstacle::WrongHost,
            ),
            (certificate(CertificateError::Expired), Obstacle::Expired),
            (
                certificate(CertificateError::Revoked),
                Obstacle::Certificate,
            ),
            (
                tls(TlsError::InvalidMessage(
                    rustls::InvalidMessage::InvalidContentType,
                )),
                Obstacle::NotTls,
            ),
            (
                tls(TlsError::AlertReceived(AlertDescription::HandshakeFailure)),
                Obstacle::Handshake,
            ),
            (
                Failure::Tls(io(io::ErrorKind::UnexpectedEof)),
                Obstacle::Other,
            ),
            (Failure::ConnectTimeout, Obstacle::TimedOut),
            (Failure::NoHttp2, Obstacle::NoHttp2),
            (Failure::connect(refused()), Obstacle::Refused),
            (
                Failure::connect(DialError::Connect(io(io::ErrorKind::TimedOut))),
                Obstacle::TimedOut,
            ),
            (
                // Whatever words there are in it.
                Failure::connect(DialError::Resolver(io::Error::other("refused, expired"))),
                Obstacle::Resolver,
            ),
            (
                Failure::connect(TunnelError::Connect(refused().into())),
                Obstacle::Proxy,
            ),
            (
                Failure::connect("certificate refused: timed out"),
                Obstacle::Other,
            ),
        ] {
            assert_eq!(Obstacle::of(&failure), expected, "{failure}");
        }
    }
}
