//! What is said of a command line that is none: clap's words, fit to show, with what to type in the
//! place of what people know from Azure's command line.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use managed_hsm::StoreUri;
use serde_json::Value;

use crate::Arguments;
use crate::failure::{Ending, Failure};
use crate::output::one_line;
use crate::render;

/// Commands of Azure's command line and others that people try, and what does the same.
const COMMANDS: [(&str, &str); 12] = [
    (
        "assignment",
        "'akv roles list', 'assign' and 'remove' are for assignments",
    ),
    (
        "definition",
        "'akv roles list --definitions', 'define' and 'undefine' are for definitions",
    ),
    ("download", PUBLIC_KEY),
    (
        "encrypt",
        "the public key encrypts, without the HSM: openssl pkeyutl -encrypt -pubin; 'akv wrap' wraps keys",
    ),
    ("list-deleted", "akv keys list managedhsm:<HSM> --deleted"),
    ("list-versions", "akv keys list managedhsm:<HSM>:<key>"),
    ("login", "'az login' logs in, 'akv token' says who has"),
    ("public", PUBLIC_KEY),
    ("rotation-policy", "az keyvault key rotation-policy has it"),
    ("security-domain", "az keyvault security-domain has it"),
    ("show-deleted", "akv keys list managedhsm:<HSM> --deleted"),
    ("version", "akv --version"),
];

const PUBLIC_KEY: &str =
    "openssl pkey -provider akv_provider -provider default -in managedhsm:<HSM>:<key> -pubout";

/// The options by which Azure's command line names keys.
const NAMING: [&str; 6] = [
    "--name",
    "-n",
    "--hsm-name",
    "--vault-name",
    "--id",
    "--key",
];

/// How a key is named here.
const FORMS: &str = "a key is named by its URI, managedhsm:<HSM>:<key> or keyvault:<vault>:<key>, an HSM by managedhsm:<HSM>";

/// Tells what is wrong with a command line, or shows the help that it asks for. None: nothing is
/// wrong.
pub(crate) fn tell(error: clap::Error, words: &[OsString]) -> Option<Ending> {
    let is_failure = error.use_stderr();
    let error = fit_to_show(error);
    match is_failure && wants_json(words) {
        true => eprint!("{}", render::json(&json(&error))),
        // Nobody is left to tell that it can't be told.
        false => drop(error.print()),
    }
    is_failure.then_some(Ending::Usage)
}

/// Whether a command line that can't be read asks for JSON.
fn wants_json(words: &[OsString]) -> bool {
    let words = words.iter().map(|word| word.to_string_lossy());
    let words: Vec<String> = words.map(|word| word.to_ascii_lowercase()).collect();
    words.iter().enumerate().any(|(at, word)| {
        let next = words.get(at + 1).map_or("", String::as_str);
        match word.as_str() {
            "--json" => true,
            "-o" | "--output" => next.starts_with("json"),
            word => ["-ojson", "-o=json", "--output=json"]
                .iter()
                .any(|option| word.starts_with(option)),
        }
    })
}

/// The same as other failures have it.
fn json(error: &clap::Error) -> Value {
    let text = error.to_string();
    let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let tips = rest.lines();
    let tips = tips.filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let remedy = Some(tips.collect::<Vec<_>>().join("; "));
    let remedy = remedy.filter(|remedy| !remedy.is_empty());
    let mut told = Failure::usage(message.trim_start_matches("error: ")).json();
    told["error"]["remedy"] = remedy.into();
    told
}

/// What was typed may have come from elsewhere: it is shown in one line, like all else. Usage and
/// help are clap's own.
fn fit_to_show(mut error: clap::Error) -> clap::Error {
    let typed = error.context().filter_map(|(kind, value)| {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(one_line(text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| one_line(text)).collect())
            }
            ContextValue::StyledStrs(texts) => {
                let texts = texts.iter().map(|text| one_line(&text.to_string()));
                ContextValue::StyledStrs(texts.map(StyledStr::from).collect())
            }
            _ => return None,
        };
        Some((kind, value))
    });
    for (kind, value) in typed.collect::<Vec<_>>() {
        error.insert(kind, value);
    }
    if let Some(tip) = tip(&error) {
        // They are about words that look alike.
        for guess in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
            error.remove(guess);
        }
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

/// What to type instead, where that is known.
fn tip(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => of_command(text(ContextKind::InvalidSubcommand)?),
        ErrorKind::UnknownArgument => of_argument(text(ContextKind::InvalidArg)?),
        ErrorKind::ValueValidation => of_value(text(ContextKind::InvalidValue)?),
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => of_missing(missing),
            _ => None,
        },
        _ => None,
    }
}

fn of_command(word: &str) -> Option<String> {
    if let Some((_, tip)) = COMMANDS.iter().find(|(known, _)| *known == word) {
        return Some((*tip).to_owned());
    }
    let root = Arguments::command();
    let groups = root
        .get_subcommands()
        .filter(|group| group.has_subcommands());
    let top = is_command(&root, word).then(|| format!("akv {word}"));
    let below = groups
        .filter(|group| is_command(group, word))
        .map(|group| format!("akv {} {word}", group.get_name()));
    let all: Vec<_> = top.into_iter().chain(below).collect();
    (!all.is_empty()).then(|| format!("it is part of another command: {}", all.join(", ")))
}

fn is_command(group: &Command, word: &str) -> bool {
    let found = group.find_subcommand(word);
    found.is_some_and(|command| !command.is_hide_set())
}

fn of_argument(word: &str) -> Option<String> {
    let option = word.split('=').next().unwrap_or(word);
    match word {
        _ if NAMING.contains(&option) => Some(FORMS.to_owned()),
        "true" | "false" => Some("--enabled and --disabled have no value".to_owned()),
        "sign" | "verify" | "encrypt" | "decrypt" | "wrapKey" | "unwrapKey" => {
            Some("several operations are separated by commas: --operations sign,verify".to_owned())
        }
        _ => None,
    }
}

/// A name without its scheme.
fn of_value(value: &str) -> Option<String> {
    let whole = format!("managedhsm:{value}");
    let is_schemeless = value.parse::<StoreUri>().is_err() && whole.parse::<StoreUri>().is_ok();
    is_schemeless.then_some(whole)
}

fn of_missing(missing: &[String]) -> Option<String> {
    let names_a_key =
        |name: &String| ["<URI>", "<WHAT>", "<HSM>", "<VAULT>"].contains(&name.as_str());
    missing.iter().any(names_a_key).then(|| FORMS.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn told(line: &[&str]) -> String {
        let words = ["akv"].iter().chain(line);
        match Arguments::try_parse_from(words) {
            Ok(_) => "taken".to_owned(),
            Err(error) => fit_to_show(error).to_string(),
        }
    }

    #[test]
    fn what_azures_command_line_has_is_answered_with_what_to_type() {
        for (line, tip) in [
            (&["keys", "create", "--name", "x"][..], FORMS),
            (&["keys", "show", "--id=https://x"], FORMS),
            (&["keys", "list"], FORMS),
            (&["roles", "list"], FORMS),
            (&["keys", "list", "MyHSM"], "tip: managedhsm:MyHSM\n"),
            (
                &["keys", "show", "MyHSM:web"],
                "tip: managedhsm:MyHSM:web\n",
            ),
            (&["keys", "list-deleted"], "--deleted"),
            (&["keys", "sign"], "another command: akv sign\n"),
            (
                &["list"],
                "akv keys list, akv roles list, akv settings list",
            ),
            (&["role", "assignment", "list"], "akv roles list"),
            (&["login"], "az login"),
            (&["version"], "akv --version"),
            (
                &["keys", "set", "managedhsm:MyHSM:web", "--enabled", "false"],
                "--disabled",
            ),
            (
                &[
                    "keys",
                    "set",
                    "managedhsm:MyHSM:web",
                    "--ops",
                    "sign",
                    "verify",
                ],
                "sign,verify",
            ),
        ] {
            let told = told(line);
            assert!(told.contains(tip), "{line:?}: {told}");
            assert_eq!(told.matches("tip:").count(), 1, "{line:?}: {told}");
        }
        // A slip of the finger is clap's, and a value that is no name gets no advice.
        assert!(told(&["keys", "delet"]).contains("'delete'"));
        let told = told(&["keys", "list", "https://x.example\u{1b}[2J"]);
        assert!(!told.contains("tip:") && !told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn azures_names_are_taken() {
        let key = "managedhsm:MyHSM:web";
        for line in [
            &["key", "create", key, "--kty", "EC-HSM", "--curve", "p-256"][..],
            &[
                "key",
                "create",
                key,
                "--kty",
                "oct-HSM",
                "--ops",
                "wrapKey,unwrapKey",
            ],
            &[
                "keys",
                "create",
                key,
                "--type",
                "ec",
                "--curve",
                "secp256k1",
            ],
            &["keys", "get", key, "-o", "json"],
            &["keys", "set-attributes", key, "--enabled"],
            &["keys", "delete", key, "-y"],
        ] {
            assert_eq!(told(line), "taken", "{line:?}");
        }
    }
}
