//! What to type instead of what people know from the command lines of Azure, AWS, Google and
//! others.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use managed_hsm::{KeyUri, StoreUri};

use crate::Arguments;

/// Commands that people try, and what does the same.
const COMMANDS: [(&[&str], &str); 26] = [
    (
        &["assignment"],
        "'akv roles list', 'assign' and 'remove' are for assignments",
    ),
    (
        &["definition"],
        "'akv roles list --definitions', 'define' and 'undefine' are for definitions",
    ),
    (
        &["keyvault", "az", "kms", "key-vault"],
        "akv has no such group: akv keys, akv roles, akv sign and so on; akv help lists all",
    ),
    (
        &["list-deleted"],
        "akv keys list managedhsm:<HSM> --deleted",
    ),
    (
        &["show-deleted"],
        "akv keys list managedhsm:<HSM> --deleted",
    ),
    (
        &["list-versions", "versions"],
        "akv keys list managedhsm:<HSM>:<key>",
    ),
    (&["list-keys"], "akv keys list managedhsm:<HSM>"),
    (
        &[
            "create-key",
            "generate",
            "generate-key",
            "keygen",
            "new",
            "add",
        ],
        "akv keys create managedhsm:<HSM>:<key> --type ec --curve P-256",
    ),
    (
        &["delete-key", "schedule-key-deletion"],
        "akv keys delete managedhsm:<HSM>:<key>",
    ),
    (
        &["describe-key", "get-key"],
        "akv keys show managedhsm:<HSM>:<key>",
    ),
    (
        &["enable", "enable-key"],
        "akv keys set managedhsm:<HSM>:<key> --enabled",
    ),
    (
        &["disable", "disable-key"],
        "akv keys set managedhsm:<HSM>:<key> --disabled",
    ),
    (
        &["get-public-key", "pubkey", "export"],
        "akv keys public managedhsm:<HSM>:<key>",
    ),
    (
        &["generate-random", "get-random-bytes", "rng"],
        "akv random managedhsm:<HSM> --bytes 32",
    ),
    (
        &["login", "logout"],
        "'az login' logs in, 'akv token' says who has",
    ),
    (
        &["account", "whoami", "get-access-token"],
        "akv token says who logs in, and until when",
    ),
    (
        &["configure", "init", "configuration"],
        "akv config enable turns the provider on, akv env prints a configuration; 'akv docs configuration' has the settings",
    ),
    (
        &["status", "test", "ping", "diagnose"],
        "akv doctor managedhsm:<HSM>:<key>",
    ),
    (&["benchmark", "speed"], "akv bench managedhsm:<HSM>:<key>"),
    (
        &["certificate", "req", "x509", "selfsigned", "request"],
        "akv cert self-signed, or akv cert csr for a request",
    ),
    (
        &["ca"],
        "akv cert self-signed --ca makes a CA, akv cert sign has it sign",
    ),
    (&["security-domain"], "az keyvault security-domain has it"),
    (
        &["secret", "secrets"],
        "an HSM has keys alone; az keyvault secret is for secrets",
    ),
    (&["error", "why"], "akv explain <CODE>"),
    (&["completion", "autocomplete"], "akv completions bash"),
    (&["version"], "akv --version"),
];

/// Options that people try, and what does the same.
const OPTIONS: [(&[&str], &str); 13] = [
    (
        &[
            "--pem-file",
            "--byok-file",
            "--file",
            "-f",
            "--in",
            "--input",
            "--pem-string",
        ],
        "a file to read stands by itself behind the key: <URI> <FILE>; one to write is --out FILE",
    ),
    (
        &[
            "--value",
            "--text",
            "--message",
            "--plaintext",
            "--ciphertext-blob",
        ],
        "give a file in its place; - is standard input",
    ),
    (
        &["--protection", "-p"],
        "keys of an HSM are in it always; of a key vault, with --hsm",
    ),
    (
        &["--exportable", "--policy"],
        "a key with --release-policy FILE is exportable",
    ),
    (
        &[
            "--subscription",
            "--resource-group",
            "-g",
            "--region",
            "--location",
            "-l",
        ],
        "an HSM is named by managedhsm:<HSM>; nothing more is needed",
    ),
    (
        &["--format", "--output-format"],
        "-o table, json, tsv, yaml or none",
    ),
    (&["--filter", "--jmespath"], "--query '[?enabled].name'"),
    (
        &["--maxresults", "--max-items"],
        "all are listed; --query '[:10]' takes ten",
    ),
    (&["--key-size", "--bits"], "--size 3072"),
    (
        &["--key-type", "--key-spec", "--alg"],
        "--type rsa --size 3072, or --type ec --curve P-256",
    ),
    (&["--signing-algorithm", "-a"], "--algorithm PS256"),
    (&["--tags"], "--tag owner=me --tag project=x"),
    (
        &["--role-name", "--principal-id"],
        "--role 'Managed HSM Crypto User' --assignee <object id>",
    ),
];

/// The options by which Azure's command line names keys.
const NAMING: [&str; 10] = [
    "--name",
    "-n",
    "--hsm-name",
    "--vault-name",
    "--id",
    "--key",
    "--key-id",
    "--hsm",
    "--vault",
    "--keyring",
];

/// How a key is named here.
pub(crate) const FORMS: &str = "a key is named by its URI, managedhsm:<HSM>:<key> or keyvault:<vault>:<key>, an HSM by managedhsm:<HSM>";

/// What to type instead, where that is known.
pub(crate) fn tip(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let words = words.iter().skip(1).map(|word| word.to_string_lossy());
    let words: Vec<String> = words.map(|word| word.into_owned()).collect();
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => of_command(text(ContextKind::InvalidSubcommand)?, &words),
        ErrorKind::UnknownArgument => of_argument(text(ContextKind::InvalidArg)?, &words),
        ErrorKind::ValueValidation => {
            let (argument, value) = (ContextKind::InvalidArg, ContextKind::InvalidValue);
            of_value(text(argument)?, text(value)?, &words)
        }
        ErrorKind::InvalidValue => of_choice(
            text(ContextKind::InvalidArg)?,
            text(ContextKind::InvalidValue)?,
        ),
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => of_missing(missing),
            _ => None,
        },
        _ => None,
    }
}

fn known(table: &'static [(&[&str], &str)], word: &str) -> Option<&'static str> {
    let found = table.iter().find(|(known, _)| known.contains(&word));
    found.map(|(_, tip)| *tip)
}

fn of_command(word: &str, words: &[String]) -> Option<String> {
    let root = Arguments::command();
    // What stands behind 'keyvault' is mostly a command of akv's.
    let rest = words.iter().skip_while(|one| *one != word).skip(1);
    let rest: Vec<&str> = rest.map(String::as_str).take(2).collect();
    if let ("keyvault", [group, verb]) = (word, rest.as_slice())
        && root
            .find_subcommand(group)
            .is_some_and(|group| is_command(group, verb))
    {
        return Some(format!("akv {group} {verb} managedhsm:<HSM>"));
    }
    if let Some(tip) = known(&COMMANDS, word) {
        return Some(tip.to_owned());
    }
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

fn of_argument(word: &str, words: &[String]) -> Option<String> {
    let option = word.split('=').next().unwrap_or(word);
    if NAMING.contains(&option) {
        let named = by_options(words);
        let named = named.map(|uri| format!("{uri} instead of such options"));
        return Some(named.unwrap_or_else(|| FORMS.to_owned()));
    }
    if let Some(tip) = known(&OPTIONS, option) {
        return Some(tip.to_owned());
    }
    match word {
        "true" | "false" => Some("--enabled and --disabled have no value".to_owned()),
        "sign" | "verify" | "encrypt" | "decrypt" | "wrapKey" | "unwrapKey" => {
            Some("several operations are separated by commas: --operations sign,verify".to_owned())
        }
        _ if !word.starts_with('-') && word.contains('=') => {
            Some(format!("each tag has its own option: --tag {word}"))
        }
        _ => None,
    }
}

/// The URI that the options of Azure's command line mean.
fn by_options(words: &[String]) -> Option<String> {
    let value = |names: &[&str]| {
        words.iter().enumerate().find_map(|(at, word)| {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                None => (word.as_str(), words.get(at + 1).map(String::as_str)),
            };
            names.contains(&option).then_some(value).flatten()
        })
    };
    let whole = match (
        value(&["--id", "--key-id"]),
        value(&["--name", "-n", "--key"]),
    ) {
        (Some(id), _) => id.to_owned(),
        (None, name) => {
            let vault = match (
                value(&["--hsm-name", "--hsm"]),
                value(&["--vault-name", "--vault"]),
            ) {
                (Some(hsm), _) => format!("managedhsm:{hsm}"),
                (None, vault) => format!("keyvault:{}", vault?),
            };
            let version = value(&["--version"]);
            let version = version.map_or_else(String::new, |it| format!("?version={it}"));
            match name {
                Some(name) => format!("{vault}:{name}{version}"),
                None => vault,
            }
        }
    };
    whole.parse::<StoreUri>().ok().map(|_| whole)
}

/// A name without its scheme, or what stands where a key belongs.
fn of_value(argument: &str, value: &str, words: &[String]) -> Option<String> {
    // No option takes a key.
    if !argument.starts_with('<') {
        return None;
    }
    let is_uri = |text: &str| text.parse::<StoreUri>().is_ok();
    if is_uri(value) {
        return None;
    }
    let other = words.iter().find(|word| *word != value && is_uri(word));
    if let Some(uri) = other {
        return Some(format!("the key comes first: {uri} {value}"));
    }
    let whole = format!("managedhsm:{value}");
    let is_key = whole.parse::<KeyUri>().is_ok();
    match (is_key, is_uri(&whole), argument) {
        (false, true, "<URI>") => Some(format!("managedhsm:<HSM>:{value}")),
        (true, ..) | (_, true, _) => Some(whole),
        _ => None,
    }
}

/// A word where there are others.
fn of_choice(option: &str, value: &str) -> Option<String> {
    if option.starts_with("--output") {
        return Some(format!(
            "the form is table, json, tsv, yaml or none; a file to write is --out {value}"
        ));
    }
    if !option.starts_with("--type") && !option.starts_with("--curve") {
        return None;
    }
    let value = value.to_ascii_lowercase();
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let is_of = |sizes: &[&str]| sizes.contains(&digits.as_str());
    let curve = match value.ends_with('k') {
        true => format!("P-{digits}K"),
        false => format!("P-{digits}"),
    };
    match option.starts_with("--type") {
        true if value.contains("rsa") && is_of(&["2048", "3072", "4096"]) => {
            Some(format!("--type rsa --size {digits}"))
        }
        true if value.contains("aes") && is_of(&["128", "192", "256"]) => {
            Some(format!("--type oct --size {digits}"))
        }
        _ if is_of(&["256", "384", "521"]) => Some(format!("--type ec --curve {curve}")),
        _ => None,
    }
}

fn of_missing(missing: &[String]) -> Option<String> {
    let names_a_key =
        |name: &String| ["<URI>", "<WHAT>", "<HSM>", "<HSM OR VAULT>"].contains(&name.as_str());
    missing.iter().any(names_a_key).then(|| FORMS.to_owned())
}
