//! Has an HSM sign a digest: `cargo run --example sign managedhsm:MyHSM:mykey`.
//!
//! The key is an EC key on P-256, which is made unless it is there. Settings and credentials come
//! from the environment; `managed-hsm-emulator run -- …` gives those of an emulator.

use managed_hsm::{Client, Curve, KeyUri, Life, NewKey, NewKeyKind, Settings, SignatureAlgorithm};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1);
    let uri: KeyUri = argument
        .as_deref()
        .unwrap_or("managedhsm:MyHSM:mykey")
        .parse()?;
    let client = Client::new(Settings::from_env()?);
    let key = match client.get_key(&uri) {
        Err(error) if error.status() == Some(404) => {
            let new = NewKey {
                kind: NewKeyKind::Ec(Curve::P256),
                operations: Vec::new(),
                exportable: false,
                release_policy: None,
                life: Life::default(),
                tags: Vec::new(),
            };
            client.create_key(&uri.vault, &uri.key, &new)?
        }
        found => found?,
    };
    // What the program's hash function made of a message.
    let digest = [0x5a; 32];
    let signature = client.sign(&key.id, SignatureAlgorithm::Es256, &digest)?;
    println!("{} signed: {} bytes", key.id, signature.len());
    Ok(())
}
