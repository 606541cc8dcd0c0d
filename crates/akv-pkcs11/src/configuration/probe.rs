//! Files that requests need. They are read when the configuration is, so that a mistake is told of
//! then, and not by each request that fails. What can't be read for now, such as by a process that
//! has no descriptors left, is no mistake: requests tell of it as long as it lasts.

use managed_hsm::{CredentialKind, CredentialSettings, Settings, files, fit};

use crate::token::FRONT_END;

/// Looks at the CA file, and at the certificate that an application proves itself with. Files of
/// tokens are left alone: who writes them may come later, and renews them.
///
/// # Errors
/// One of them can't be used; the error names it.
pub(super) fn check(client: &Settings) -> Result<(), String> {
    if let Some(path) = &client.ca_file {
        let settings = Settings {
            front_end: FRONT_END,
            ..client.clone()
        };
        if let Err(error) = settings.tls()
            && !files::is_away_for_now(path)
        {
            // A path may hold whatever characters.
            return Err(fit(&error.to_string(), 800));
        }
    }
    let credentials = &client.credentials;
    match &credentials.client_certificate {
        Some(path) if is_by_certificate(credentials) => match files::read(path) {
            Err(problem) if !files::is_away_for_now(path) => Err(format!(
                "the client certificate '{}' {problem}: name a PEM or PKCS#12 file with the \
                 certificate and its key in clientCertificate",
                fit(&path.display().to_string(), 400)
            )),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether no other credential comes before the certificate.
fn is_by_certificate(credentials: &CredentialSettings) -> bool {
    let kind = CredentialKind::ClientCertificate;
    let is_alone = credentials.selection == [kind];
    let is_first = credentials.access_token.is_none()
        && credentials.token_file.is_none()
        && credentials.client_secret.is_none();
    // Without these the certificate counts for nothing, and the next credential is tried.
    let is_whole = credentials.tenant_id.is_some() && credentials.client_id.is_some();
    is_alone
        || is_first
            && is_whole
            && (credentials.selection.is_empty() || credentials.selection.contains(&kind))
}

#[cfg(test)]
mod tests {
    use managed_hsm::Secret;

    use super::*;

    /// What is said of a folder in which the files that are named are looked for.
    fn told(
        ca_file: Option<&str>,
        certificate: Option<&str>,
        with: fn(&mut CredentialSettings),
    ) -> Result<(), String> {
        let folder = std::env::temp_dir().join(format!("akv-probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("text"), "no certificate").unwrap();
        let mut settings = Settings {
            ca_file: ca_file.map(|name| folder.join(name)),
            ..Settings::default()
        };
        settings.credentials.client_certificate = certificate.map(|name| folder.join(name));
        with(&mut settings.credentials);
        check(&settings)
    }

    fn application(credentials: &mut CredentialSettings) {
        credentials.tenant_id = Some("tenant".to_owned());
        credentials.client_id = Some("client".to_owned());
    }

    #[test]
    fn files_that_requests_need_are_looked_at_before_there_are_any() {
        assert_eq!(told(None, None, application), Ok(()));
        for name in ["missing", "text"] {
            let problem = told(Some(name), None, application).unwrap_err();
            assert!(problem.contains(name), "{problem}");
        }
        let problem = told(None, Some("missing"), application).unwrap_err();
        assert!(problem.contains("clientCertificate"), "{problem}");
        assert_eq!(told(None, Some("text"), application), Ok(()));
    }

    #[test]
    fn a_certificate_that_nobody_reads_is_not_looked_at() {
        let by_secret = |credentials: &mut CredentialSettings| {
            application(credentials);
            credentials.client_secret = Some(Secret::new("a secret".to_owned()));
        };
        assert_eq!(told(None, Some("missing"), by_secret), Ok(()));
        let nobodys = |credentials: &mut CredentialSettings| {
            application(credentials);
            credentials.tenant_id = None;
        };
        assert_eq!(told(None, Some("missing"), nobodys), Ok(()));
        let alone = |credentials: &mut CredentialSettings| {
            credentials.selection = vec![CredentialKind::ClientCertificate];
        };
        assert!(told(None, Some("missing"), alone).is_err());
    }
}
