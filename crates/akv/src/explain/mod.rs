//! `akv explain`: what an error means, and what to do. All is from the documents' tables.

mod tables;

use clap::Args;
use cryptoki::error::Rv;
use serde_json::{Value, json};

use self::tables::{Row, rows};
use crate::failure::Failure;
use crate::output::{Report, lines, one_line};

/// The most rows that are shown of what a long text has in common with them.
const MOST: usize = 4;

/// Codes that the module gives, and `RvError` has no names for.
const UNNAMED: [(u64, &str); 2] = [
    (0x42, "CKR_AEAD_DECRYPT_FAILED"),
    (0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED"),
];

#[derive(Args)]
#[command(after_help = "Examples:
  akv explain KeyNotFound                 # a code of the service
  akv explain 403
  akv explain CKR_PIN_INCORRECT           # of PKCS#11; also 0xa0, 160
  akv explain 'forbidden by the HSM'      # a reason of the provider
  akv explain error:40000005              # the same by its number
  nginx -t 2>&1 | xargs -0 akv explain    # whatever a program printed")]
pub(crate) struct Explain {
    /// The code, its number, or the line that a program printed
    #[arg(required = true, value_name = "CODE")]
    words: Vec<String>,
}

/// A row, and what is known of the error besides.
struct Found {
    row: &'static Row,
    /// The code's name and number, for PKCS#11.
    code: Option<String>,
}

impl Explain {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let text = self.words.join(" ");
        let asked = text.trim();
        let found = meant(asked);
        if let ([], Some((number, name))) = (found.as_slice(), pkcs11_code(asked)) {
            let text = format!(
                "{name} ({number:#x}) is a code of PKCS#11 that this project's module does not give by itself: it is \
                 the program's, or another module's"
            );
            let json = json!([{ "code": name, "number": number, "cause": text, "remedy": null }]);
            return Ok(Report::new(format!("{text}\n"), json));
        }
        if found.is_empty() {
            return Err(Failure::not_found(format!(
                "no error is known by '{}': give a code of the service (KeyNotFound, 403), of PKCS#11 \
                 (CKR_PIN_INCORRECT, 0xa0), a reason of the provider ('invalid key URI', error:40000001), or the line \
                 that a program printed",
                one_line(asked)
            )));
        }
        let text: Vec<String> = found.iter().map(Found::text).collect();
        let json: Vec<Value> = found.iter().map(Found::json).collect();
        Ok(Report::new(text.join("\n"), Value::Array(json)))
    }
}

impl Found {
    fn text(&self) -> String {
        let rows = [
            (
                "Error",
                self.code.clone().unwrap_or_else(|| self.row.name.clone()),
            ),
            ("Cause", self.row.cause.clone()),
            ("Remedy", self.row.remedy.clone()),
            ("More", format!("akv docs {}", self.row.document)),
        ];
        lines(&rows)
    }

    fn json(&self) -> Value {
        json!({
            "code": self.code.as_ref().unwrap_or(&self.row.name),
            "cause": self.row.cause,
            "remedy": self.row.remedy,
            "document": self.row.document,
        })
    }
}

/// What a code, or a line that a program printed, means. A line of OpenSSL's says more than its
/// reason, which is general, so that comes last.
fn meant(asked: &str) -> Vec<Found> {
    let by_code = by_code(asked);
    if !by_code.is_empty() && reason_number(asked).is_none() {
        return by_code;
    }
    let mut found = in_text(asked);
    found.retain(|found| by_code.is_empty() || !found.row.is_reason);
    found.extend(by_code);
    found
}

/// What is called so, or has this number.
fn by_code(asked: &str) -> Vec<Found> {
    let code = pkcs11_code(asked);
    let name = code.as_ref().map_or(asked, |(_, name)| name);
    let reason = reason_number(asked);
    let status = asked.parse::<u32>().ok();
    let is_meant = |row: &&Row| {
        row.codes.iter().any(|code| code.eq_ignore_ascii_case(name))
            || (row.is_reason && reason.is_some_and(|number| row.numbers.contains(&number)))
            || (!row.is_reason && status.is_some_and(|number| row.numbers.contains(&number)))
    };
    let found = rows().iter().filter(is_meant);
    let shown = |row: &Row| {
        let (number, name) = code.as_ref()?;
        let about = row.name.strip_prefix(name.as_str());
        let about = about.filter(|about| !about.starts_with(',')).unwrap_or("");
        row.codes
            .contains(name)
            .then(|| format!("{name} ({number:#x}){about}"))
    };
    found
        .map(|row| Found {
            row,
            code: shown(row),
        })
        .collect()
}

/// The rows whose words a text has, those that say most first.
fn in_text(text: &str) -> Vec<Found> {
    let lower = text.to_lowercase();
    let mut found: Vec<(usize, &Row)> = rows()
        .iter()
        .map(|row| (likeness(&lower, row), row))
        .filter(|(likeness, _)| *likeness > 0)
        .collect();
    found.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
    found.truncate(MOST);
    let found = found.into_iter();
    found.map(|(_, row)| Found { row, code: None }).collect()
}

/// How many bytes of a text are a row's: its codes as words, its sentences in all their parts.
fn likeness(lower: &str, row: &Row) -> usize {
    let is_word = |code: &str| {
        let mut words = lower.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == code)
    };
    let of_one = |code: &String| {
        let code = code.to_lowercase();
        let is_there = match code.contains(' ') {
            true => code.split('…').all(|part| lower.contains(part.trim())),
            false => code.len() > 5 && is_word(&code),
        };
        if is_there { code.len() } else { 0 }
    };
    row.codes.iter().map(of_one).max().unwrap_or(0)
}

/// The number of a reason of the provider, from what OpenSSL prints: `error:40000005`, also with
/// all that follows.
fn reason_number(asked: &str) -> Option<u32> {
    let word = asked
        .split(':')
        .find(|word| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let code = u32::from_str_radix(word, 16).ok()?;
    // A provider's library number has the highest of its eight bits; the reason has 23 bits.
    let is_providers = code & 0x4000_0000 != 0;
    is_providers.then_some(code & 0x007f_ffff)
}

/// A code of PKCS#11 by its name, with or without `CKR_`, or by its number.
fn pkcs11_code(asked: &str) -> Option<(u64, String)> {
    let hexadecimal = asked
        .strip_prefix("0x")
        .or_else(|| asked.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => asked.parse().ok(),
    };
    if let Some(number) = number {
        return pkcs11_name(number).map(|name| (number, name));
    }
    let name = asked.to_ascii_uppercase();
    let name = match name.starts_with("CKR_") {
        true => name,
        false => format!("CKR_{name}"),
    };
    // All codes of the standard are below.
    let mut all = (0..0x300).filter_map(|number| Some((number, pkcs11_name(number)?)));
    all.find(|(_, known)| *known == name)
}

fn pkcs11_name(number: u64) -> Option<String> {
    if let Some((_, name)) = UNNAMED.iter().find(|(code, _)| *code == number) {
        return Some((*name).to_owned());
    }
    match Rv::from(number) {
        Rv::Ok => None,
        Rv::Error(error) => Some(code_name(&format!("{error:?}")))
            .filter(|name| !name.contains("VENDOR_DEFINED") && !name.contains("UNKNOWN")),
    }
}

/// `PinIncorrect` is CKR_PIN_INCORRECT.
pub(crate) fn code_name(words: &str) -> String {
    let mut name = "CKR".to_owned();
    for letter in words.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// What to do about one of the service's codes.
pub(crate) fn remedy(code: &str) -> Option<String> {
    let found = by_code(code);
    let [one] = found.as_slice() else { return None };
    Some(one.row.remedy.clone())
}

/// What to do about a function of PKCS#11 that failed with a code.
pub(crate) fn pkcs11_remedy(function: &str, code: &str) -> String {
    let has = |row: &&Row, code: &str| row.codes.iter().any(|known| known == code);
    // That the configuration is at fault tells the function, whatever the code.
    let of_function = rows().iter().find(|row| has(row, function));
    let last = rows().iter().rfind(|row| has(row, code));
    of_function.or(last).map_or_else(
        || "'akv docs pkcs11#errors' says what the code means".to_owned(),
        |row| row.remedy.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found]) -> Vec<String> {
        let name = |one: &Found| one.code.clone().unwrap_or_else(|| one.row.name.clone());
        found.iter().map(name).collect()
    }

    /// Programs show a number where they know no name.
    #[test]
    fn each_code_that_the_documents_have_is_known_by_its_number() {
        let codes = rows().iter().flat_map(|row| &row.codes);
        for name in codes.filter(|code| code.starts_with("CKR_")) {
            let (number, _) = pkcs11_code(name).unwrap_or_else(|| panic!("{name}"));
            let found = names(&by_code(&format!("{number:#x}")));
            let shown = format!("{name} ({number:#x})");
            assert!(
                found.iter().any(|found| found.starts_with(&shown)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_code_of_pkcs11_is_known_by_name_and_number() {
        for asked in [
            "CKR_PIN_INCORRECT",
            "pin_incorrect",
            "0xa0",
            "0xA0",
            "160",
            "0x000000a0",
        ] {
            assert_eq!(
                names(&by_code(asked)),
                ["CKR_PIN_INCORRECT (0xa0)"],
                "{asked}"
            );
        }
        let found = names(&by_code("CKR_FUNCTION_FAILED"));
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], "CKR_FUNCTION_FAILED (0x6) from C_Initialize");
        let host_memory = Some((2, "CKR_HOST_MEMORY".to_owned()));
        assert_eq!(pkcs11_code("CKR_HOST_MEMORY"), host_memory);
        assert_eq!(pkcs11_code("CKR_NO_SUCH_CODE"), None);
        assert_eq!(pkcs11_code("0xffffffffffffffffffff"), None);
    }

    #[test]
    fn a_reason_of_the_provider_is_known_by_text_and_number() {
        let expected = ["5 forbidden by the HSM"];
        for asked in ["forbidden by the HSM", "error:40000005", "40000005"] {
            assert_eq!(names(&by_code(asked)), expected, "{asked}");
        }
        // Of OpenSSL's own libraries.
        assert_eq!(reason_number("error:0A000086"), None);
    }

    #[test]
    fn what_a_program_prints_is_looked_for_in_the_tables() {
        let line = "nginx: [emerg] cannot load certificate key \"managedhsm:a:b\": PEM_read_bio_PrivateKey() failed \
                    (SSL: error:40000004:akv_provider::not found in the HSM: load key managedhsm:a:b: the HSM answered \
                    HTTP 404 KeyNotFound: Key not found";
        let found = names(&in_text(line));
        let is_there = |name: &str| found.iter().any(|found| found.contains(name));
        assert!(
            is_there("not found in the HSM") && is_there("KeyNotFound"),
            "{found:?}"
        );
        assert!(in_text("a fine day").is_empty());
    }

    #[test]
    fn why_the_hsm_is_not_reached_tells_one_row_and_then_the_reason() {
        let line = "error:40000007:akv_provider::HSM not reachable:crates/hsm-module/src/x.rs:1:load key managedhsm:a:b: ";
        let refused = "can't reach https://localhost:1: tcp connect error: Connection refused (os error 111): nothing \
                       listens there; check the address";
        let expected = "can't reach … refused";
        assert_eq!(names(&meant(refused)), [expected]);
        let found = names(&meant(&format!("{line}{refused}")));
        assert_eq!(found, [expected, "7 HSM not reachable"]);
        assert_eq!(names(&meant("error:40000007")), ["7 HSM not reachable"]);
        let dns = "can't reach https://h.invalid: dns error: failed to lookup address information: Name or service not known";
        let found = names(&meant(dns));
        assert!(found.len() == 1 && found[0].contains("lookup"), "{found:?}");
    }

    #[test]
    fn the_configurations_remedy_is_that_of_the_function() {
        let remedy = pkcs11_remedy("C_Initialize", "CKR_FUNCTION_FAILED");
        assert!(remedy.contains("configuration file"), "{remedy}");
        let remedy = pkcs11_remedy("C_Sign", "CKR_FUNCTION_FAILED");
        assert!(remedy.contains("what the message says"), "{remedy}");
        let remedy = pkcs11_remedy("C_Login", "CKR_PIN_EXPIRED");
        assert!(remedy.contains("az ad app credential reset"), "{remedy}");
        let remedy = pkcs11_remedy("C_Login", "CKR_NO_SUCH_CODE");
        assert!(remedy.contains("akv docs pkcs11"), "{remedy}");
    }
}
