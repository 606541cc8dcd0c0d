//! Names of keys and vaults. What is read and written again is the same name, and nothing in it can
//! change a URL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use hsm_keys::key_file::KeyFile;
use managed_hsm::{KeyUri, Settings, StoreUri, Vault};

fuzz_target!(|text: &str| {
    let settings = Settings::default();
    if let Ok(uri) = text.parse::<KeyUri>() {
        let written = uri.to_string();
        let read = written.parse::<KeyUri>().expect(&written);
        // An identifier's cloud is checked where it is read, and written names are the settings'.
        assert!(read.vault.is_same(&uri.vault), "{written}");
        assert_eq!((&read.key, &read.version), (&uri.key, &uri.version), "{written}");
        assert_eq!(read.to_string(), written);
        assert!(
            written
                .chars()
                .all(|character| character.is_ascii_graphic())
        );
        address(&settings, &uri.vault);
        assert!(KeyFile::Uri(uri).pem().is_ascii());
    }
    let _ = text.parse::<StoreUri>();
    if let Ok(vault) = text.parse::<Vault>() {
        address(&settings, &vault);
    }
});

/// A token goes to Microsoft's domains only, unless the settings name another.
fn address(settings: &Settings, vault: &Vault) {
    let Ok(url) = settings.address(vault) else {
        return;
    };
    let host = url.host_str().unwrap_or_default();
    let (name, domain) = host.split_once('.').unwrap_or_default();
    assert!(
        ["managedhsm.azure.net", "vault.azure.net"].contains(&domain),
        "{url}"
    );
    assert!(
        !name.is_empty() && url.scheme() == "https" && url.port().is_none(),
        "{url}"
    );
    assert!(
        url.username().is_empty() && url.password().is_none() && url.path() == "/",
        "{url}"
    );
}
