//! `docs/algorithms.md`, row by row.

use std::fs;

use crate::support::{Hsm, Loading, uri};

const PAGE: &str = include_str!("../../docs/algorithms.md");

/// The keys of the page: a name there, a key's name, and the body of its create request.
const KEYS: [(&str, &str, &str); 8] = [
    ("RSA", "rsa", r#"{"kty":"RSA-HSM","key_size":2048}"#),
    ("P-256", "p256", r#"{"kty":"EC-HSM","crv":"P-256"}"#),
    ("P-384", "p384", r#"{"kty":"EC-HSM","crv":"P-384"}"#),
    ("P-521", "p521", r#"{"kty":"EC-HSM","crv":"P-521"}"#),
    ("secp256k1", "k256", r#"{"kty":"EC-HSM","crv":"P-256K"}"#),
    ("AES-128", "aes128", r#"{"kty":"oct-HSM","key_size":128}"#),
    ("AES-192", "aes192", r#"{"kty":"oct-HSM","key_size":192}"#),
    ("AES-256", "aes256", r#"{"kty":"oct-HSM","key_size":256}"#),
];

/// The DigestInfo of SHA-1 and of SHA-256, without the digest.
const SHA1_INFO: &[u8] = b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
const SHA256_INFO: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

struct Row {
    key: String,
    what: Vec<String>,
    alternatives: Vec<String>,
    outcome: String,
}

fn rows() -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    PAGE.lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .filter(|cells| cells.len() == 4 && cells[0] != "key" && !cells[0].starts_with("--"))
        .map(|cells| Row {
            key: cells[0].clone(),
            what: cells[1].split(", ").map(str::to_owned).collect(),
            alternatives: alternatives(&cells[2]),
            outcome: cells[3].clone(),
        })
        .collect()
}

/// Code spans, or names of inputs with commas between them.
fn alternatives(cell: &str) -> Vec<String> {
    if cell.contains('`') {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    } else {
        cell.split(", ").map(str::to_owned).collect()
    }
}

fn input(name: &str) -> Vec<u8> {
    match name {
        "DigestInfo of SHA-1" => [SHA1_INFO, &[7; 20]].concat(),
        "DigestInfo of SHA-256" => [SHA256_INFO, &[7; 32]].concat(),
        other => {
            let len = other
                .strip_suffix(" bytes")
                .and_then(|len| len.parse().ok());
            vec![7; len.unwrap_or_else(|| panic!("the input '{other}' is unknown"))]
        }
    }
}

/// The command of a row, and the file that it reads.
fn command(hsm: &Hsm, what: &str, key: &str, alternative: &str) -> Vec<String> {
    let key = uri(key);
    let options = || alternative.split(' ').map(str::to_owned);
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let (message, out) = (hsm.write("message", "message"), hsm.path("out"));
    match what {
        "sign a message" => {
            let mut command = words(&["dgst", "-sign", &key, "-out", &out]);
            command.extend(options());
            command.push(message);
            command
        }
        "sign" | "wrap" => {
            let flag = if what == "sign" { "-sign" } else { "-encrypt" };
            let input = hsm.write("input", input(alternative));
            words(&["pkeyutl", flag, "-inkey", &key, "-in", &input, "-out", &out])
        }
        "unwrap" => {
            let (plain, wrapped) = (hsm.write("plain", input(alternative)), hsm.path("wrapped"));
            let wrap = [
                "pkeyutl", "-encrypt", "-inkey", &key, "-in", &plain, "-out", &wrapped,
            ];
            hsm.openssl(Loading::AkvFirst, &wrap).succeeds();
            words(&[
                "pkeyutl", "-decrypt", "-inkey", &key, "-in", &wrapped, "-out", &out,
            ])
        }
        "encrypt" => {
            let mut command = words(&["pkeyutl", "-encrypt", "-inkey", &key, "-in", &message]);
            command.extend(words(&["-out", &out, "-pkeyopt"]));
            command.extend(options());
            command
        }
        "decrypt" => {
            let sealed = hsm.path("sealed");
            let public = hsm.path("public.pem");
            // Where it can't be made, the refusal comes before it is read.
            fs::write(&sealed, [7; 256]).expect("the file can be written");
            if key.ends_with(":rsa") {
                let write = ["pkey", "-in", &key, "-pubout", "-out", &public];
                hsm.openssl(Loading::AkvFirst, &write).succeeds();
                let mut encrypt = words(&["pkeyutl", "-encrypt", "-pubin", "-inkey", &public]);
                encrypt.extend(words(&["-in", &message, "-out", &sealed, "-pkeyopt"]));
                encrypt.extend(options());
                let encrypt: Vec<&str> = encrypt.iter().map(String::as_str).collect();
                // Raw RSA takes only as much as the modulus is long.
                if !alternative.contains("none") {
                    hsm.openssl(Loading::Plain, &encrypt).succeeds();
                }
            }
            let mut command = words(&["pkeyutl", "-decrypt", "-inkey", &key, "-in", &sealed]);
            command.extend(words(&["-out", &out, "-pkeyopt"]));
            command.extend(options());
            command
        }
        other => panic!("'{other}' is unknown"),
    }
}

/// The algorithms of the last successful request of each kind in a log.
fn asked_for(log: &str) -> Vec<String> {
    log.lines()
        .filter(|line| line.contains("status=200"))
        .filter_map(|line| line.split("algorithm=").nth(1)?.split(' ').next())
        .filter(|algorithm| *algorithm != "none")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_row_of_the_page_is_true() {
    let keys: Vec<(&str, &str)> = KEYS.iter().map(|(_, name, body)| (*name, *body)).collect();
    let mut hsm = Hsm::with_keys(&keys);
    let mut tried = 0;
    for row in rows() {
        let known = KEYS.iter().find(|(name, _, _)| *name == row.key);
        let key = match row.key.as_str() {
            "AES" => "aes256",
            _ => {
                known
                    .unwrap_or_else(|| panic!("the key '{}' is unknown", row.key))
                    .1
            }
        };
        for what in &row.what {
            for alternative in &row.alternatives {
                let arguments = command(&hsm, what, key, alternative);
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let log = hsm.path("provider.log");
                let _ = fs::remove_file(&log);
                hsm.set("AKV_LOG_FILE", &log);
                let outcome = hsm.openssl(Loading::AkvFirst, &arguments);
                hsm.unset("AKV_LOG_FILE");
                let asked = asked_for(&fs::read_to_string(&log).unwrap_or_default());
                let place = format!("{} {what} {alternative}: {}", row.key, row.outcome);
                if let Some(text) = row.outcome.strip_prefix("refused: ") {
                    let words = text.split('`').nth(1).unwrap_or(text);
                    outcome.fails_with(&[words]);
                    assert!(asked.is_empty(), "{place}: {asked:?}");
                } else {
                    outcome.succeeds();
                    let expected = row.outcome.strip_prefix("HSM: ");
                    let expected: Vec<&str> = expected
                        .map(|name| name.trim_matches('`'))
                        .into_iter()
                        .collect();
                    assert_eq!(asked, expected, "{place}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 80, "only {tried} rows were found");
}
