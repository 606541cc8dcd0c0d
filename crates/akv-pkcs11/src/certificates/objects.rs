//! Certificates that programs bring, change and destroy.

use std::path::PathBuf;
use std::sync::Arc;

use cryptoki_sys::*;

use super::attributes::is_number;
use super::{CertificateObject, Kept, StoredCertificate, X509, files};
use crate::attributes::{Missing, Value, name};
use crate::configuration::Options;
use crate::error::Error;
use crate::fixed;
use crate::sessions::Session;
use crate::template::{self, Template};
use crate::token::Token;

/// Takes in a certificate: into the folder for them, or into memory for as long as the session.
pub(crate) fn create(
    session: &Session,
    template: &Template<'_>,
) -> Result<CK_OBJECT_HANDLE, Error> {
    let x509 = read(template)?;
    let label = template.bytes(CKA_LABEL);
    let label = label.map(|label| template::text(CKA_LABEL, label));
    let is_token_object = template.flag(CKA_TOKEN)?.unwrap_or(false);
    let made = StoredCertificate::new(
        x509,
        label.transpose()?,
        template.bytes(CKA_ID).map(<[u8]>::to_vec),
        match is_token_object {
            // Which one it is becomes known when it is written.
            true => Kept::Written(PathBuf::new()),
            false => Kept::Session(session.handle),
        },
    );
    let token = &session.token;
    check(token.options(), &token.table().view(&made), template)?;
    match is_token_object {
        true => keep(session, made),
        false => Ok(token.take_certificate(made)),
    }
}

/// The certificate in a template.
fn read(template: &Template<'_>) -> Result<X509, Error> {
    let incomplete = |name: &str| {
        Error::because(
            CKR_TEMPLATE_INCOMPLETE,
            format!("the template of a certificate lacks {name}"),
        )
    };
    match template.number(CKA_CERTIFICATE_TYPE)? {
        Some(CKC_X_509) => {}
        Some(_) => return Err(template::invalid(CKA_CERTIFICATE_TYPE, "it is not X.509")),
        None => return Err(incomplete("CKA_CERTIFICATE_TYPE")),
    }
    let der = template.bytes(CKA_VALUE);
    let der = der.ok_or_else(|| incomplete("CKA_VALUE"))?;
    X509::read(der).map_err(|problem| template::invalid(CKA_VALUE, &format!("it {problem}")))
}

/// Refuses what a template says of a certificate and isn't so.
fn check(
    options: &Options,
    object: &CertificateObject<'_>,
    template: &Template<'_>,
) -> Result<(), Error> {
    let x509 = &object.certificate.x509;
    for (type_, value) in template.iter() {
        let is_good = match type_ {
            CKA_MODIFIABLE
            | CKA_COPYABLE
            | CKA_DESTROYABLE
            | CKA_CERTIFICATE_CATEGORY
            | CKA_JAVA_MIDP_SECURITY_DOMAIN
            | CKA_START_DATE
            | CKA_END_DATE => check_wish(options, object, type_, value).map(|()| true)?,
            _ if value.is_empty() => true,
            CKA_SUBJECT => value == x509.subject,
            CKA_ISSUER => value == x509.issuer,
            CKA_SERIAL_NUMBER => value == x509.serial || is_number(&x509.serial, value),
            CKA_PUBLIC_KEY_INFO => value == x509.public_key_info,
            CKA_CHECK_VALUE => x509.check_value().is_none_or(|own| value == own),
            CKA_PRIVATE | CKA_TRUSTED => match template::flag(type_, value)? {
                true => return Err(unkept(type_)),
                false => true,
            },
            CKA_CLASS | CKA_TOKEN | CKA_VALUE | CKA_CERTIFICATE_TYPE | CKA_LABEL | CKA_ID => true,
            CKA_VENDOR_DEFINED.. => ignored(options, type_).map(|()| true)?,
            _ => {
                return Err(Error::because(
                    CKR_ATTRIBUTE_TYPE_INVALID,
                    format!("certificates don't have {} here", name(type_)),
                ));
            }
        };
        if !is_good {
            return Err(Error::because(
                CKR_TEMPLATE_INCONSISTENT,
                format!(
                    "{} is not that of the certificate in CKA_VALUE",
                    name(type_)
                ),
            ));
        }
    }
    Ok(())
}

/// Looks at what a program may wish for, and the certificate, or the token, decides. What differs
/// is ignored, with a warning, unless templates are taken strictly.
fn check_wish(
    options: &Options,
    object: &CertificateObject<'_>,
    type_: CK_ATTRIBUTE_TYPE,
    value: &[u8],
) -> Result<(), Error> {
    let told = match type_ {
        CKA_START_DATE | CKA_END_DATE => match template::seconds(type_, value)? {
            Some(_) => Value::Bytes(value.to_vec()),
            None => return Ok(()),
        },
        CKA_CERTIFICATE_CATEGORY | CKA_JAVA_MIDP_SECURITY_DOMAIN => {
            match template::number(type_, value)? {
                // Whoever tells none leaves it to the token.
                0 => return Ok(()),
                // Both have the same number of kinds.
                number @ 1..=CK_CERTIFICATE_CATEGORY_OTHER_ENTITY => Value::Number(number),
                _ => return Err(template::invalid(type_, "there is no such kind")),
            }
        }
        _ => Value::Flag(template::flag(type_, value)?),
    };
    // Its key may not be known here yet.
    let is_of_key = type_ == CKA_CERTIFICATE_CATEGORY
        && told == Value::Number(CK_CERTIFICATE_CATEGORY_TOKEN_USER)
        && !object.certificate.x509.is_authority;
    match is_of_key || object.get(type_) == Ok(told) {
        true => Ok(()),
        false => fixed::differs_for(options, differing(type_)),
    }
}

fn differing(type_: CK_ATTRIBUTE_TYPE) -> String {
    format!("no certificate has {} as the template has it", name(type_))
}

/// The error for a promise that the token would not keep.
fn unkept(type_: CK_ATTRIBUTE_TYPE) -> Error {
    let problem = match type_ {
        CKA_PRIVATE => "certificates can be seen without a login here: leave CKA_PRIVATE out",
        _ => "the token doesn't decide whom a program trusts: leave CKA_TRUSTED out",
    };
    Error::because(CKR_TEMPLATE_INCONSISTENT, problem)
}

/// What only other modules know, and programs set in any case.
fn ignored(options: &Options, type_: CK_ATTRIBUTE_TYPE) -> Result<(), Error> {
    let problem = differing(type_);
    if options.strict_templates {
        return Err(Error::because(CKR_TEMPLATE_INCONSISTENT, problem));
    }
    log::debug!("{problem}; it is ignored (strictTemplates would refuse it)");
    Ok(())
}

/// Writes a certificate into the token's folder, and takes it in from there.
fn keep(session: &Session, certificate: StoredCertificate) -> Result<CK_OBJECT_HANDLE, Error> {
    session.check_read_write()?;
    let label = certificate.label.as_deref();
    // It stands in a line of the file.
    if label.is_some_and(|label| label.chars().any(char::is_control)) {
        return Err(template::invalid(CKA_LABEL, "it has control characters"));
    }
    let token = &session.token;
    let protected = |problem: String| Error::because(CKR_TOKEN_WRITE_PROTECTED, problem);
    let folder = token.certificates().folder.as_ref().ok_or_else(|| {
        protected(
            "the HSM keeps no certificates: name a folder for them in the token's \
             certificateDirectory"
                .to_owned(),
        )
    })?;
    let id = certificate.id.as_deref();
    let path = files::write(folder, &certificate.x509, label, id)
        .map_err(|problem| protected(format!("a certificate is not kept: {problem}")))?;
    Ok(token.take_certificate(StoredCertificate {
        place: Kept::Written(path),
        ..certificate
    }))
}

/// Has a session's certificate stay in the token as well.
pub(crate) fn copy(
    session: &Session,
    certificate: &StoredCertificate,
    template: &Template<'_>,
) -> Result<CK_OBJECT_HANDLE, Error> {
    if certificate.session().is_none() || template.flag(CKA_TOKEN)? != Some(true) {
        return Err(Error::code(CKR_ACTION_PROHIBITED));
    }
    let mut copy = StoredCertificate::new(
        certificate.x509.clone(),
        certificate.label.clone(),
        certificate.id.clone(),
        certificate.place.clone(),
    );
    change(
        &session.token,
        &mut copy,
        &template.without(|type_| type_ == CKA_TOKEN),
    )?;
    keep(session, copy)
}

/// Gives a certificate another label or id.
pub(crate) fn set(
    session: &Session,
    certificate: &Arc<StoredCertificate>,
    template: &Template<'_>,
) -> Result<(), Error> {
    let certificate = &session.token.reload_certificate(certificate)?;
    let mut changed = StoredCertificate::clone(certificate);
    change(&session.token, &mut changed, template)?;
    if (&changed.label, &changed.id) == (&certificate.label, &certificate.id) {
        return Ok(());
    }
    match certificate.place {
        Kept::Session(_) => {
            session.token.take_certificate(changed);
            Ok(())
        }
        Kept::Written(_) => keep(session, changed).map(drop),
        Kept::File(_) | Kept::Vault(_) => Err(prohibited("changed")),
    }
}

/// Gives a certificate the label and the id in a template.
fn change(
    token: &Token,
    certificate: &mut StoredCertificate,
    template: &Template<'_>,
) -> Result<(), Error> {
    let table = token.table();
    for (type_, value) in template.iter() {
        let object = table.view(certificate);
        let current = object.get(type_).map_err(|missing| match missing {
            Missing::NotThere => Error::code(CKR_ATTRIBUTE_TYPE_INVALID),
            Missing::Sensitive => Error::code(CKR_ATTRIBUTE_READ_ONLY),
        })?;
        if *current.bytes() == *value {
            continue;
        }
        match (type_, object.key) {
            (CKA_LABEL, _) => {
                let label = template::text(type_, value)?;
                certificate.label = Some(label).filter(|label| !label.is_empty());
            }
            (CKA_ID, None) => certificate.id = Some(value.to_vec()).filter(|id| !id.is_empty()),
            (CKA_ID, Some(key)) => {
                return Err(Error::because(
                    CKR_ATTRIBUTE_READ_ONLY,
                    format!(
                        "the certificate's CKA_ID is that of its key {}: change the key's",
                        key.name()
                    ),
                ));
            }
            _ => {
                return Err(Error::because(
                    CKR_ATTRIBUTE_READ_ONLY,
                    format!("{} of a certificate can't be changed", name(type_)),
                ));
            }
        }
    }
    Ok(())
}

/// Takes a certificate away, with its file if a program has written that.
pub(crate) fn destroy(session: &Session, certificate: &StoredCertificate) -> Result<(), Error> {
    match &certificate.place {
        Kept::Session(_) => {}
        Kept::Written(path) => {
            session.check_read_write()?;
            files::remove(path).map_err(|problem| {
                Error::because(
                    CKR_TOKEN_WRITE_PROTECTED,
                    format!("a certificate stays: {problem}"),
                )
            })?;
        }
        Kept::File(_) | Kept::Vault(_) => return Err(prohibited("removed")),
    }
    session.token.forget_certificate(certificate.handle);
    Ok(())
}

fn prohibited(what: &str) -> Error {
    Error::because(
        CKR_ACTION_PROHIBITED,
        format!(
            "the certificate is not {what}: only those in the token's certificateDirectory are \
             that programs have written"
        ),
    )
}
