//! What the fuzz targets of `fuzz/` reach inside the provider. Built with `--cfg fuzzing` only.

use hsm_keys::{der, digest_info as info, key_file as file};
use managed_hsm::ProviderSettings;

use crate::configuration::{Configuration, Section};
use crate::openssl::libcrypto::Key;

pub use crate::openssl::fuzzing::{Entry, entry, entry_with_all, params};

/// Reads a file as OpenSSL hands it to the decoders: PEM line by line, and as DER.
pub fn key_file(data: &[u8]) {
    let mut lines = data.split_inclusive(|&byte| byte == b'\n');
    let mut left = data.len();
    while left > 0 {
        let next = || {
            let line = lines.next()?;
            left -= line.len();
            Some(line.to_vec())
        };
        if let Ok(Some(content)) = file::read_pem(next) {
            assert!(content.len() <= file::MAX_LEN);
            let _ = file::read_der(&content);
        }
    }
    if let Ok(Some(read)) = file::read_der(data) {
        let written = read.der();
        match &read {
            file::KeyFile::Version { .. } => assert_eq!(written, data),
            // A URI has several forms.
            file::KeyFile::Uri(uri) => {
                let again = file::read_der(&written).ok().flatten();
                let again = again.map(|again| again.uri().to_string());
                assert_eq!(again, Some(uri.to_string()));
            }
        }
    }
}

/// Reads a DigestInfo and an ECDSA signature. What is accepted is the only encoding of what it
/// means.
pub fn digest_info(data: &[u8]) {
    if let Some((digest, value)) = info::parse(data) {
        assert_eq!(info::encode(digest, value), data);
    }
    for coordinate_len in [32, 48, 66] {
        if let Some(raw) = der::parse_ecdsa_signature(data, coordinate_len) {
            assert_eq!(raw.len(), 2 * coordinate_len);
            assert_eq!(der::ecdsa_signature(&raw), data);
        }
    }
}

/// Reads settings from lines `key = value`.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (mut section, mut keys) = (Section::default(), Vec::new());
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let key = key.trim();
        let known = ProviderSettings::all()
            .filter_map(|setting| setting.key)
            .find(|known| *known == key);
        match known {
            Some(key) => section.values.push((key, value.to_owned())),
            None if key.is_empty() => {}
            None => keys.push(Key {
                name: key.to_owned(),
                section: None,
            }),
        }
    }
    let _ = section.log();
    let _ = section.offers_random();
    if let Ok(configuration) = Configuration::read(&section, &keys) {
        let client = configuration.client;
        assert!(client.max_connections > 0 && !client.operation_timeout.is_zero());
        let endpoints = client.endpoints.iter().map(|(_, url)| url);
        for url in endpoints
            .chain(&client.endpoint)
            .chain(&client.key_vault_endpoint)
        {
            assert!(url.scheme() == "https" && url.host_str().is_some(), "{url}");
        }
        // The proxy's password, among others.
        let _ = format!("{client:?}");
    }
}
