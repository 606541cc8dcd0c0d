//! What is said of a command line that is none: clap's words, fit to show, with what to type.

use std::ffi::OsString;
use std::io::ErrorKind;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use serde_json::Value;

use crate::failure::{Ending, Failure};
use crate::output::one_line;
use crate::{render, standard_error, standard_output, tips};

/// Tells what is wrong with a command line, or shows the help that it asks for. None: nothing is
/// wrong.
pub(crate) fn tell(error: clap::Error, words: &[OsString]) -> Option<Ending> {
    let is_failure = error.use_stderr();
    let error = fit_to_show(error, words);
    if !is_failure {
        return show_help(&error);
    }
    match wants_json(words) {
        true => standard_error::tell(render::json(&json(&error))),
        // Nobody is left to tell that it can't be told.
        false => drop(error.print()),
    }
    Some(Ending::Usage)
}

/// Shows the help or the version, as other output.
fn show_help(help: &clap::Error) -> Option<Ending> {
    match standard_output::check().and_then(|()| help.print()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let failure = Failure::from(error);
            standard_error::tell_line(failure.text());
            Some(failure.ending())
        }
        _ => None,
    }
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
fn fit_to_show(mut error: clap::Error, words: &[OsString]) -> clap::Error {
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
    if let Some(tip) = tips::tip(&error, words) {
        // They are about words that look alike.
        for guess in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand] {
            error.remove(guess);
        }
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(one_line(&tip))]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Arguments;
    use crate::tips::FORMS;

    fn told(line: &[&str]) -> String {
        let words = ["akv"].iter().chain(line);
        let words: Vec<OsString> = words.map(OsString::from).collect();
        match Arguments::try_parse_from(&words) {
            Ok(_) => "taken".to_owned(),
            Err(error) => fit_to_show(error, &words).to_string(),
        }
    }

    #[test]
    fn what_azures_command_line_has_is_answered_with_what_to_type() {
        for (line, tip) in [
            (&["keys", "create", "--name", "x"][..], FORMS),
            (&["keys", "show", "--id=https://x"], FORMS),
            (
                &["keys", "show", "--hsm-name", "MyHSM", "-n", "web"],
                "tip: managedhsm:MyHSM:web instead of",
            ),
            (&["keys", "list"], FORMS),
            (&["roles", "list"], FORMS),
            (&["keys", "list", "MyHSM"], "tip: managedhsm:MyHSM\n"),
            (
                &["keys", "show", "MyHSM:web"],
                "tip: managedhsm:MyHSM:web\n",
            ),
            (&["keys", "list-deleted"], "--deleted"),
            (
                &["keys", "sign"],
                "another command: akv sign, akv cert sign\n",
            ),
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
