//! What is secret is gone from a process's memory when it is no longer needed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{Hsm, Loading, RSA_2048, uri};

const PLAINTEXT: &[u8] = b"the plaintext that nobody shall find again in memory";

/// Signs and decrypts with a key in a process that then unloads the provider. Returns for each
/// needle how many copies of it the process's memory held before and after.
fn copies(hsm: &Hsm, needles: &[&[u8]]) -> Vec<[u32; 2]> {
    let program = hsm.compile("memory");
    let plain = hsm.write("plain", PLAINTEXT);
    let public = hsm.public_key(Loading::AkvFirst, &uri("k"));
    let ciphertext = hsm.path("ciphertext");
    let encrypt = ["pkeyutl", "-encrypt", "-pubin", "-inkey", &public];
    let oaep = ["-pkeyopt", "rsa_padding_mode:oaep"];
    let files = ["-in", &plain, "-out", &ciphertext];
    hsm.openssl(Loading::Plain, &[&encrypt[..], &oaep, &files].concat())
        .succeeds();
    let mut arguments = vec![uri("k"), ciphertext];
    for (number, needle) in needles.iter().enumerate() {
        let flipped: Vec<u8> = needle.iter().map(|byte| byte ^ 0x5a).collect();
        arguments.push(hsm.write(&format!("needle-{number}"), flipped));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = hsm.run(&program, &arguments).succeeds();
    let numbers = |line: &str| {
        let mut numbers = line
            .split(' ')
            .map(|number| number.parse().expect("a number"));
        [(); 2].map(|()| numbers.next().expect("two numbers"))
    };
    let counted: Vec<[u32; 2]> = printed.lines().map(numbers).collect();
    assert_eq!(counted.len(), needles.len(), "{printed}");
    counted
}

/// The start of what stands for the plaintext in an answer.
fn encoded() -> Vec<u8> {
    let text = URL_SAFE_NO_PAD.encode(PLAINTEXT);
    text.as_bytes()[..40].to_vec()
}

#[test]
fn neither_tokens_nor_plaintext_outlive_the_provider() {
    let mut hsm = Hsm::with_keys(&[("k", RSA_2048)]);
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    let file = hsm.write("token", &token);
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("AKV_TOKEN_FILE", &file);
    let secret = &token.as_bytes()[token.len() - 40..];
    let found = copies(&hsm, &[secret, PLAINTEXT, &encoded()]);
    // The search finds what is there: a token is kept as long as it serves.
    assert!(found[0][0] > 0, "{found:?}");
    // Decrypted data are not kept at all, but for what stands in the buffers of a connection that
    // is open still.
    assert_eq!(found[1][0], 0, "{found:?}");
    assert!(found.iter().all(|[_, after]| *after == 0), "{found:?}");
}

#[test]
fn neither_the_secret_of_an_application_nor_its_tokens_outlive_the_provider() {
    let mut hsm = Hsm::with_keys(&[("k", RSA_2048)]);
    hsm.log_in();
    let secret = hsm.variable("AZURE_CLIENT_SECRET").to_owned();
    // The first part of every token of the emulator's.
    let found = copies(
        &hsm,
        &[secret.as_bytes(), b"Bearer ey", b"access_token\":\"ey"],
    );
    assert!(found[0][0] > 0 && found[1][0] > 0, "{found:?}");
    assert!(found.iter().all(|[_, after]| *after == 0), "{found:?}");
}
