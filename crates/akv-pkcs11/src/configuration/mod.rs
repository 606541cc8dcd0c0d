//! What the module is told: by a configuration file, which may be the TLS Offload Library's
//! `mhsm-pkcs11.conf` as it is, and by the environment.

mod file;
mod json;
mod log;
mod mistakes;
mod probe;
mod section;
mod token;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hsm_module::process;
use managed_hsm::{ProviderSettings, Setting, Spelling, environment};

use self::mistakes::Mistakes;
use self::section::Section;
pub(crate) use self::token::{KeyPattern, TokenSettings, usual_application};
use crate::report;
use crate::token::credentials::is_plain;

/// The file's name, as the TLS Offload Library has it.
pub(crate) const FILE: &str = "mhsm-pkcs11.conf";
/// How it spells our keys.
pub(crate) const SPELLING: Spelling = Spelling::CamelCase;
/// The variable that names the file.
const VARIABLE: &str = "MHSM_PKCS11_CONF";

/// All that the module is told.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The process that has read it, and what the program said of where it is.
    process: usize,
    reserved: Option<String>,
    pub(crate) tokens: Vec<TokenSettings>,
    pub(crate) options: Arc<Options>,
}

/// What holds for all tokens.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How old what is known of keys may be.
    pub(crate) refresh: Duration,
    /// Whether random bytes come from the HSM.
    pub(crate) random_from_hsm: bool,
    /// Whether keys may be deleted.
    pub(crate) allow_delete: bool,
    /// Whether programs may have the HSM take in keys of theirs.
    pub(crate) allow_import: bool,
    /// Whether the HSM is asked to pad what it knows no hash function of.
    pub(crate) rsnull: bool,
    /// Whether a template that asks for what the HSM doesn't do is refused.
    pub(crate) strict_templates: bool,
    /// Whether a signature is checked before it is handed out.
    pub(crate) verify_signatures: bool,
    /// Whether a forked child has to initialise the module.
    pub(crate) is_strict_after_fork: bool,
    /// Whether new keys have their label as name; else the name is random.
    pub(crate) names_by_label: bool,
    /// Whether keys that live as long as a session are refused; else they are made in the HSM and
    /// deleted there.
    pub(crate) refuses_session_keys: bool,
    /// What becomes of a ciphertext of PKCS#1 v1.5 with a wrong padding.
    pub(crate) rsa_pkcs1_decrypt: RsaPkcs1Decrypt,
    /// Applications that a PIN may name: client id, and tenant if it is told.
    pub(crate) logins: HashMap<String, (String, Option<String>)>,
}

/// How the module decrypts by RSA with the padding of PKCS#1 v1.5, which an attacker may use as an
/// oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RsaPkcs1Decrypt {
    /// A wrong padding gives random bytes, the same for the same ciphertext.
    ImplicitRejection,
    /// A wrong padding is an error.
    Plain,
    /// Not at all.
    Deny,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(60),
            random_from_hsm: false,
            allow_delete: false,
            allow_import: false,
            rsnull: false,
            strict_templates: false,
            verify_signatures: true,
            is_strict_after_fork: false,
            names_by_label: false,
            refuses_session_keys: false,
            rsa_pkcs1_decrypt: RsaPkcs1Decrypt::ImplicitRejection,
            logins: HashMap::new(),
        }
    }
}

impl Configuration {
    /// Reads the file that `reserved`, a variable, or its usual place leads to; without one the
    /// environment alone says everything.
    ///
    /// # Errors
    /// What can't be used, and where it is.
    pub(crate) fn read(reserved: Option<&str>) -> Result<Self, String> {
        let (process, told) = (process::generation(), reserved.map(str::to_owned));
        let Some(path) = path(reserved)? else {
            log::start(None)?;
            let token = TokenSettings::of_environment()?;
            token.tell_problem();
            return Ok(Self {
                process,
                reserved: told,
                tokens: vec![token],
                options: Arc::new(Options::of_environment()?),
            });
        };
        let text = file::read(&path)?;
        let root = Section::parse(&path, &text)?;
        let mut mistakes = Mistakes::default();
        let of_log = mistakes.take_told(root.section("log"));
        mistakes.take(log::start(of_log.as_ref()));
        let (options, tokens) = read_all(&root, mistakes).map_err(|mistakes| mistakes.text())?;
        for problem in tokens.iter().filter_map(|token| token.problem.as_deref()) {
            report::warning(problem);
        }
        let configuration = Self {
            process,
            reserved: told,
            options: Arc::new(options),
            tokens,
        };
        // What comes after a problem in a token was not asked for.
        let is_whole = configuration
            .tokens
            .iter()
            .all(|token| token.problem.is_none());
        let unknown = root.unknown();
        if is_whole && !unknown.is_empty() {
            report::warning(&format!(
                "{}: ignored, since there are no such settings: {}",
                path.display(),
                unknown.join(", ")
            ));
        }
        Ok(configuration)
    }

    /// Whether a parent of this process has read it.
    pub(crate) fn is_inherited(&self) -> bool {
        self.process != process::generation()
    }

    /// Whether it is the one that is meant by what a program says of where it is.
    pub(crate) fn is_meant_by(&self, reserved: Option<&str>) -> bool {
        reserved.is_none() || reserved == self.reserved.as_deref()
    }
}

/// What a file says of all, and of each token.
///
/// # Errors
/// Something outside the tokens can't be used. What is wrong in a token is told with it then, and
/// else is the token's problem.
fn read_all(
    root: &Section,
    mut mistakes: Mistakes,
) -> Result<(Options, Vec<TokenSettings>), Mistakes> {
    let options = Options::read(root, &mut mistakes);
    token::check_top(root, &mut mistakes);
    let mut of_tokens = Mistakes::default();
    let tokens = token::read_all(root, &mut mistakes, &mut of_tokens);
    if !mistakes.are_none() {
        mistakes.extend(&of_tokens);
    }
    mistakes.unless_any((options, tokens))
}

/// Where the file is, if there is one.
fn path(reserved: Option<&str>) -> Result<Option<PathBuf>, String> {
    if let Some(text) = reserved.map(str::trim).filter(|text| !text.is_empty()) {
        let named = match text.split_once('=') {
            None => Some(text),
            Some(("conf" | "config" | "configuration", path)) => Some(path),
            Some(_) => None,
        };
        return match named {
            Some(path) => Ok(Some(path.into())),
            None => Err(format!(
                "pReserved holds '{}': expected the path of a configuration file, or conf=<path>",
                text.escape_debug()
            )),
        };
    }
    if let Some(path) = environment::variable(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(Some(path.into()));
    }
    let own = environment::variable("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty());
    let own = own.map(|folder| Path::new(&folder).join(FILE));
    let usual = own.into_iter().chain([Path::new("/etc").join(FILE)]);
    Ok(usual.into_iter().find(|path| path.exists()))
}

impl Options {
    fn of_environment() -> Result<Self, String> {
        let own = ProviderSettings::read(Setting::from_env).map_err(|error| error.to_string())?;
        Ok(Self {
            allow_delete: own.allow_delete,
            verify_signatures: own.verify_signatures,
            ..Self::default()
        })
    }

    fn read(root: &Section, mistakes: &mut Mistakes) -> Self {
        let mut options = mistakes.take(Self::of_environment()).unwrap_or_default();
        if let Some(seconds) = mistakes.take_told(root.number("refreshSeconds", 0..=86_400)) {
            options.refresh = Duration::from_secs(seconds);
        }
        let mut is_first = |key: &str, choices: [&str; 2]| {
            mistakes.take_told(root.choice(key, &choices)) == Some(0)
        };
        options.random_from_hsm = is_first("random", ["hsm", "local"]);
        options.names_by_label = is_first("keyNames", ["label", "random"]);
        options.refuses_session_keys = is_first("sessionKeys", ["refuse", "hsm"]);
        options.is_strict_after_fork = is_first("afterFork", ["strict", "continue"]);
        let decryptions = ["implicit-rejection", "plain", "deny"];
        let decryption = mistakes.take_told(root.choice("rsaPkcs1Decrypt", &decryptions));
        options.rsa_pkcs1_decrypt = match decryption {
            None | Some(0) => RsaPkcs1Decrypt::ImplicitRejection,
            Some(1) => RsaPkcs1Decrypt::Plain,
            Some(_) => RsaPkcs1Decrypt::Deny,
        };
        for (key, place) in [
            ("allowDelete", &mut options.allow_delete),
            ("allowImport", &mut options.allow_import),
            ("rsnull", &mut options.rsnull),
            ("strictTemplates", &mut options.strict_templates),
            ("verifySignatures", &mut options.verify_signatures),
        ] {
            if let Some(value) = mistakes.take_told(root.flag(key)) {
                *place = value;
            }
        }
        if let Some(logins) = mistakes.take_told(root.section("logins")) {
            for name in logins.names() {
                if let Some(login) = mistakes.take(login(&logins, &name)) {
                    options.logins.insert(name, login);
                }
            }
        }
        options
    }
}

/// The application that a PIN may name so, and its tenant if it is told.
fn login(logins: &Section, name: &str) -> Result<(String, Option<String>), String> {
    let login = logins
        .section(name)?
        .ok_or_else(|| logins.problem(name, "it is not an object with clientId and tenantId"))?;
    // What a PIN says before its first colon.
    if name.is_empty() || name.contains(':') {
        return Err(logins.problem(name, "no PIN can begin with such a name"));
    }
    let of_login = |key: &str, text: String| match is_plain(&text) {
        true => Ok(text),
        false => Err(login.problem(key, "it is no name or id of Entra ID")),
    };
    let client = of_login("clientId", login.required("clientId")?)?;
    let tenant = login.text("tenantId")?;
    let tenant = tenant.map(|tenant| of_login("tenantId", tenant));
    Ok((client, tenant.transpose()?))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use serde_json::{Value, json};

    use super::*;

    /// A file with a certificate, which has to be there.
    fn ca_file() -> &'static Path {
        static FILE: OnceLock<PathBuf> = OnceLock::new();
        FILE.get_or_init(|| {
            let path = std::env::temp_dir().join(format!("akv-ca-{}.pem", std::process::id()));
            let certificate = testing::Certificate::for_localhost().certificate;
            std::fs::write(&path, certificate.to_pem().unwrap()).unwrap();
            path
        })
    }

    /// A file with every key that there is.
    fn whole() -> Value {
        json!({
            "tokens": [{
                "slotid": 1, "protocol": "https://", "uri": "managedhsm.azure.net",
                "resourceName": "MyHSM", "resourceType": "mhsm", "label": "a label",
                "keys": ["one", "two-*"], "listing": "never", "showDisabled": true,
                "certificates": ["."], "certificateDirectory": "/nowhere/yet",
                "login": "required", "credential": "ManagedIdentityCredential",
                "clientId": "1", "tenantId": "2", "maxRetries": 3, "caFile": ca_file(),
            }],
            "msi": {"identityMSI": false, "MSIClientID": "", "enableIMDSCache": true},
            "options": {"DisableTLSAuthentication": false},
            "ConnectionCache": {"Disable": false, "MaxConnections": 20}, "maxConnections": 7,
            "logins": {"cu1": {"clientId": "1", "tenantId": "2"}},
            "refreshSeconds": 60, "random": "local", "keyNames": "random", "afterFork": "continue",
            "sessionKeys": "hsm", "rsaPkcs1Decrypt": "plain",
            "allowDelete": false, "allowImport": true, "rsnull": false, "strictTemplates": false,
            "verifySignatures": true,
        })
    }

    /// The configuration that a file comes to, or what is wrong with it.
    fn read(file: &Value) -> Result<(Options, Vec<TokenSettings>), String> {
        let root = Section::parse(Path::new("test.conf"), file.to_string().as_bytes())?;
        let read = read_all(&root, Mistakes::default());
        let (options, tokens) = read.map_err(|mistakes| mistakes.text())?;
        match tokens.iter().find_map(|token| token.problem.clone()) {
            Some(problem) => Err(problem),
            None => {
                assert_eq!(root.unknown(), [] as [&str; 0]);
                Ok((options, tokens))
            }
        }
    }

    /// The places of all values that are neither objects nor arrays of objects.
    fn leaves(value: &Value, place: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                leaves(value, &format!("{place}/{key}"), found);
            }),
            Value::Array(items) if items[0].is_object() => {
                leaves(&items[0], &format!("{place}/0"), found);
            }
            _ => found.push(place.to_owned()),
        }
    }

    #[test]
    fn a_value_of_another_kind_is_named_or_of_no_consequence() {
        let (options, tokens) = read(&whole()).unwrap();
        assert_eq!(
            options.logins["cu1"],
            ("1".to_owned(), Some("2".to_owned()))
        );
        assert_eq!((tokens[0].slot, tokens[0].never_lists), (1, true));
        let mut places = Vec::new();
        leaves(&whole(), "", &mut places);
        assert!(places.len() > 30, "{places:?}");
        let mut named = 0;
        for place in &places {
            for other in [
                json!(null),
                json!(-1),
                json!(1.5),
                json!("\u{0}\u{202e}"),
                json!(["x", 1]),
                json!({"x": 1}),
                json!(true),
            ] {
                let mut file = whole();
                *file.pointer_mut(place).expect("it is there") = other.clone();
                let Err(problem) = read(&file) else { continue };
                let key = place.rsplit('/').next().unwrap_or_default();
                let plain = |text: &str| text.replace('-', "").to_ascii_lowercase();
                assert!(
                    plain(&problem).contains(&plain(key)),
                    "{place} = {other}: {problem}"
                );
                assert!(!problem.contains('\u{202e}'), "{problem:?}");
                named += 1;
            }
        }
        assert!(named > 120, "{named}");
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let of_token = json!({
            "resourceName": "a_b", "resourceType": "disk", "protocol": "http://", "login": "x",
            "label": "123456789012345678901234567890123", "keys": "x", "listing": "no",
            "maxRetries": 1000, "connectTimeout": "soon", "certificates": 5,
            "certificateDirectory": 6, "showDisabled": 7, "uri": "a/b",
        });
        let of_all = json!({
            "refreshSeconds": -1, "random": "x", "keyNames": 1, "sessionKeys": 2, "afterFork": 5,
            "rsaPkcs1Decrypt": "no", "allowDelete": "yes", "allowImport": 1, "rsnull": 1,
            "strictTemplates": 1, "verifySignatures": 1, "maxConnections": "many", "hedging": "?",
            "logins": {"a:b": {}, "c": {}}, "msi": {"identityMSI": 1, "MSIClientID": 2},
            "ConnectionCache": {"Disable": 1}, "options": {"DisableTLSAuthentication": 1},
        });
        let names = |problem: &str, keys: &Value, elsewhere: &str| {
            for key in keys.as_object().unwrap().keys() {
                let count = problem.matches(&format!("{key}' in {elsewhere}")).count();
                let inner = problem.matches(&format!("{key}.")).count();
                assert!(count == 1 || inner > 0, "{key}: {problem}");
            }
        };
        let problem = read(&json!({"tokens": [of_token]})).unwrap_err();
        names(&problem, &of_token, "");
        let mut file = of_all.clone();
        file["tokens"] = json!([of_token, of_token]);
        let problem = read(&file).unwrap_err();
        names(&problem, &of_all, "test.conf");
        for place in [
            "tokens[0].label",
            "tokens[1].label",
            "'maxRetries' in tokens[1]",
        ] {
            assert!(problem.contains(place), "{place}: {problem}");
        }
    }

    #[test]
    fn a_file_that_is_nested_without_end_is_refused() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(Section::parse(Path::new("test.conf"), &deep).is_err());
    }

    #[test]
    fn a_path_is_told_as_it_is_or_as_a_setting() {
        for text in ["/a/b.conf", "conf=/a/b.conf", " config=/a/b.conf "] {
            assert_eq!(path(Some(text)).unwrap(), Some("/a/b.conf".into()));
        }
        assert!(
            path(Some("flags=readOnly"))
                .unwrap_err()
                .contains("conf=<path>")
        );
    }
}
