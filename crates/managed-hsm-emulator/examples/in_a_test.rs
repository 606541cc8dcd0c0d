//! An emulator in the process of a test, with a fault on demand: `cargo run --example in_a_test`.

use std::time::Duration;

use managed_hsm_emulator::{Options, start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // It ends when this is dropped; its keys are in a temporary folder.
    let emulator = start(Options::default())?;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&emulator.ca)?)?;
    let client = reqwest::Client::builder().tls_certs_only([ca]).build()?;
    let create = || {
        let url = format!("{}/keys/demo/create?api-version=7.4", emulator.url);
        let request = client.post(url).bearer_auth(&emulator.token);
        request.body(r#"{"kty":"EC-HSM","crv":"P-256"}"#).send()
    };

    // The program under test sees what the service would answer when it throttles, once.
    emulator.faults.add("throttled,operation=create,count=1")?;
    assert_eq!(create().await?.status(), 429);
    assert_eq!(create().await?.status(), 200);

    // What came can be looked at.
    let requests = &emulator.requests;
    assert!(requests.wait_until(Duration::from_secs(5), |came| came.len() == 2));
    for request in requests.list() {
        println!("{} {} {:?}", request.method, request.path, request.status);
    }
    Ok(())
}
