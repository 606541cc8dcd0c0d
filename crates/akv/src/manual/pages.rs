//! Pages that are no command's: of what programs load, and of its file. Their text is that of the
//! documents.

use std::io;
use std::path::Path;

use clap_mangen::roff::{Roff, bold, roman};

use super::markdown::{render, section};
use super::{settings, write_text};

const README: &str = include_str!("../../../../README.md");
const CONFIGURATION: &str = include_str!("../../../../docs/configuration.md");
const PKCS11: &str = include_str!("../../../../docs/pkcs11.md");

/// A page.
pub(super) struct Page {
    pub(super) name: &'static str,
    pub(super) section: u8,
    about: &'static str,
    synopsis: &'static [&'static str],
    description: &'static str,
    /// Headings of the page, each with a document and a heading in it.
    parts: &'static [(&'static str, &'static str, &'static str)],
    /// Whether the settings of the provider are its environment.
    has_settings: bool,
    see_also: &'static [(&'static str, u8)],
}

pub(super) const PAGES: [Page; 3] = [
    Page {
        name: "akv_provider",
        section: 7,
        about: "OpenSSL provider for keys in Azure Managed HSM",
        synopsis: &[
            "openssl command -provider akv_provider -provider default -key managedhsm:HSM:key ...",
        ],
        description: "OpenSSL 3 and programs that use it load **akv_provider** for keys in Azure \
            Managed HSM, or in an Azure Key Vault. A key is named by a URI, or by a file that holds \
            one; the private key never leaves the HSM. Programs without options for providers take \
            the provider from **openssl.cnf**. **akv doctor** checks step by step that keys can be \
            used, **akv explain** says what an error means, and **akv env** prints the \
            configuration for the current settings.",
        parts: &[
            ("KEY URIS", README, "Key URIs"),
            ("CONFIGURATION", CONFIGURATION, "openssl.cnf"),
            ("LOG", CONFIGURATION, "The log"),
            ("RANDOM BYTES", CONFIGURATION, "Random bytes"),
            ("FIPS", CONFIGURATION, "FIPS"),
        ],
        has_settings: true,
        see_also: &[
            ("akv", 1),
            ("akv-doctor", 1),
            ("akv-explain", 1),
            ("openssl", 1),
            ("config", 5),
            ("provider", 7),
            ("akv_pkcs11", 7),
        ],
    },
    Page {
        name: "akv_pkcs11",
        section: 7,
        about: "PKCS#11 module for keys in Azure Managed HSM",
        synopsis: &[
            "pkcs11-tool --module akv_pkcs11.so --list-objects",
            "p11tool --provider akv_pkcs11.so --list-all",
        ],
        description: "Programs that know PKCS#11 and no providers of OpenSSL load \
            **akv_pkcs11.so** for keys in Azure Managed HSM, or in an Azure Key Vault. It signs, \
            decrypts and wraps in the HSM; it verifies and hashes here. **akv pkcs11** shows what \
            it sees, and **akv doctor --pkcs11** checks that it can be used.",
        parts: &[
            ("IDENTITY AND PINS", PKCS11, "Identity and PINs"),
            ("SLOTS AND OBJECTS", PKCS11, "Slots and objects"),
            ("MECHANISMS", PKCS11, "Mechanisms"),
            ("ERRORS", PKCS11, "Errors"),
            ("FILES", PKCS11, "Installation"),
        ],
        has_settings: false,
        see_also: &[
            ("akv-pkcs11", 1),
            ("mhsm-pkcs11.conf", 5),
            ("akv_provider", 7),
        ],
    },
    Page {
        name: "mhsm-pkcs11.conf",
        section: 5,
        about: "configuration of the PKCS#11 module for Azure Managed HSM",
        synopsis: &["/etc/mhsm-pkcs11.conf"],
        description: "The file says which HSMs **akv_pkcs11.so** shows, as whom they are asked, and \
            how. It has the form of Microsoft's TLS Offload Library.",
        parts: &[("FORMAT", PKCS11, "Configuration")],
        has_settings: false,
        see_also: &[("akv-pkcs11", 1), ("akv_pkcs11", 7)],
    },
];

impl Page {
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut roff = Roff::new();
        roff.control("SH", ["NAME"]);
        roff.text([roman(format!("{} - {}", self.name, self.about))]);
        roff.control("SH", ["SYNOPSIS"]);
        for (at, line) in self.synopsis.iter().enumerate() {
            if at > 0 {
                roff.control("br", []);
            }
            roff.text([bold(*line)]);
        }
        roff.control("SH", ["DESCRIPTION"]);
        render(&mut roff, self.description);
        for (heading, document, place) in self.parts {
            roff.control("SH", [*heading]);
            let text = section(document, place);
            render(&mut roff, text.expect("the tests look for each section"));
        }
        if self.has_settings {
            roff.control("SH", ["ENVIRONMENT"]);
            settings(&mut roff);
        }
        roff.control("SH", ["SEE ALSO"]);
        let mut words = Vec::new();
        for (at, (name, section)) in self.see_also.iter().enumerate() {
            words.push(bold(*name));
            let comma = if at + 1 < self.see_also.len() {
                ", "
            } else {
                ""
            };
            words.push(roman(format!("({section}){comma}")));
        }
        roff.text(words);
        write_text(path, self.name, self.section, roff.render().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_have_each_section_that_a_page_takes() {
        for page in &PAGES {
            for (heading, document, place) in page.parts {
                let text = section(document, place).map_or(0, str::len);
                assert!(text > 100, "{}: {heading}: {text}", page.name);
            }
        }
    }
}
