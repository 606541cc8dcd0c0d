//! Whole HTTP answers over TLS, to requests of the client: for a key, a signature, a decryption, a
//! page, random bytes.
//!
//! The first byte chooses the request and, by its top bit, whether the rest is a body only, which
//! then gets a good head.
#![no_main]

#[path = "common/server.rs"]
mod server;

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use managed_hsm::fuzzing::{TOKEN, check_shown};
use managed_hsm::{
    AccessToken, Client, Decryption, EncryptionAlgorithm, KeyUri, Settings, SignatureAlgorithm,
    Vault,
};
use server::Server;

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    // As every program of Rust's does, and the provider for programs of other languages; main is
    // libFuzzer's here. SAFETY: no handler is called.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut settings = Settings {
        endpoint: Some(SERVER.url().parse().expect("a URL")),
        ca_file: Some(SERVER.ca_file.clone()),
        max_retries: 0,
        operation_timeout: Duration::from_secs(2),
        ..Settings::default()
    };
    settings.credentials.access_token = AccessToken::new(TOKEN);
    Client::new(settings)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((&kind, rest)) = data.split_first() else {
        return Corpus::Reject;
    };
    let answer = match kind & 0x80 {
        0 => rest.to_vec(),
        _ => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                rest.len()
            );
            [head.as_bytes(), rest].concat()
        }
    };
    SERVER.will_answer(answer);
    let vault: Vault = "managedhsm:MyHSM".parse().expect("a vault");
    let uri: KeyUri = "managedhsm:MyHSM:k".parse().expect("a URI");
    let id = managed_hsm::fuzzing::key_id(&SERVER.url().parse().expect("a URL"));
    let problem = match kind & 0x7f {
        0 => match CLIENT.get_key(&uri) {
            Ok(key) => {
                check_shown(&key.kid);
                key.operations.iter().for_each(check_shown);
                None
            }
            Err(problem) => Some(problem),
        },
        1 => CLIENT.sign(&id, SignatureAlgorithm::Es256, &[7; 32]).err(),
        2 => CLIENT.sign(&id, SignatureAlgorithm::Rs256, &[7; 32]).err(),
        3 => {
            let decryption = Decryption {
                algorithm: EncryptionAlgorithm::RsaOaep256,
                iv: None,
                aad: None,
                tag: None,
            };
            CLIENT.decrypt(&id, &decryption, &[7; 256]).err()
        }
        4 => CLIENT
            .unwrap_key(&id, EncryptionAlgorithm::RsaOaep256, &[7; 256])
            .err(),
        5 => CLIENT.random_bytes(&vault, 16).err(),
        6 => CLIENT.delete_key(&vault, &uri.key).err(),
        7 => {
            let page = CLIENT
                .keys(&vault)
                .and_then(|mut pages| pages.next_page(&CLIENT));
            page.err()
        }
        _ => return Corpus::Reject,
    };
    if let Some(problem) = problem {
        check_shown(&problem);
    }
    Corpus::Keep
});
