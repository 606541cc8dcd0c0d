//! Certificates in PEM.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};

/// The certificates among the blocks of a text. The error says what is wrong without repeating
/// anything of the text, which may have a private key in the line that can't be read.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all = CertificateDer::pem_slice_iter(text);
    all.collect::<Result<_, _>>().map_err(|error| match error {
        Error::MissingSectionEnd { .. } | Error::IllegalSectionStart { .. } => {
            "a line '-----BEGIN …-----' has no line '-----END …-----' behind it: is it cut off, or have \
             line ends been lost?"
        }
        Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        _ => "it is not PEM",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_without_what_stands_there() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n";
        assert_eq!(certificates(key.as_bytes()).map(|found| found.len()), Ok(0));
        for (text, words) in [
            (key.replace('\n', ""), "line ends been lost"),
            (key.replace('\n', " "), "line ends been lost"),
            (key.replacen('\n', "", 1), "line ends been lost"),
            (key.replace("-----END", "END"), "no line '-----END"),
            (key.replace("MIIE", "Proc-Type: "), "not base64"),
        ] {
            let told = certificates(text.as_bytes()).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }
}
