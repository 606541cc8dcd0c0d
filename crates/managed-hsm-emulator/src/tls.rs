//! The emulator's own CA, made at first start, and the server certificate, made anew at every
//! start.
//!
//! Clients trust the CA file, so the server certificate may change with the names it has to carry.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use crate::attestation::Chain;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::service::wildcards;

const CA_KEY: &str = "ca-key.pem";
const CA_CERTIFICATE: &str = "ca.pem";
const CA_DAYS: u32 = 3650;
/// Apple's limit for server certificates, the strictest that clients apply.
const SERVER_DAYS: u32 = 397;

/// Names that every server certificate carries, besides the services' hosts.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// Which certificate the server shows, so that clients can be tried with others than a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// A good one, made anew whenever it is asked for.
    Renewed,
    /// One that was good until a minute ago.
    Expired,
    /// One for another host.
    OtherHost,
    /// One by another CA.
    OtherAuthority,
}

/// A TLS 1.2 and 1.3 server for the loopback, the services' hosts (for clients with a hosts entry)
/// and further names, which offers HTTP/2 and HTTP/1.1.
pub(crate) struct ServerTls {
    authority: Authority,
    names: Vec<String>,
    http1_only: bool,
    current: RwLock<(Shown, Arc<rustls::ServerConfig>)>,
}

impl ServerTls {
    pub(crate) fn open(
        data: &DataDir,
        names: Vec<String>,
        http1_only: bool,
    ) -> Result<Self, Error> {
        let authority = Authority::open(data)?;
        let config = authority.server_config(&names, http1_only, Shown::Renewed)?;
        Ok(Self {
            authority,
            names,
            http1_only,
            current: RwLock::new((Shown::Renewed, config)),
        })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.1))
    }

    pub(crate) fn shown(&self) -> Shown {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.0
    }

    /// Changes the certificate for connections from now on. Sessions of earlier ones are not
    /// resumed.
    pub(crate) fn show(&self, shown: Shown) -> Result<(), Error> {
        let config = self
            .authority
            .server_config(&self.names, self.http1_only, shown)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = (shown, config);
        Ok(())
    }
}

/// The certificates of a key that signs attestations and released keys. In the service these are
/// signed by the key of the HSM's server certificate, and there are clients that check it for the
/// HSM's name, so this one has the same names as that of the server.
pub(crate) fn attestation_chain(
    data: &DataDir,
    key: &PKeyRef<Private>,
    names: &[String],
) -> Result<Chain, Error> {
    let authority = Authority::open(data)?;
    let certificate = authority.vouch(key, names)?;
    Ok(Chain(vec![certificate, authority.certificate]))
}

impl Authority {
    fn open(data: &DataDir) -> Result<Self, Error> {
        if let (Some(certificate), Some(key)) = (data.read(CA_CERTIFICATE)?, data.read(CA_KEY)?) {
            return Ok(Self {
                certificate: X509::from_pem(&certificate)?,
                key: PKey::private_key_from_pem(&key)?,
            });
        }
        let authority = Self::generate()?;
        // The certificate last: clients look for it, and the pair only counts when both are there.
        data.write(CA_KEY, &authority.key.private_key_to_pem_pkcs8()?)?;
        data.write(CA_CERTIFICATE, &authority.certificate.to_pem()?)?;
        Ok(authority)
    }

    fn generate() -> Result<Self, ErrorStack> {
        let key = p256_key()?;
        let name = common_name("managed-hsm-emulator CA (not an HSM)")?;
        let mut builder = certificate(&name, &name, &key, CA_DAYS)?;
        builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
        builder.append_extension(
            KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()?,
        )?;
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(identifier)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self {
            certificate: builder.build(),
            key,
        })
    }

    /// The certificate of a key that signs attestations.
    fn vouch(&self, key: &PKeyRef<Private>, names: &[String]) -> Result<X509, Error> {
        let subject = common_name("managed-hsm-emulator attestation (not an HSM)")?;
        let issuer = self.certificate.subject_name();
        let mut builder = certificate(&subject, issuer, key, SERVER_DAYS)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        let usage = ExtendedKeyUsage::new()
            .server_auth()
            .client_auth()
            .build()?;
        builder.append_extension(usage)?;
        self.identify(&mut builder, &alternative_names(names)?)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(builder.build())
    }

    /// Adds the names of a certificate, and which keys are its own and its issuer's.
    fn identify(
        &self,
        builder: &mut X509Builder,
        names: &SubjectAlternativeName,
    ) -> Result<(), ErrorStack> {
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let subject_key = SubjectKeyIdentifier::new().build(&context)?;
        let issuer_key = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        let names = names.build(&context)?;
        for extension in [subject_key, issuer_key, names] {
            builder.append_extension(extension)?;
        }
        Ok(())
    }

    fn server_config(
        &self,
        names: &[String],
        http1_only: bool,
        shown: Shown,
    ) -> Result<Arc<rustls::ServerConfig>, Error> {
        let other = match shown {
            Shown::OtherAuthority => Some(Self::generate()?),
            Shown::Renewed | Shown::Expired | Shown::OtherHost => None,
        };
        let issuer = other.as_ref().unwrap_or(self);
        let (certificate, key) = issuer.issue(names, shown)?;
        let chain = vec![
            CertificateDer::from(certificate.to_der()?),
            CertificateDer::from(issuer.certificate.to_der()?),
        ];
        let key = PrivateKeyDer::Pkcs8(key.private_key_to_pkcs8()?.into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if !http1_only {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Arc::new(config))
    }

    fn issue(&self, extra_names: &[String], shown: Shown) -> Result<(X509, PKey<Private>), Error> {
        let key = p256_key()?;
        let subject = common_name("managed-hsm-emulator")?;
        let mut builder =
            certificate(&subject, self.certificate.subject_name(), &key, SERVER_DAYS)?;
        if shown == Shown::Expired {
            let end = Asn1Time::from_unix(crate::clock::unix_seconds() - 60)?;
            builder.set_not_after(end.as_ref())?;
        }
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
        let names = match shown {
            Shown::OtherHost => {
                let mut other = SubjectAlternativeName::new();
                other.dns("other-host.invalid");
                other
            }
            _ => alternative_names(extra_names)?,
        };
        self.identify(&mut builder, &names)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok((builder.build(), key))
    }
}

fn p256_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_text("CN", name)?;
    Ok(builder.build())
}

fn certificate(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKeyRef<Private>,
    days: u32,
) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    // An hour back, for clients in containers and virtual machines whose clocks lag.
    let start = Asn1Time::from_unix(crate::clock::unix_seconds() - 3600)?;
    builder.set_not_before(start.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(days)?.as_ref())?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn alternative_names(extra: &[String]) -> Result<SubjectAlternativeName, Error> {
    let mut names = SubjectAlternativeName::new();
    let loopback = LOOPBACK.into_iter().map(str::to_owned);
    let all = loopback.chain(wildcards()).chain(extra.iter().cloned());
    for name in all {
        if name.parse::<IpAddr>().is_ok() {
            names.ip(&name);
        } else if is_dns_name(&name) {
            names.dns(&name);
        } else {
            return Err(Error::ServerName(name));
        }
    }
    Ok(names)
}

/// Also what keeps a name from being read by OpenSSL as configuration syntax.
fn is_dns_name(name: &str) -> bool {
    let labels = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= 253
        && labels.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_survives_a_restart_and_its_server_certificate_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let first = Authority::open(&data).unwrap();
        let again = Authority::open(&data).unwrap();
        assert_eq!(
            first.certificate.to_der().unwrap(),
            again.certificate.to_der().unwrap()
        );
        let (certificate, _) = again
            .issue(&["hsm.example".to_owned()], Shown::Renewed)
            .unwrap();
        assert!(
            certificate
                .verify(&again.certificate.public_key().unwrap())
                .unwrap()
        );
        let names = certificate.subject_alt_names().unwrap();
        assert!(
            names
                .iter()
                .any(|name| name.dnsname() == Some("hsm.example"))
        );
        assert!(
            names
                .iter()
                .any(|name| name.ipaddress() == Some(&[127, 0, 0, 1]))
        );
    }

    #[test]
    fn names_that_no_certificate_can_carry_are_refused() {
        for name in ["", "a b", "x,DNS:evil", "-a.example", "a..b", "a/b"] {
            assert!(matches!(
                alternative_names(&[name.to_owned()]),
                Err(Error::ServerName(_))
            ));
        }
    }
}
