//! What plain OpenSSL says of what was made with the provider.

use super::{Hsm, Loading};

impl Hsm {
    /// Checks a signature of a file by a public key. `options` are those of `dgst`.
    #[track_caller]
    pub(crate) fn verifies(&self, options: &[&str], public: &str, signature: &str, message: &str) {
        let key = ["-verify", public, "-signature", signature, message];
        let arguments = [&["dgst"], options, &key].concat();
        self.openssl(Loading::Plain, &arguments).succeeds();
    }

    /// Checks that a certificate is signed by its own key.
    #[track_caller]
    pub(crate) fn is_self_signed(&self, certificate: &str) {
        let arguments = [
            "verify",
            "-check_ss_sig",
            "-CAfile",
            certificate,
            certificate,
        ];
        self.openssl(Loading::Plain, &arguments).succeeds();
    }
}
