//! A process in which a module is loaded. The module says why a call failed on standard error,
//! which is so seen here; what configures it are variables; and a module that crashes takes no
//! report with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Args;
use managed_hsm::{CredentialKind, environment};

use super::calls::{APPLICATION, Answer, Calls, FailedCall, Pin, SECRET, Task};
use super::module;
use crate::failure::Failure;
use crate::output::one_line;
use crate::{explain, standard_error};

/// The variable that names the module's configuration file.
const CONFIGURATION: &str = "MHSM_PKCS11_CONF";

/// The variable that selects a credential.
const SELECTION: &str = "AZURE_TOKEN_CREDENTIALS";

/// Variables of credentials. With one of them the module asks for no PIN.
const CREDENTIALS: [&str; 9] = [
    SELECTION,
    "AZURE_CLI_ACCESS_TOKEN",
    "AKV_TOKEN_FILE",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AKV_MANAGED_IDENTITY",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
];

/// What stands before a remedy.
pub(super) const ARROW: &str = "\n-> ";

/// What the module's lines on standard error begin with.
const MODULES_OWN: &str = "akv_pkcs11: ";

/// Begins the line with the slot that the lines after it are about.
pub(super) const ASKED_SLOT: &str = "akv asks slot ";

/// The module, and what configures it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// The module [default: the one beside akv, or where the package akv-pkcs11 or ubuntubuild.sh
    /// installs it]
    #[arg(long, value_name = "FILE")]
    pub(super) module: Option<PathBuf>,
    /// The module's configuration file [default: MHSM_PKCS11_CONF, else where the module looks for
    /// it]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// As whom the HSM is asked.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Identity {
    /// Ask as the managed identity of this machine
    #[arg(long)]
    pub(super) identity: bool,
    /// File with the PIN, for tokens that ask for one; - is standard input [default: that of
    /// MHSM_CLIENT_ID and MHSM_CLIENT_SECRET]
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    pub(super) pin_file: Option<PathBuf>,
}

impl Identity {
    /// The PIN, if there is one.
    pub(super) fn pin(&self) -> Result<Option<Pin>, Failure> {
        if self.identity {
            return Ok(None);
        }
        if let Some(file) = &self.pin_file {
            return Ok(Some(Pin::File(file.clone())));
        }
        let is_set = |name| environment::variable(name).is_some_and(|value| !value.is_empty());
        match (is_set(APPLICATION), is_set(SECRET)) {
            (true, true) => Ok(Some(Pin::Application)),
            (false, false) => Ok(None),
            (true, false) => Err(half(APPLICATION, SECRET)),
            (false, true) => Err(half(SECRET, APPLICATION)),
        }
    }
}

fn half(set: &str, missing: &str) -> Failure {
    Failure::usage(format!(
        "{set} is set and {missing} is not: set both, or neither"
    ))
}

/// What a module answered, and what it said.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) module: PathBuf,
    pub(super) answer: Answer,
    /// The module's lines on standard error.
    lines: Vec<Line>,
}

/// A line that a module has written.
#[derive(Debug)]
struct Line {
    /// The slot that was being asked, where there may be several.
    slot: Option<u64>,
    text: String,
}

impl Place {
    /// Has a module do a task. Failed calls are in the answer.
    pub(super) fn tell(&self, task: &Task, identity: &Identity) -> Result<Told, Failure> {
        let module = module::find(self.module.as_deref())?;
        let output = self.run(&module, task, identity)?;
        let answer = answer(&output);
        let mut lines = Vec::new();
        let mut slot = None;
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            if let Some(id) = line.strip_prefix(ASKED_SLOT) {
                slot = id.parse().ok();
            } else if let Some(own) = line.strip_prefix(MODULES_OWN) {
                let text = one_line(own);
                lines.push(Line { slot, text });
            } else if !matches!(task, Task::Start) {
                // The log, where it is on.
                standard_error::tell_line(one_line(line));
            }
        }
        let answer = answer.ok_or_else(|| {
            Failure::told(format!(
                "{} ended the process that had loaded it ({})",
                module.display(),
                output.status
            ))
        })?;
        Ok(Told {
            module,
            answer,
            lines,
        })
    }

    /// The same, where a failed call is a failure. Slots that could not be listed are told of.
    pub(super) fn ask(&self, task: &Task, identity: &Identity) -> Result<Told, Failure> {
        let told = self.tell(task, identity)?;
        if let Task::List { .. } = task {
            for failure in &told.answer.failed_slots {
                standard_error::tell_line(format_args!("akv: {}", told.failure(failure)));
            }
        }
        match &told.answer.failure {
            None => {
                told.warn();
                if identity.pin()?.is_some() && !told.answer.asks_for_pin() {
                    standard_error::tell_line(
                        "akv: the configuration has a credential, so the PIN was not asked for and not used",
                    );
                }
                Ok(told)
            }
            Some(failure) if identity.identity && told.lacks_identity() => {
                let told = told.failure(failure);
                let (cause, _) = told.split_once(ARROW).unwrap_or((&told, ""));
                Err(Failure::told(format!(
                    "{cause}{ARROW}leave --identity out, or run this where there is a managed identity, with its client \
                     id as MSIClientID in the configuration file if it is not the system-assigned one"
                )))
            }
            Some(failure) => Err(Failure::told(told.failure(failure))),
        }
    }

    fn run(&self, module: &Path, task: &Task, identity: &Identity) -> Result<Output, Failure> {
        if !environment::is_trusted() {
            return Err(Failure::told(
                "a program with raised rights starts no other: run akv as yourself",
            ));
        }
        let own = std::env::current_exe()
            .map_err(|error| Failure::told(format!("akv's own file is not known: {error}")))?;
        let mut command = Command::new(&own);
        command
            .args(Calls::arguments(module, task))
            .stdin(Stdio::inherit());
        for (name, value) in self.variables(task, identity)? {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .output()
            .map_err(|error| Failure::told(format!("{} does not run: {error}", own.display())))
    }

    /// What the module finds in its environment; None: not set.
    fn variables(
        &self,
        task: &Task,
        identity: &Identity,
    ) -> Result<Vec<(&'static str, Option<OsString>)>, Failure> {
        let mut variables = Vec::new();
        if let Some(file) = &self.config {
            variables.push((CONFIGURATION, Some(file.into())));
        }
        if identity.identity {
            let name = CredentialKind::ManagedIdentity.name();
            variables.push((SELECTION, Some(name.into())));
        } else if identity.pin()?.is_some() {
            variables.extend(CREDENTIALS.map(|name| (name, None)));
        }
        // Causes of failures are told on standard error unless there is a log, which is for
        // requests. Who only starts the module gets the log that a program would get.
        let is_off = match task {
            Task::Start => false,
            Task::Describe => true,
            _ => !has_log(),
        };
        if is_off {
            variables.push(("AKV_LOG_LEVEL", Some("off".into())));
            variables.push(("AKV_LOG_FILE", None));
        }
        Ok(variables)
    }
}

/// Whether the environment has a log written.
fn has_log() -> bool {
    let names = ["AKV_LOG_LEVEL", "AKV_LOG_FILE"];
    names
        .iter()
        .any(|name| environment::variable(name).is_some())
}

/// Whether a text names a key, and not only one whose name goes on.
fn names(text: &str, key: &str) -> bool {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    text.match_indices(key)
        .any(|(at, _)| !text[at + key.len()..].starts_with(is_of_name))
}

/// The answer is the last line of standard output: the log may be there, too.
fn answer(output: &Output) -> Option<Answer> {
    let text = std::str::from_utf8(&output.stdout).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}

impl Told {
    /// What a failed call comes to: the call, the cause, and what to do.
    pub(super) fn failure(&self, failure: &FailedCall) -> String {
        let Some(function) = &failure.function else {
            return format!("{}: {}", self.module.display(), one_line(&failure.problem));
        };
        let start = format!("{function}: ");
        let of_slot = |line: &&Line| match (line.slot, failure.slot) {
            (Some(said), Some(failed)) => said == failed,
            _ => true,
        };
        let lines = self.lines.iter().rev().filter(of_slot);
        let mut causes = lines.filter_map(|line| line.text.strip_prefix(&start));
        let cause = causes.find(|cause| failure.key.as_ref().is_none_or(|key| names(cause, key)));
        let cause = cause.map(str::to_owned).unwrap_or_else(|| {
            // What it said of other keys says nothing of this one.
            let others = match failure.key {
                Some(_) => String::new(),
                None => {
                    let lines = self.lines.iter().filter(of_slot);
                    lines.map(|line| &*line.text).collect::<Vec<_>>().join("; ")
                }
            };
            match others.is_empty() {
                true if has_log() => "the log says why".to_owned(),
                true => "the module says no more".to_owned(),
                false => others,
            }
        });
        let remedy = explain::pkcs11_remedy(function, &failure.problem);
        let place = match failure.slot {
            Some(slot) if self.answer.slots.len() > 1 => format!("slot {slot}: "),
            _ => String::new(),
        };
        let code = &failure.problem;
        format!("{place}{function}: {code}: {cause}{ARROW}{remedy}")
    }

    /// Whether there is no managed identity.
    fn lacks_identity(&self) -> bool {
        let name = CredentialKind::ManagedIdentity.name();
        self.lines.iter().any(|line| line.text.contains(name))
    }

    /// Hands on what the module said though all went well.
    fn warn(&self) {
        for line in self.problems().iter().chain(&self.warnings()) {
            standard_error::tell_line(format_args!("akv: {line}"));
        }
    }

    /// Why the module does not start, or a slot has no token.
    pub(super) fn problems(&self) -> Vec<String> {
        let causes = self.lines.iter().filter_map(|line| {
            let of_token = line.text.strip_prefix("C_GetTokenInfo: ");
            of_token.or_else(|| line.text.strip_prefix("C_Initialize: "))
        });
        causes.map(str::to_owned).collect()
    }

    /// All else that it said of its configuration. Of a token's mistake it speaks when it reads the
    /// file, and again when it is asked for the token.
    pub(super) fn warnings(&self) -> Vec<String> {
        let problems = self.problems();
        let others = self.lines.iter().map(|line| &line.text).filter(|line| {
            !line.starts_with("C_") && !problems.iter().any(|problem| problem.ends_with(*line))
        });
        others.cloned().collect()
    }
}
