//! Pages that are no command's: of what programs load, and of its file. Their text is that of the
//! documents.

use std::io;
use std::path::Path;

use clap_mangen::roff::{Roff, bold, roman};

use super::markdown::{render, section};
use super::{entries, lines, settings, write_text};
use crate::docs;

/// A page.
pub(super) struct Page {
    pub(super) name: &'static str,
    pub(super) section: u8,
    about: &'static str,
    synopsis: &'static [&'static str],
    description: &'static str,
    /// Headings of the page, each with a document, as `akv docs` calls it, and a heading in it.
    parts: &'static [(&'static str, &'static str, &'static str)],
    /// Whether the settings of the provider are a part of its environment.
    has_settings: bool,
    environment: &'static [(&'static str, &'static str)],
    files: &'static [(&'static str, &'static str)],
    examples: &'static str,
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
            ("KEY URIS", "README", "Key URIs"),
            ("CONFIGURATION", "configuration", "openssl.cnf"),
            ("LOG", "configuration", "The log"),
            ("RANDOM BYTES", "configuration", "Random bytes"),
            ("FIPS", "configuration", "FIPS"),
        ],
        has_settings: true,
        environment: &[
            (
                "OPENSSL_CONF",
                "the openssl.cnf that programs read instead of OpenSSL's own",
            ),
            (
                "OPENSSL_MODULES",
                "the folder of akv_provider.so, where it isn't in OpenSSL's own folder",
            ),
        ],
        files: &[
            (
                "openssl.cnf",
                "turns the provider on, and has its settings; the folder is what 'openssl version \
                 -d' says",
            ),
            (
                "akv_provider.so",
                "the provider, in the folder that 'openssl version -m' says",
            ),
            (
                "/etc/akv/akv_provider.cnf",
                "settings, where a package is installed: 'akv config enable --settings' has \
                 openssl.cnf include the file",
            ),
        ],
        examples: "\
openssl dgst -sha256 -provider akv_provider -provider default \\
    -sign managedhsm:MyHSM:doc -out contract.sig contract.pdf
openssl req -new -provider akv_provider -provider default \\
    -key managedhsm:MyHSM:web -subj /CN=www.example.com -out web.csr",
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
            ("IDENTITY AND PINS", "pkcs11", "Identity and PINs"),
            ("SLOTS AND OBJECTS", "pkcs11", "Slots and objects"),
            ("MECHANISMS", "pkcs11", "Mechanisms"),
            ("ERRORS", "pkcs11", "Errors"),
            ("ENVIRONMENT", "pkcs11", "Environment"),
            ("FILES", "pkcs11", "Installation"),
        ],
        has_settings: false,
        environment: &[],
        files: &[],
        examples: "\
akv pkcs11 check
pkcs11-tool --module akv_pkcs11.so --list-objects
pkcs11-tool --module akv_pkcs11.so --sign --mechanism ECDSA-SHA256 \\
    --label web --input-file contract.pdf --output-file contract.sig",
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
        parts: &[("FORMAT", "pkcs11", "Configuration")],
        has_settings: false,
        environment: &[
            ("MHSM_PKCS11_CONF", "the path of the file"),
            (
                "XDG_CONFIG_HOME",
                "a folder that may have the file, with the name mhsm-pkcs11.conf",
            ),
        ],
        files: &[("/etc/mhsm-pkcs11.conf", "the file, unless another is named")],
        examples: "\
{ \"tokens\": [{ \"resourceName\": \"MyHSM\" }] }",
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
        render(&mut roff, self.description, "");
        for (heading, document, place) in self.parts {
            roff.control("SH", [*heading]);
            let text = docs::text(document).and_then(|text| section(text, place));
            let text = text.expect("the tests look for each section");
            render(&mut roff, text, document);
        }
        if self.has_settings || !self.environment.is_empty() {
            roff.control("SH", ["ENVIRONMENT"]);
            if self.has_settings {
                settings(&mut roff);
            }
            entries(&mut roff, self.environment);
        }
        if !self.files.is_empty() {
            roff.control("SH", ["FILES"]);
            entries(&mut roff, self.files);
        }
        lines(&mut roff, "EXAMPLES", self.examples.lines());
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
                let text = docs::text(document).and_then(|text| section(text, place));
                let text = text.map_or(0, str::len);
                assert!(text > 100, "{}: {heading}: {text}", page.name);
            }
            let mut examples = page.examples.lines();
            assert!(examples.all(|line| line.len() <= 76), "{}", page.name);
        }
    }
}
