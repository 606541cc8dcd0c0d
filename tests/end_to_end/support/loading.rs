//! How `openssl` gets at the provider, and the configuration files for that.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How `openssl` gets at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loading {
    /// `-provider akv_provider -provider default`
    AkvFirst,
    /// `-provider default -provider akv_provider`
    DefaultFirst,
    /// An `openssl.cnf` that activates both.
    Config,
    /// The same, where the provider is preferred: `default_properties = ?provider=akv_provider`.
    Preferred,
    /// Not at all: plain openssl.
    Plain,
}

/// The ways in which the provider is really used.
pub(crate) const LOADINGS: [Loading; 4] = [
    Loading::AkvFirst,
    Loading::DefaultFirst,
    Loading::Config,
    Loading::Preferred,
];

pub(super) fn write_configs(folder: &Path, modules: &Path) {
    let request = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = test\n";
    fs::write(folder.join("plain.cnf"), request).expect("a configuration file");
    // `openssl x509` of OpenSSL 4.0 takes the top of a file for extensions unless it names a
    // section of them.
    let mut config = String::from("openssl_conf = openssl\nextensions = none\n[none]\n");
    write!(
        config,
        "{request}[openssl]\nproviders = providers\n\
         [providers]\nakv_provider = akv\ndefault = standard\n\
         [standard]\nactivate = 1\n\
         [akv]\nmodule = {}/akv_provider.so\nactivate = 1\n",
        modules.display()
    )
    .expect("a String takes all");
    fs::write(folder.join("akv.cnf"), &config).expect("a configuration file");
    let preferred = config.replace("[openssl]\n", "[openssl]\nalg_section = algorithms\n")
        + "[algorithms]\ndefault_properties = ?provider=akv_provider\n";
    fs::write(folder.join("preferred.cnf"), preferred).expect("a configuration file");
}
