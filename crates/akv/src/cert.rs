//! `akv cert`: certificates and requests for them. They are made here; the HSM only signs.

mod authority;
mod input;
mod names;
mod uri;

use std::time::Duration;

use clap::{Args, Subcommand};
use der::asn1::BitString;
use der::pem::LineEnding;
use der::{Decode, Document, EncodePem};
use hsm_keys::{Check, Key, Scheme};
use managed_hsm::{Client, KeyId, KeyUri, SignatureAlgorithm};
use serde_json::{Value, json};
use signature::Keypair;
use x509_cert::TbsCertificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::request::RequestBuilder;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef,
};
use x509_cert::time::Validity;

use self::names::{alternative_name, distinguished_name};
use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::Session;
use crate::signing::{digest, hasher, scheme, signature_algorithm};

/// Of what names nobody.
const NAMELESS: &str =
    "it would name nobody: give --subject CN=www.example.com or --san DNS:www.example.com";

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv cert csr managedhsm:MyHSM:web --subject CN=www.example.com \\
      --san DNS:www.example.com --out web.csr
  akv cert sign managedhsm:MyHSM:ca web.csr --ca ca.pem --out web.pem")]
pub(crate) enum Cert {
    /// Make a self-signed certificate
    SelfSigned(SelfSigned),
    /// Make a certificate request (PKCS#10) for a CA
    Csr(Csr),
    /// Be a CA: make a certificate for a request
    Sign(authority::Sign),
    /// Be a CA: make a list of revoked certificates
    Crl(authority::Crl),
}

/// What certificates and requests have in common.
#[derive(Args)]
struct Common {
    /// The key
    uri: KeyUri,
    /// Distinguished name: CN=www.example.com,O=Example or /O=Example/CN=www.example.com
    #[arg(long, value_name = "NAME", value_parser = distinguished_name)]
    subject: Name,
    /// A further name of the subject: DNS:www.example.com, IP:192.0.2.1, email:... or URI:...; may
    /// be repeated
    #[arg(long = "san", value_name = "NAME", value_parser = alternative_name)]
    names: Vec<GeneralName>,
    /// RS256, RS384, RS512, or ES256 and so on as the curve has it [default: RS256, or what belongs
    /// to the curve]
    #[arg(long, value_name = "NAME", value_parser = signature_algorithm)]
    algorithm: Option<SignatureAlgorithm>,
    #[command(flatten)]
    out: Out,
}

#[derive(Args)]
#[command(after_help = "Example:
  akv cert self-signed managedhsm:MyHSM:web --subject CN=localhost \\
      --san DNS:localhost --days 30 --out web.pem")]
pub(crate) struct SelfSigned {
    #[command(flatten)]
    common: Common,
    /// For how many days it is valid from now on
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// It is a CA's: it may sign other certificates
    #[arg(long)]
    ca: bool,
}

#[derive(Args)]
#[command(after_help = "Example:
  akv cert csr managedhsm:MyHSM:web \\
      --subject CN=www.example.com,O=Example --san DNS:www.example.com \\
      --out web.csr")]
pub(crate) struct Csr {
    #[command(flatten)]
    common: Common,
}

impl Cert {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        match self {
            Self::SelfSigned(command) => command.run(),
            Self::Csr(command) => command.run(),
            Self::Sign(command) => command.run(),
            Self::Crl(command) => command.run(),
        }
    }
}

impl SelfSigned {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("making the certificate");
        if self.common.subject.is_empty() {
            return Err(Failure::usage(
                "a certificate needs the name of who has signed it: --subject CN=www.example.com",
            ));
        }
        let signer = self.common.signer()?;
        let validity = Duration::from_secs(u64::from(self.days) * 86_400);
        let mut builder = CertificateBuilder::new(
            Plain {
                issuer: self.common.subject.clone(),
                subject: self.common.subject.clone(),
            },
            serial_number()?,
            Validity::from_now(validity).map_err(|error| malformed(&error))?,
            signer.public.clone(),
        )
        .map_err(|error| malformed(&error))?;
        let usages = match self.ca {
            true => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            false => KeyUsages::DigitalSignature.into(),
        };
        let identifier = SubjectKeyIdentifier::try_from(
            SubjectPublicKeyInfoRef::try_from(signer.der.as_bytes())
                .map_err(|error| malformed(&error))?,
        )
        .map_err(|error| malformed(&error))?;
        // RFC 5280, 4.2.1.1: only a CA's own certificate may be without it.
        let issuer = AuthorityKeyIdentifier {
            key_identifier: Some(identifier.0.clone()),
            ..AuthorityKeyIdentifier::default()
        };
        let constraints = BasicConstraints {
            ca: self.ca,
            path_len_constraint: None,
        };
        builder
            .add_extension(&constraints)
            .and_then(|()| builder.add_extension(&KeyUsage(usages)))
            .and_then(|()| builder.add_extension(&identifier))
            .and_then(|()| builder.add_extension(&issuer))
            .map_err(|error| malformed(&error))?;
        if !self.common.names.is_empty() {
            builder
                .add_extension(&SubjectAltName(self.common.names.clone()))
                .map_err(|error| malformed(&error))?;
        }
        self.common.deliver(&signer, signer.sign(builder)?)
    }
}

impl Csr {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("making the request");
        if self.common.subject.is_empty() && self.common.names.is_empty() {
            return Err(Failure::usage(NAMELESS));
        }
        let signer = self.common.signer()?;
        let subject = self.common.subject.clone();
        let mut builder = RequestBuilder::new(subject).map_err(|error| malformed(&error))?;
        if !self.common.names.is_empty() {
            builder
                .add_extension(&SubjectAltName(self.common.names.clone()))
                .map_err(|error| malformed(&error))?;
        }
        self.common.deliver(&signer, signer.sign(builder)?)
    }
}

/// A random one.
fn serial_number() -> Result<SerialNumber, Failure> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| malformed(&"no random bytes"))?;
    // Positive, and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::new(&serial).map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::fmt::Display) -> Failure {
    Failure::told(format!("it can't be made: {error}"))
}

impl Common {
    fn signer(&self) -> Result<Signer, Failure> {
        Signer::of(&self.uri, self.algorithm)
    }

    fn deliver(&self, signer: &Signer, made: impl EncodePem) -> Result<Report, Failure> {
        signer.deliver(made, &self.subject, &self.out, json!({}))
    }
}

/// A certificate whose extensions were all added already.
struct Plain {
    issuer: Name,
    subject: Name,
}

impl BuilderProfile for Plain {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(Vec::new())
    }
}

/// A key of the HSM, in the form that builders of certificates want.
struct Signer {
    client: std::sync::Arc<Client>,
    id: KeyId,
    key: Key,
    algorithm: SignatureAlgorithm,
    scheme: Scheme,
    identifier: AlgorithmIdentifierOwned,
    public: SubjectPublicKeyInfoOwned,
    der: Document,
}

impl Signer {
    /// The key as a signer. Nothing is signed yet.
    fn of(uri: &KeyUri, algorithm: Option<SignatureAlgorithm>) -> Result<Self, Failure> {
        let session = Session::start()?;
        let key = session.client.get_key(uri)?;
        let (id, key) = (key.id.clone(), Key::from(key));
        let unfit = || {
            let kind = key.public.kind();
            Failure::told(format!("{id} can't sign a certificate: its type is {kind}"))
        };
        let algorithm = algorithm.or_else(|| key.public.usual_signature());
        let algorithm = algorithm.ok_or_else(unfit)?;
        let spki = key.public.spki().ok_or_else(unfit)?;
        let scheme = scheme(&id, &key.public, algorithm)?;
        let identifier = match scheme {
            Scheme::Ecdsa { .. } | Scheme::Pkcs1 { .. } | Scheme::MlDsa(_) => {
                scheme.algorithm_identifier()
            }
            Scheme::Pss { .. } | Scheme::Bare => None,
        };
        let identifier = identifier.ok_or_else(|| {
            Failure::told(format!(
                "{algorithm} is not for certificates of akv: take RS256"
            ))
        })?;
        Ok(Self {
            client: session.client,
            id,
            key,
            algorithm,
            scheme,
            identifier: Decode::from_der(&identifier).map_err(|error| malformed(&error))?,
            public: Decode::from_der(&spki).map_err(|error| malformed(&error))?,
            der: Document::try_from(spki).map_err(|error| malformed(&error))?,
        })
    }

    /// Hands out what it has signed. `about`: what is told of it besides.
    fn deliver(
        &self,
        made: impl EncodePem,
        subject: &Name,
        out: &Out,
        mut about: Value,
    ) -> Result<Report, Failure> {
        let pem = made
            .to_pem(LineEnding::LF)
            .map_err(|error| malformed(&error))?;
        about["key"] = self.id.to_string().into();
        about["algorithm"] = self.algorithm.jwa_name().into();
        about["subject"] = subject.to_string().into();
        files::deliver_text(pem, "pem", out, about)
    }

    fn sign<B: Builder>(&self, mut builder: B) -> Result<B::Output, Failure> {
        let message = builder.finalize(self).map_err(|error| malformed(&error))?;
        let (client, scheme) = (&self.client, &self.scheme);
        let hasher = hasher(scheme, &self.key.public, None)?;
        let digest = digest(hasher, &mut message.as_slice())?;
        let signature = hsm_keys::sign(client, &self.key, scheme, &digest, Check::Signature)?;
        let signature =
            BitString::from_bytes(&signature.into_der()).map_err(|error| malformed(&error))?;
        builder
            .assemble(signature, self)
            .map_err(|error| malformed(&error))
    }
}

#[derive(Clone)]
struct PublicDer(Document);

impl EncodePublicKey for PublicDer {
    fn to_public_key_der(&self) -> x509_cert::spki::Result<Document> {
        Ok(self.0.clone())
    }
}

impl Keypair for Signer {
    type VerifyingKey = PublicDer;

    fn verifying_key(&self) -> PublicDer {
        PublicDer(self.der.clone())
    }
}

impl DynSignatureAlgorithmIdentifier for Signer {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(self.identifier.clone())
    }
}
