//! `akv cert sign` and `akv cert crl`: a CA whose key is in the HSM.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use der::Encode;
use der::asn1::{BitString, Ia5String, ObjectIdentifier, UtcTime};
use der::referenced::OwnedToRef;
use managed_hsm::{KeyUri, SignatureAlgorithm};
use serde_json::json;
use signature::Keypair;
use x509_cert::Certificate;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::certificate::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, CrlNumber, CrlReason,
    ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    DynSignatureAlgorithmIdentifier, EncodePublicKey, SubjectPublicKeyInfoOwned,
};
use x509_cert::time::{Time, Validity};

use super::input::{certificates, check_possession, request, requested_names, requested_subject};
use super::names::{alternative_name, distinguished_name, location};
use super::{NAMELESS, Plain, Signer, malformed, serial_number};
use crate::failure::Failure;
use crate::files::Out;
use crate::output::{Report, one_line, time};
use crate::progress::Spinner;
use crate::signing::{digits, hexadecimal, signature_algorithm};

#[derive(Args)]
#[command(after_help = "Examples:
  akv cert sign managedhsm:MyHSM:ca web.csr --ca ca.pem --profile server \\
      --days 90 --out web.pem
  akv cert sign managedhsm:MyHSM:ca sub.csr --ca ca.pem --profile ca \\
      --path-length 0 --out sub.pem
  akv cert sign managedhsm:MyHSM:ca web.csr --ca ca.pem \\
      --san DNS:www.example.com --crl http://ca.example/ca.crl")]
pub(crate) struct Sign {
    #[command(flatten)]
    authority: Authority,
    /// File with the request (PKCS#10), PEM or DER; - is standard input. Only its name, its key and
    /// its alternative names are taken, and its signature is checked
    request: PathBuf,
    /// What the certificate is for
    #[arg(long, value_enum, ignore_case = true, default_value = "server")]
    profile: Profile,
    /// A further purpose, by its object identifier; may be repeated
    #[arg(long = "eku", value_name = "OID", value_parser = purpose)]
    purposes: Vec<ObjectIdentifier>,
    /// Distinguished name [default: that of the request]
    #[arg(long, value_name = "NAME", value_parser = distinguished_name)]
    subject: Option<Name>,
    /// Alternative names instead of those of the request; may be repeated
    #[arg(long = "san", value_name = "NAME", value_parser = alternative_name)]
    names: Vec<GeneralName>,
    /// For how many days it is valid from now on
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// How many CAs may stand below this one, of the profile ca
    #[arg(long, value_name = "N")]
    path_length: Option<u8>,
    /// Where the list of revoked certificates is to be found
    #[arg(long, value_name = "URL", value_parser = location)]
    crl: Option<Ia5String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv cert crl managedhsm:MyHSM:ca --ca ca.pem --out ca.crl
  akv cert crl managedhsm:MyHSM:ca --ca ca.pem \\
      --revoked 5A01:keyCompromise:2026-11-01 --days 7 --out ca.crl")]
pub(crate) struct Crl {
    #[command(flatten)]
    authority: Authority,
    /// A certificate that is revoked: <serial>[:<reason>[:<time>]], as OpenSSL shows serial
    /// numbers; all that are not expired belong into each list. The time is now unless it is given
    #[arg(long, value_name = "CERTIFICATE", value_parser = revoked)]
    revoked: Vec<Revoked>,
    /// The number of this list, larger than the one before [default: seconds since 1970]
    #[arg(long, value_name = "N")]
    number: Option<u64>,
    /// In how many days the next one comes
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// The CA.
#[derive(Args)]
struct Authority {
    /// The CA's key
    uri: KeyUri,
    /// File with the CA's certificate, PEM or DER; of a chain, the one for the CA's key is taken
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// RS256, RS384, RS512, or ES256 and so on as the curve has it [default: RS256, or what belongs
    /// to the curve]
    #[arg(long, value_name = "NAME", value_parser = signature_algorithm)]
    algorithm: Option<SignatureAlgorithm>,
    #[command(flatten)]
    out: Out,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// A TLS server
    Server,
    /// A TLS client
    Client,
    /// Both
    Peer,
    /// Programs are signed with it
    CodeSigning,
    /// Mail is signed with it
    Email,
    /// Another CA
    Ca,
}

#[derive(Clone, Debug)]
struct Revoked {
    serial: SerialNumber,
    reason: CrlReason,
    at: SystemTime,
}

/// Reasons of RFC 5280, section 5.3.1, that a list may have.
const REASONS: [(&str, CrlReason); 7] = [
    ("unspecified", CrlReason::Unspecified),
    ("keyCompromise", CrlReason::KeyCompromise),
    ("CACompromise", CrlReason::CaCompromise),
    ("affiliationChanged", CrlReason::AffiliationChanged),
    ("superseded", CrlReason::Superseded),
    ("cessationOfOperation", CrlReason::CessationOfOperation),
    ("certificateHold", CrlReason::CertificateHold),
];

/// A serial number as a certificate has it (RFC 5280, section 4.1.2.2).
fn revoked_serial(text: &str) -> Result<SerialNumber, String> {
    let padded = match text.len() % 2 {
        0 => text.to_owned(),
        _ => format!("0{text}"),
    };
    if text.starts_with('-') {
        return Err("a serial number is positive".to_owned());
    }
    let bytes = hexadecimal(&padded).map(|bytes| bytes.0);
    let bytes = bytes.ok().filter(|bytes| !bytes.is_empty());
    let bytes = bytes.ok_or("give a serial number in hexadecimal digits, such as 5A01")?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Err("a serial number is positive, and not 0".to_owned());
    }
    SerialNumber::new(&bytes)
        .map_err(|_| "a serial number has 20 octets at most, with the bit for its sign".to_owned())
}

fn revoked(text: &str) -> Result<Revoked, String> {
    let mut parts = text.splitn(3, ':');
    let serial = revoked_serial(parts.next().unwrap_or_default())?;
    let reason = match parts.next() {
        None => CrlReason::Unspecified,
        Some(name) => {
            let mut all = REASONS.iter();
            let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
            let names = REASONS.map(|(name, _)| name).join(", ");
            found
                .ok_or_else(|| {
                    format!("the reason is one of {names}; a serial number has no colons in it")
                })?
                .1
        }
    };
    let at = parts.next().map(crate::keys::point_in_time).transpose()?;
    Ok(Revoked {
        serial,
        reason,
        at: at.unwrap_or_else(SystemTime::now),
    })
}

fn purpose(text: &str) -> Result<ObjectIdentifier, String> {
    text.parse()
        .map_err(|_| "give an object identifier, such as 1.3.6.1.5.5.7.3.9".to_owned())
}

/// A time as certificates have it until 2049, and after.
fn x509_time(at: SystemTime) -> Result<Time, Failure> {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = Duration::from_secs(since.as_secs());
    match UtcTime::from_unix_duration(whole) {
        Ok(time) => Ok(time.into()),
        Err(_) => Time::try_from(UNIX_EPOCH + whole).map_err(|error| malformed(&error)),
    }
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 86_400)
}

impl Profile {
    /// What it is for, by object identifiers of RFC 5280, section 4.2.1.12.
    fn purposes(self) -> Vec<ObjectIdentifier> {
        let of = |last: u8| ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3").push_arc(last.into());
        let all: &[u8] = match self {
            Self::Server => &[1],
            Self::Client => &[2],
            Self::Peer => &[1, 2],
            Self::CodeSigning => &[3],
            Self::Email => &[4],
            Self::Ca => &[],
        };
        all.iter().filter_map(|last| of(*last).ok()).collect()
    }

    fn usages(self, key: &SubjectPublicKeyInfoOwned) -> KeyUsage {
        let is_rsa = key.algorithm.oid == ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
        KeyUsage(match self {
            Self::Ca => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            Self::Server | Self::Peer | Self::Email if is_rsa => {
                KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment
            }
            _ => KeyUsages::DigitalSignature.into(),
        })
    }
}

impl Authority {
    /// The CA's certificate, and its key, which have to belong together.
    fn open(&self, needed: KeyUsages) -> Result<(Certificate, Signer), Failure> {
        let certificates = certificates(&self.ca)?;
        let signer = Signer::of(&self.uri, self.algorithm)?;
        let certificate = self.own(certificates, &signer)?;
        let about = certificate.tbs_certificate();
        let read = |error| self.unfit(format!("an extension of it can't be read: {error}"));
        let begin = about.validity().not_before.to_system_time();
        if begin > SystemTime::now() {
            return Err(self.unfit(format!("it counts from {} on", time(begin))));
        }
        let constraints = about.get_extension::<BasicConstraints>().map_err(read)?;
        if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(self.unfit("it is no CA's (basicConstraints)"));
        }
        if about.subject().is_empty() {
            return Err(self.unfit("it has no subject, which what it signs would name"));
        }
        let usage = about.get_extension::<KeyUsage>().map_err(read)?;
        if usage.is_some_and(|(_, usage)| !usage.0.contains(needed)) {
            let what = match needed {
                KeyUsages::CRLSign => "lists of revoked ones (cRLSign",
                _ => "certificates (keyCertSign",
            };
            return Err(self.unfit(format!("it may not sign {what} in keyUsage)")));
        }
        Ok((certificate, signer))
    }

    fn unfit(&self, problem: impl Display) -> Failure {
        Failure::told(format!(
            "{} is of no use here: {problem}",
            self.ca.display()
        ))
    }

    /// The one certificate among these that is for the CA's key.
    fn own(&self, all: Vec<Certificate>, signer: &Signer) -> Result<Certificate, Failure> {
        let subject = |one: &Certificate| one.tbs_certificate().subject().to_string();
        let subjects: Vec<String> = all.iter().map(subject).collect();
        let is_own =
            |one: &Certificate| *one.tbs_certificate().subject_public_key_info() == signer.public;
        let mut own = once_each(all.into_iter().filter(is_own).collect());
        match (own.pop(), own.len()) {
            (Some(certificate), 0) => Ok(certificate),
            (Some(_), others) => Err(self.unfit(format!(
                "{} certificates in it are for {}: leave the one that is to sign",
                others + 1,
                signer.id
            ))),
            (None, _) => Err(self.unfit(format!(
                "it is for another key than {}: {}",
                signer.id,
                one_line(&subjects.join("; "))
            ))),
        }
    }

    /// Refuses what the CA's certificate doesn't let stand below it (RFC 5280, section 4.2.1.9).
    fn check_depth(&self, ca: &Certificate, below: Option<u8>) -> Result<(), Failure> {
        let constraints = ca.tbs_certificate().get_extension::<BasicConstraints>();
        let constraints = constraints.map_err(|error| malformed(&error))?;
        let allowed = constraints.and_then(|(_, constraints)| constraints.path_len_constraint);
        match (allowed, below) {
            (Some(0), _) => Err(self.unfit("no CA may stand below it (pathlen:0)")),
            (Some(allowed), Some(below)) if below >= allowed => Err(Failure::usage(format!(
                "the CA's certificate has pathlen:{allowed}: give --path-length {} at most",
                allowed - 1
            ))),
            _ => Ok(()),
        }
    }
}

/// Refuses what would count for longer than the CA's certificate.
fn check_end(ca: &Certificate, until: SystemTime, what: &str) -> Result<(), Failure> {
    let end = ca.tbs_certificate().validity().not_after.to_system_time();
    if SystemTime::now() > end {
        let end = time(end);
        return Err(Failure::told(format!(
            "the CA's certificate has expired: it ended at {end}"
        )));
    }
    match until > end {
        false => Ok(()),
        true => Err(Failure::usage(format!(
            "the CA's certificate ends at {}, before {what}: give fewer --days",
            time(end)
        ))),
    }
}

/// Values in their order, without those that were there already.
fn once_each<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(all.len());
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

impl Sign {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("making the certificate");
        if self.path_length.is_some() && self.profile != Profile::Ca {
            return Err(Failure::usage("--path-length is for --profile ca alone"));
        }
        let request = request(&self.request)?;
        check_possession(&request)?;
        let (ca, signer) = self.authority.open(KeyUsages::KeyCertSign)?;
        if self.profile == Profile::Ca {
            self.authority.check_depth(&ca, self.path_length)?;
        }
        let until = SystemTime::now() + days(self.days);
        check_end(&ca, until, "this one would")?;
        let subject = match &self.subject {
            Some(subject) => subject.clone(),
            None => requested_subject(&request)?,
        };
        let names = match self.names.is_empty() {
            true => requested_names(&request)?,
            false => self.names.clone(),
        };
        let names = once_each(names);
        self.check_names(&subject, &names)?;
        let serial = serial_number()?;
        let profile = Plain {
            issuer: ca.tbs_certificate().subject().clone(),
            subject: subject.clone(),
        };
        let validity = Validity::from_now(days(self.days)).map_err(|error| malformed(&error))?;
        let key = request.info.public_key;
        let mut builder = CertificateBuilder::new(profile, serial.clone(), validity, key.clone())
            .map_err(|error| malformed(&error))?;
        self.extend(&mut builder, &ca, &key, names)
            .map_err(|error| malformed(&error))?;
        let about = json!({ "serial": digits(serial.as_bytes()), "until": time(until) });
        signer.deliver(signer.sign(builder)?, &subject, &self.authority.out, about)
    }

    /// Refuses a certificate that would not name whom it is for.
    fn check_names(&self, subject: &Name, names: &[GeneralName]) -> Result<(), Failure> {
        match self.profile {
            Profile::Server if names.is_empty() => Err(Failure::usage(
                "a server's certificate needs a name that clients ask for: --san DNS:www.example.com",
            )),
            Profile::Ca if subject.is_empty() => Err(Failure::usage(
                "a CA's certificate needs a subject, which what it signs will name: --subject CN=Example-CA",
            )),
            _ if subject.is_empty() && names.is_empty() => Err(Failure::usage(NAMELESS)),
            _ => Ok(()),
        }
    }

    fn extend(
        &self,
        builder: &mut CertificateBuilder<Plain>,
        ca: &Certificate,
        key: &SubjectPublicKeyInfoOwned,
        names: Vec<GeneralName>,
    ) -> builder::Result<()> {
        builder.add_extension(&BasicConstraints {
            ca: self.profile == Profile::Ca,
            path_len_constraint: self.path_length,
        })?;
        builder.add_extension(&self.profile.usages(key))?;
        let purposes = once_each([self.profile.purposes(), self.purposes.clone()].concat());
        if !purposes.is_empty() {
            builder.add_extension(&ExtendedKeyUsage(purposes))?;
        }
        builder.add_extension(&SubjectKeyIdentifier::try_from(key.owned_to_ref())?)?;
        let identifier = key_identifier(ca)?;
        builder.add_extension(&AuthorityKeyIdentifier {
            key_identifier: Some(identifier.0),
            ..AuthorityKeyIdentifier::default()
        })?;
        if !names.is_empty() {
            builder.add_extension(&SubjectAltName(names))?;
        }
        if let Some(url) = &self.crl {
            let name = GeneralName::UniformResourceIdentifier(url.clone());
            builder.add_extension(&CrlDistributionPoints(vec![DistributionPoint {
                distribution_point: Some(DistributionPointName::FullName(vec![name])),
                reasons: None,
                crl_issuer: None,
            }]))?;
        }
        Ok(())
    }
}

impl Crl {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("making the list of revoked certificates");
        self.check_serials()?;
        let (ca, signer) = self.authority.open(KeyUsages::CRLSign)?;
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let number = self.number.unwrap_or(since);
        let end = ca.tbs_certificate().validity().not_after.to_system_time();
        // On its last day a CA may have to revoke something, too.
        let next = match end < now + days(1) {
            true => end.max(now),
            false => now + days(self.days),
        };
        check_end(&ca, next, "the next list comes")?;
        let subject = ca.tbs_certificate().subject().clone();
        let entries = self.revoked.iter().map(|one| one.entry(&subject));
        let entries: Result<Vec<RevokedCert>, Failure> = entries.collect();
        let entries = entries?;
        let list = TbsCertList {
            version: Version::V2,
            // It is the signer's, who puts it in.
            signature: ca.signature_algorithm().clone(),
            issuer: subject.clone(),
            this_update: x509_time(now)?,
            next_update: Some(x509_time(next)?),
            // A list without entries has none, and no empty list of them.
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: Some(crl_extensions(&ca, number).map_err(|error| malformed(&error))?),
        };
        let about = json!({ "number": number, "next": time(next), "revoked": self.revoked.len() });
        let signed = signer.sign(RevocationList(list))?;
        signer.deliver(signed, &subject, &self.authority.out, about)
    }
}

impl Crl {
    /// Refuses a certificate that is revoked twice: which reason and time would hold?
    fn check_serials(&self) -> Result<(), Failure> {
        let mut seen = Vec::new();
        for one in &self.revoked {
            if seen.contains(&&one.serial) {
                let serial = digits(one.serial.as_bytes());
                return Err(Failure::usage(format!(
                    "--revoked names the serial number {serial} twice: give it once"
                )));
            }
            seen.push(&one.serial);
        }
        Ok(())
    }
}

/// A list of revoked certificates that is to be signed. The crate's own builder calls the CA's key
/// what the CA's certificate calls that of its issuer.
struct RevocationList(TbsCertList);

impl Builder for RevocationList {
    type Output = CertificateList;

    fn assemble<S>(self, signature: BitString, _signer: &S) -> builder::Result<CertificateList>
    where
        S: Keypair + DynSignatureAlgorithmIdentifier,
        S::VerifyingKey: EncodePublicKey,
    {
        Ok(CertificateList {
            signature_algorithm: self.0.signature.clone(),
            tbs_cert_list: self.0,
            signature,
        })
    }

    fn finalize<S>(&mut self, signer: &S) -> builder::Result<Vec<u8>>
    where
        S: Keypair + DynSignatureAlgorithmIdentifier,
        S::VerifyingKey: EncodePublicKey,
    {
        self.0.signature = signer.signature_algorithm_identifier()?;
        Ok(self.0.to_der()?)
    }
}

fn crl_extensions(ca: &Certificate, number: u64) -> der::Result<Vec<Extension>> {
    let subject = ca.tbs_certificate().subject();
    let number = CrlNumber::try_from(number)?.to_extension(subject, &[])?;
    let key = AuthorityKeyIdentifier {
        key_identifier: Some(key_identifier(ca)?.0),
        ..AuthorityKeyIdentifier::default()
    };
    Ok(vec![number, key.to_extension(subject, &[])?])
}

/// What a CA's certificate calls its key.
fn key_identifier(ca: &Certificate) -> der::Result<SubjectKeyIdentifier> {
    let about = ca.tbs_certificate();
    match about.get_extension::<SubjectKeyIdentifier>()? {
        Some((_, identifier)) => Ok(identifier),
        None => SubjectKeyIdentifier::try_from(about.subject_public_key_info().owned_to_ref()),
    }
}

impl Revoked {
    fn entry(&self, issuer: &Name) -> Result<RevokedCert, Failure> {
        let extensions: Vec<Extension> = match self.reason {
            // It is what stands for no reason.
            CrlReason::Unspecified => Vec::new(),
            reason => {
                let reason = reason.to_extension(issuer, &[]);
                vec![reason.map_err(|error| malformed(&error))?]
            }
        };
        Ok(RevokedCert {
            serial_number: self.serial.clone(),
            revocation_date: x509_time(self.at)?,
            crl_entry_extensions: (!extensions.is_empty()).then_some(extensions),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_certificate_is_named_by_its_serial_number() {
        let one = revoked("5a1").unwrap();
        assert_eq!(
            (one.serial.as_bytes(), one.reason),
            (&[5, 0xa1][..], CrlReason::Unspecified)
        );
        let one = revoked("0A01:KEYcompromise:2026-11-01T00:00:00Z").unwrap();
        assert_eq!(
            (one.serial.as_bytes(), one.reason),
            (&[10, 1][..], CrlReason::KeyCompromise)
        );
        assert_eq!(time(one.at), "2026-11-01T00:00:00Z");
        for (text, words) in [
            ("", "serial number"),
            ("x", "serial number"),
            ("0", "positive, and not 0"),
            ("0000:superseded", "positive, and not 0"),
            ("-5A01", "positive"),
            (&*"7f".repeat(21), "20 octets"),
            (&*"ff".repeat(20), "20 octets"),
            ("5a:01:22", "no colons"),
            ("5a:because", "superseded"),
            ("5a:superseded:soon", "2026-12-31"),
        ] {
            assert!(revoked(text).unwrap_err().contains(words), "{text}");
        }
    }
}
