//! Certificates and requests from files, and the check of who asks.

use std::path::Path;

use der::oid::AssociatedOid;
use der::{Decode, DecodeOwned, Encode};
use hsm_keys::{PublicKey, Scheme, pem};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};

use super::names::{check_alternative, check_distinguished};
use crate::failure::Failure;
use crate::files;
use crate::output::one_line;
use crate::signing::{digest, hasher, signature_algorithms};

/// What files hold, with the names that PEM has for it.
struct Kind {
    what: &'static str,
    labels: &'static [&'static str],
}

const CERTIFICATE: Kind = Kind {
    what: "certificate",
    labels: &["CERTIFICATE", "X509 CERTIFICATE"],
};
const REQUEST: Kind = Kind {
    what: "certificate request",
    // The second is what Microsoft's and older programs write.
    labels: &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"],
};

/// All certificates of a file.
pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    read(path, &CERTIFICATE)
}

/// The one request of a file.
pub(super) fn request(path: &Path) -> Result<CertReq, Failure> {
    let mut requests: Vec<CertReq> = read(path, &REQUEST)?;
    match (requests.pop(), requests.len()) {
        (Some(request), 0) => Ok(request),
        (_, others) => Err(Failure::told(format!(
            "{} holds {} certificate requests: leave one in it",
            path.display(),
            others + 1
        ))),
    }
}

/// What a file holds in DER, or in blocks of PEM with whatever stands around them.
fn read<T: DecodeOwned>(path: &Path, kind: &Kind) -> Result<Vec<T>, Failure>
where
    for<'a> <T as Decode<'a>>::Error: std::fmt::Display,
{
    let contents = files::read_text(path)?;
    if let Ok(one) = T::from_der(&contents) {
        return Ok(vec![one]);
    }
    let unfit = |problem: &str| {
        let (path, what) = (path.display(), kind.what);
        Failure::told(format!("{path} holds no {what}: {}", one_line(problem)))
    };
    let mut found = Vec::new();
    for label in kind.labels {
        let lines = contents.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        let mut lines = lines.peekable();
        while lines.peek().is_some() {
            let block = pem::read(label, contents.len(), || lines.next()).map_err(unfit)?;
            let Some(der) = block else { continue };
            found.push(T::from_der(&der).map_err(|error| unfit(&error.to_string()))?);
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(unfit(&format!(
            "it is not DER, and has no line '-----BEGIN {}-----'",
            kind.labels[0]
        ))),
    }
}

/// Why a request is not signed.
fn refused(problem: impl std::fmt::Display) -> Failure {
    let problem = problem.to_string();
    Failure::told(format!("the request is refused: {}", one_line(&problem)))
}

/// Checks that who asks for the certificate has the key.
pub(super) fn check_possession(request: &CertReq) -> Result<(), Failure> {
    let der = |error: der::Error| refused(format!("it can't be read: {error}"));
    let spki = request.info.public_key.to_der().map_err(der)?;
    let signed_by = request.algorithm.to_der().map_err(der)?;
    let message = request.info.to_der().map_err(der)?;
    let signature = request.signature.raw_bytes();
    let public = PublicKey::from_spki(&spki)
        .map_err(|problem| refused(format!("the key that it asks for is unfit: {problem}")))?;
    let mut schemes = signature_algorithms().map(Scheme::of);
    let scheme = schemes.find(|scheme| scheme.algorithm_identifier() == Some(signed_by.clone()));
    let is_valid = match (public, scheme) {
        (Some(public), Some(scheme)) => {
            let digest = digest(hasher(&scheme, &public, None)?, &mut message.as_slice())?;
            hsm_keys::verify(&public, &scheme, &digest, signature).map_err(refused)?
        }
        _ => verify_foreign(request, &message, signature)?,
    };
    match is_valid {
        true => Ok(()),
        false => Err(refused(
            "its signature is not that of the key that it asks for",
        )),
    }
}

/// The same for keys that the HSM doesn't have, such as those of Ed25519.
fn verify_foreign(request: &CertReq, message: &[u8], signature: &[u8]) -> Result<bool, Failure> {
    // Without the outer tag and length, as these algorithms have them.
    let contents = |der: Vec<u8>| der::Any::from_der(&der).map(|any| any.value().to_vec());
    let der = |error: der::Error| refused(format!("it can't be read: {error}"));
    let (key, signed_by) = (&request.info.public_key, &request.algorithm);
    let key_id = contents(key.algorithm.to_der().map_err(der)?).map_err(der)?;
    let signature_id = contents(signed_by.to_der().map_err(der)?).map_err(der)?;
    let known = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let mut fitting = known.all.iter().filter(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key_id
            && algorithm.signature_alg_id().as_ref() == signature_id
    });
    let public = key.subject_public_key.raw_bytes();
    match fitting.clone().next() {
        Some(_) => Ok(fitting.any(|one| one.verify_signature(public, message, signature).is_ok())),
        None => Err(refused(format!(
            "its key (of the type {}) or its signature ({}) is of a kind that akv does not check",
            key.algorithm.oid, signed_by.oid
        ))),
    }
}

/// The alternative names that a request has.
pub(super) fn requested_names(request: &CertReq) -> Result<Vec<GeneralName>, Failure> {
    let unread = |error: der::Error| refused(format!("its subjectAltName can't be read: {error}"));
    let mut names = Vec::new();
    let attributes = request.info.attributes.iter();
    for attribute in attributes.filter(|attribute| attribute.oid == ExtensionReq::OID) {
        for value in attribute.values.iter() {
            let extensions: ExtensionReq = value.decode_as().map_err(unread)?;
            let alternatives = extensions.0.into_iter();
            for one in alternatives.filter(|one| one.extn_id == SubjectAltName::OID) {
                let found = SubjectAltName::from_der(one.extn_value.as_bytes()).map_err(unread)?;
                if found.0.is_empty() {
                    return Err(refused("its subjectAltName is there, and has no name"));
                }
                names.extend(found.0);
            }
        }
    }
    for name in &names {
        check_alternative(name).map_err(|problem| {
            refused(format!(
                "{problem} (subjectAltName): give the names to sign with --san"
            ))
        })?;
    }
    Ok(names)
}

/// The subject that a request has.
pub(super) fn requested_subject(request: &CertReq) -> Result<x509_cert::name::Name, Failure> {
    let subject = request.info.subject.clone();
    check_distinguished(&subject).map_err(|problem| {
        refused(format!(
            "{problem} (subject): give the one to sign with --subject"
        ))
    })?;
    Ok(subject)
}
