//! TLS: whom to trust, and which versions and key exchanges to take.

use std::path::Path;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use rustls::RootCertStore;
#[cfg(target_os = "linux")]
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, NamedGroup, ProtocolVersion, SupportedProtocolVersion};
use rustls_platform_verifier::Verifier;

#[cfg(target_os = "linux")]
use crate::environment;
use crate::error::Error;
use crate::files::{self, shown_path};
use crate::pem;
use crate::settings::client::Settings;
use crate::settings::front_end::FrontEnd;

impl Settings {
    /// TLS as every request has it: the versions, key exchanges and CAs that these settings allow.
    ///
    /// That is TLS 1.2 or 1.3 and HTTP/1.1, with certificates checked against the system's trust
    /// store and the CA file. The hybrid key exchange X25519MLKEM768 is offered first; if it is
    /// required, nothing else is offered, and so no TLS 1.2.
    ///
    /// # Errors
    /// [`Error::Settings`] if the CA file can't be used, [`Error::Tls`] if this machine trusts no
    /// CA.
    pub fn tls(&self) -> Result<ClientConfig, Error> {
        let unusable = |error: rustls::Error| Error::Tls(error.to_string());
        let required = self.require_post_quantum;
        let provider = Arc::new(CryptoProvider {
            kx_groups: groups(required),
            ..aws_lc_rs::default_provider()
        });
        let authorities = Authorities {
            file: self.ca_file.as_deref(),
            front_end: &self.front_end,
        };
        let verifier = authorities.verifier(Arc::clone(&provider))?;
        let versions: &[&SupportedProtocolVersion] = match required {
            true => &[&rustls::version::TLS13],
            false => &[&rustls::version::TLS13, &rustls::version::TLS12],
        };
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }
}

/// Where the CA certificates of Debian, Fedora, SUSE and Alpine are.
#[cfg(target_os = "linux")]
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The CAs that are trusted: the system's, and those of a file.
struct Authorities<'a> {
    file: Option<&'a Path>,
    /// Where else than in the environment the file may be named.
    front_end: &'a FrontEnd,
}

impl Authorities<'_> {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        #[cfg(target_os = "linux")]
        if !environment::is_trusted() {
            return self.unmoved_verifier(provider);
        }
        #[cfg(target_os = "linux")]
        check_moved()?;
        let verifier = match self.file {
            None => Verifier::new(provider).map_err(|error| self.none_found(&error)),
            Some(path) => Verifier::new_with_extra_roots(self.certificates(path)?, provider)
                .map_err(|error| self.unusable_certificate(path, &error)),
        };
        Ok(Arc::new(verifier?))
    }

    /// The same with the system's certificates where the system has them, and not where
    /// SSL_CERT_FILE and SSL_CERT_DIR say.
    #[cfg(target_os = "linux")]
    fn unmoved_verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        let mut bundles = BUNDLES.iter().map(Path::new);
        if let Some(found) = bundles.find_map(|bundle| self.certificates(bundle).ok()) {
            roots.add_parsable_certificates(found);
        }
        if let Some(path) = self.file {
            for certificate in self.certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| self.unusable_certificate(path, &error))?;
            }
        }
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(built.map_err(|error| self.none_found(&error))?)
    }

    fn none_found(&self, error: &dyn std::error::Error) -> Error {
        Error::Tls(format!(
            "no CA certificate can be read on this machine ({error}): install the package ca-certificates, or set \
             AKV_CA_FILE ({}) to a PEM file of CA certificates",
            self.front_end.in_file("ca-file")
        ))
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
        let text = files::read_text(path).map_err(|problem| self.unusable(path, &problem))?;
        let certificates = pem::certificates(&text).map_err(|problem| {
            self.unusable(
                path,
                &format!("is not a PEM file of certificates: {problem}"),
            )
        })?;
        match certificates.is_empty() {
            false => Ok(certificates),
            true => Err(self.unusable(path, "holds no PEM certificate")),
        }
    }

    fn unusable_certificate(&self, path: &Path, error: &dyn std::error::Error) -> Error {
        let problem = format!("holds a certificate that can't be used: {error}");
        self.unusable(path, &problem)
    }

    fn unusable(&self, path: &Path, problem: &str) -> Error {
        Error::Settings {
            origin: format!("AKV_CA_FILE (or {})", self.front_end.in_file("ca-file")),
            problem: format!("'{}' {problem}", shown_path(path)),
        }
    }
}

/// Whether the files can be read that variables name in the place of the system's certificates:
/// whoever reads them takes what they are given, and waits for it. One that is missing counts for
/// nothing.
#[cfg(target_os = "linux")]
fn check_moved() -> Result<(), Error> {
    let check = |variable: &str, path: &Path| {
        files::check_if_there(path).map_err(|problem| Error::Settings {
            origin: variable.to_owned(),
            problem: format!("'{}' {problem}", shown_path(path)),
        })
    };
    if let Some(file) = environment::variable("SSL_CERT_FILE") {
        check("SSL_CERT_FILE", Path::new(&file))?;
    }
    let folders = environment::variable("SSL_CERT_DIR").unwrap_or_default();
    for folder in std::env::split_paths(&folders) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        // Others than those that `openssl rehash` names are passed over.
        let is_read = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str());
            end.is_some_and(|end| end.bytes().all(|byte| byte.is_ascii_digit()))
        };
        for path in entries.map(|entry| entry.path()).filter(is_read) {
            check("SSL_CERT_DIR", &path)?;
        }
    }
    Ok(())
}

/// The groups of the default provider in its order, each telling the log when it was agreed on.
fn groups(post_quantum_only: bool) -> Vec<&'static dyn SupportedKxGroup> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    static LOGGED: [Logged; 4] = [
        Logged(X25519MLKEM768),
        Logged(X25519),
        Logged(SECP256R1),
        Logged(SECP384R1),
    ];
    let offered = if post_quantum_only { 1 } else { LOGGED.len() };
    let groups = LOGGED[..offered].iter();
    groups
        .map(|group| group as &'static dyn SupportedKxGroup)
        .collect()
}

/// A group that says in the log that it was agreed on. Nothing else shows it through the HTTP
/// client.
#[derive(Debug)]
struct Logged(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for Logged {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Started(self.0.start()?)))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        self.0.ffdhe_group()
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.0.usable_for_version(version)
    }
}

struct Started(Box<dyn ActiveKeyExchange>);

impl Started {
    fn log(&self, version: &str, group: NamedGroup) {
        log::debug!("agreed on {version} with key exchange {group:?}");
    }
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, rustls::Error> {
        self.log("TLS 1.3", self.0.group());
        self.0.complete(peer)
    }

    fn complete_for_tls_version(
        self: Box<Self>,
        peer: &[u8],
        tls: &SupportedProtocolVersion,
    ) -> Result<SharedSecret, rustls::Error> {
        let version = match tls.version {
            ProtocolVersion::TLSv1_3 => "TLS 1.3",
            _ => "TLS 1.2",
        };
        self.log(version, self.0.group());
        self.0.complete_for_tls_version(peer, tls)
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        self.0.hybrid_component()
    }

    fn complete_hybrid_component(
        self: Box<Self>,
        peer: &[u8],
    ) -> Result<SharedSecret, rustls::Error> {
        if let Some((group, _)) = self.0.hybrid_component() {
            self.log("TLS 1.3", group);
        }
        self.0.complete_hybrid_component(peer)
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        self.0.ffdhe_group()
    }

    fn group(&self) -> NamedGroup {
        self.0.group()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::front_end::Spelling;

    #[test]
    fn a_ca_file_that_is_no_use_is_an_error_that_names_the_variable() {
        let folder = std::env::temp_dir().join(format!("managed-hsm-ca-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let cases = [
            ("missing", None, "can't be read"),
            ("empty", Some(""), "holds no PEM certificate"),
            ("broken", Some(broken), "is not a PEM file"),
            ("not-x509", Some(no_certificate), "can't be used"),
        ];
        for (name, content, expected) in cases {
            let path = folder.join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let settings = Settings {
                ca_file: Some(path),
                front_end: FrontEnd::new("program/1", "program.conf", Spelling::CamelCase),
                ..Settings::default()
            };
            let message = settings.tls().unwrap_err().to_string();
            assert!(
                message.contains("AKV_CA_FILE (or 'caFile' in program.conf)")
                    && message.contains(expected),
                "{name}: {message}"
            );
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_groups_are_those_of_the_library_and_in_its_order() {
        let names = |groups: &[&'static dyn SupportedKxGroup]| -> Vec<NamedGroup> {
            groups.iter().map(|group| group.name()).collect()
        };
        let library = names(&aws_lc_rs::default_provider().kx_groups);
        assert_eq!(library, names(&groups(false)));
        assert_eq!(names(&groups(true)), [NamedGroup::X25519MLKEM768]);
    }
}
