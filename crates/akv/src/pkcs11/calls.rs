//! The calls of PKCS#11, made in a process of their own; see [`super::process`].

use std::cell::LazyCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use managed_hsm::environment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::objects::{self, KeyFacts, NewKey};
use super::process::ASKED_SLOT;
use super::sweep::{self, LeftBehind};
use crate::explain::code_name;
use crate::failure::Failure;
use crate::files;
use crate::output::Report;
use crate::standard_error;

/// Variables of the TLS Offload Library for the application that logs in, and its secret.
pub(super) const APPLICATION: &str = "MHSM_CLIENT_ID";
pub(super) const SECRET: &str = "MHSM_CLIENT_SECRET";

/// What is to be done.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Task {
    /// Say what there is, without asking the HSM.
    Describe,
    /// Start as in a program, with the log that the environment or the configuration file asks for.
    Start,
    /// List keys; a slot, or all that have a token.
    List { slot: Option<u64>, pin: Option<Pin> },
    /// Make a key pair.
    Create {
        slot: Option<u64>,
        pin: Option<Pin>,
        key: NewKey,
    },
    /// Delete keys of sessions that are left behind, made before a time in seconds since 1970; or
    /// only show them.
    Sweep {
        slot: Option<u64>,
        pin: Option<Pin>,
        before: u64,
        is_trial: bool,
    },
}

/// Where the PIN is, for tokens that ask for one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Pin {
    /// The application of [`APPLICATION`] and its secret.
    Application,
    /// A file that holds it.
    File(PathBuf),
}

/// A PIN that is read when the first token asks for it, and once: standard input has it only once.
type OnePin<'a> = LazyCell<ReadPin, Box<dyn FnOnce() -> ReadPin + 'a>>;
type ReadPin = Result<AuthPin, FailedCall>;

/// The attributes in which the module tells of its mechanisms, and of the versions of PKCS#11 that
/// it has.
const AKV_MECHANISMS: AttributeType = AttributeType::VendorDefined(0x8041_4b58);
const AKV_INTERFACES: AttributeType = AttributeType::VendorDefined(0x8041_4b59);

/// What came of it: all until a call failed.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Answer {
    pub(super) library: Option<Library>,
    pub(super) slots: Vec<SlotFacts>,
    pub(super) keys: Vec<KeyFacts>,
    pub(super) left_behind: Vec<LeftBehind>,
    /// Slots whose keys could not be looked for, where the others were.
    pub(super) failed_slots: Vec<FailedCall>,
    pub(super) failure: Option<FailedCall>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Library {
    pub(super) description: String,
    pub(super) version: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct SlotFacts {
    pub(super) id: u64,
    pub(super) description: String,
    pub(super) token: Option<TokenFacts>,
    /// The versions of PKCS#11 that the module has for it.
    pub(super) interfaces: Vec<String>,
    pub(super) mechanisms: Vec<MechanismFacts>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TokenFacts {
    pub(super) label: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) login_required: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct MechanismFacts {
    pub(super) name: String,
    /// Bits of keys, from and to; None: it has no key.
    pub(super) bits: Option<(usize, usize)>,
    pub(super) in_hsm: Vec<String>,
    pub(super) here: Vec<String>,
}

/// A call that failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct FailedCall {
    /// Its function; None: the module could not be loaded, or the task is not for it.
    pub(super) function: Option<String>,
    /// Its code, or what happened.
    pub(super) problem: String,
    /// The slot that was asked.
    pub(super) slot: Option<u64>,
    /// The key that it was about, by its name.
    pub(super) key: Option<String>,
}

impl FailedCall {
    fn told(problem: impl Into<String>) -> Self {
        Self {
            function: None,
            problem: problem.into(),
            slot: None,
            key: None,
        }
    }

    /// The same of a call that was about a key.
    pub(super) fn about(self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self
        }
    }

    fn in_slot(self, slot: Slot) -> Self {
        Self {
            slot: Some(slot.id()),
            ..self
        }
    }
}

impl From<Error> for FailedCall {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(code, function) => Self {
                function: Some(format!("C_{function:?}")),
                problem: code_name(&format!("{code:?}")),
                slot: None,
                key: None,
            },
            error => Self::told(error.to_string()),
        }
    }
}

/// Makes the calls of a task, and prints what came of it for `akv` itself.
#[derive(Args)]
pub(crate) struct Calls {
    module: PathBuf,
    task: String,
}

impl Calls {
    /// The arguments that have it do a task.
    pub(super) fn arguments(module: &Path, task: &Task) -> Vec<OsString> {
        let task = serde_json::to_string(task).unwrap_or_default();
        vec!["pkcs11".into(), "calls".into(), module.into(), task.into()]
    }

    pub(super) fn run(&self) -> Result<Report, Failure> {
        let task = serde_json::from_str(&self.task)
            .map_err(|error| Failure::told(format!("this is akv's own command: {error}")))?;
        let mut answer = Answer::default();
        if let Err(failure) = answer.fill(&self.module, &task) {
            answer.failure = Some(failure);
        }
        let json = serde_json::to_string(&answer)
            .map_err(|error| Failure::told(format!("the answer can't be written: {error}")))?;
        Ok(Report::new(format!("{json}\n"), serde_json::Value::Null))
    }
}

impl Answer {
    /// Whether a token asks for a PIN.
    pub(super) fn asks_for_pin(&self) -> bool {
        let mut tokens = self.slots.iter().filter_map(|slot| slot.token.as_ref());
        tokens.any(|token| token.login_required)
    }

    fn fill(&mut self, module: &Path, task: &Task) -> Result<(), FailedCall> {
        let pkcs11 = Pkcs11::new(module)?;
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let info = pkcs11.get_library_info()?;
        self.library = Some(Library {
            description: info.library_description().to_owned(),
            version: info.library_version().to_string(),
        });
        let is_whole = matches!(task, Task::Describe);
        for slot in pkcs11.get_all_slots()? {
            self.slots.push(slot_facts(&pkcs11, slot, is_whole)?);
        }
        match task {
            Task::Describe | Task::Start => {}
            Task::List { slot, pin } => {
                let (chosen, pin) = (self.chosen(*slot)?, Pin::once(pin.as_ref()));
                for slot in &chosen {
                    begin(*slot);
                    let session = self.session(&pkcs11, *slot, pin.as_ref());
                    let keys = session.and_then(|session| objects::keys(&session, slot.id()));
                    // What fails in one slot hides nothing of the others.
                    match keys {
                        Ok(keys) => self.keys.extend(keys),
                        Err(failure) => self.failed_slots.push(failure.in_slot(*slot)),
                    }
                }
                if self.failed_slots.len() == chosen.len() {
                    return Err(self.failed_slots.remove(0));
                }
            }
            Task::Create { slot, pin, key } => {
                let [slot] = self.chosen(*slot)?[..] else {
                    return Err(FailedCall::told(self.which_slot()));
                };
                let pin = Pin::once(pin.as_ref());
                let session = self.session(&pkcs11, slot, pin.as_ref())?;
                let made = objects::create(&session, slot.id(), key)?;
                self.keys.push(made);
            }
            Task::Sweep {
                slot,
                pin,
                before,
                is_trial,
            } => {
                let pin = Pin::once(pin.as_ref());
                for slot in self.chosen(*slot)? {
                    begin(slot);
                    let swept = self
                        .session(&pkcs11, slot, pin.as_ref())
                        .and_then(|session| sweep::sweep(&session, slot.id(), *before, *is_trial));
                    // What fails in one slot leaves nothing behind in the others.
                    match swept {
                        Ok(swept) => self.left_behind.extend(swept),
                        Err(failure) => self.failed_slots.push(failure.in_slot(slot)),
                    }
                }
            }
        }
        pkcs11.finalize()?;
        Ok(())
    }

    /// The slot that is asked for, else all that have a token.
    fn chosen(&self, slot: Option<u64>) -> Result<Vec<Slot>, FailedCall> {
        let slots: Vec<u64> = match slot {
            Some(id) => vec![id],
            None => {
                let tokens = self.slots.iter().filter(|slot| slot.token.is_some());
                tokens.map(|slot| slot.id).collect()
            }
        };
        if slots.is_empty() {
            return Err(FailedCall {
                function: Some("C_GetTokenInfo".to_owned()),
                problem: "CKR_TOKEN_NOT_PRESENT".to_owned(),
                slot: None,
                key: None,
            });
        }
        let slots = slots.into_iter().map(Slot::try_from);
        Ok(slots.collect::<Result<_, _>>()?)
    }

    fn which_slot(&self) -> String {
        let tokens = self.slots.iter().filter_map(|slot| {
            let token = slot.token.as_ref()?;
            Some(format!("{} ({})", slot.id, token.label))
        });
        format!(
            "there are several tokens: choose one with --slot: {}",
            tokens.collect::<Vec<_>>().join(", ")
        )
    }

    /// A session that may write, logged in where the token asks for that.
    fn session(
        &self,
        pkcs11: &Pkcs11,
        slot: Slot,
        pin: Option<&OnePin<'_>>,
    ) -> Result<Session, FailedCall> {
        let session = pkcs11.open_rw_session(slot)?;
        let facts = self.slots.iter().find(|facts| facts.id == slot.id());
        let token = facts.and_then(|facts| facts.token.as_ref());
        if token.is_some_and(|token| token.login_required) {
            let pin = pin.map(|pin| pin.as_ref().map_err(FailedCall::clone));
            session.login(UserType::User, pin.transpose()?)?;
        }
        Ok(session)
    }
}

/// What the module says from now on is about this slot.
fn begin(slot: Slot) {
    standard_error::tell_line(format_args!("{ASKED_SLOT}{}", slot.id()));
}

impl Pin {
    fn once(pin: Option<&Self>) -> Option<OnePin<'_>> {
        pin.map(|pin| LazyCell::new(Box::new(|| pin.read()) as Box<_>))
    }

    fn read(&self) -> ReadPin {
        let text = match self {
            Self::Application => {
                let variable = |name| {
                    let value = environment::variable(name);
                    value.and_then(|value| value.into_string().ok())
                };
                let secret = Zeroizing::new(variable(SECRET).unwrap_or_default());
                format!("{}:{}", variable(APPLICATION).unwrap_or_default(), *secret)
            }
            Self::File(path) => {
                let bytes =
                    files::read_text(path).map_err(|error| FailedCall::told(error.to_string()))?;
                let text = std::str::from_utf8(&bytes)
                    .map_err(|_| FailedCall::told(format!("{} is not UTF-8", path.display())))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        Ok(AuthPin::new(text.into_boxed_str()))
    }
}

fn slot_facts(pkcs11: &Pkcs11, slot: Slot, is_whole: bool) -> Result<SlotFacts, FailedCall> {
    let info = pkcs11.get_slot_info(slot)?;
    let mut facts = SlotFacts {
        id: slot.id(),
        description: info.slot_description().to_owned(),
        ..SlotFacts::default()
    };
    if !info.token_present() {
        // Has the module say why.
        let _ = pkcs11.get_token_info(slot);
        return Ok(facts);
    }
    let token = pkcs11.get_token_info(slot)?;
    facts.token = Some(TokenFacts {
        label: token.label().to_owned(),
        model: token.model().to_owned(),
        serial: token.serial_number().to_owned(),
        login_required: token.login_required(),
    });
    if is_whole {
        let session = pkcs11.open_ro_session(slot)?;
        facts.interfaces = own_words(&session, AKV_INTERFACES)?;
        facts.mechanisms = own_words(&session, AKV_MECHANISMS)?;
    }
    Ok(facts)
}

/// What the module says of itself in an attribute of its profiles, where the standard or the crate
/// cryptoki have no words for it.
fn own_words<T: DeserializeOwned>(
    session: &Session,
    attribute: AttributeType,
) -> Result<T, FailedCall> {
    let untold = || FailedCall::told("the module does not say what it can do: it is not akv's");
    let profiles = session.find_objects(&[Attribute::Class(ObjectClass::PROFILE)])?;
    let profile = *profiles.first().ok_or_else(untold)?;
    let values = session.get_attributes(profile, &[attribute])?;
    match values.first() {
        Some(Attribute::VendorDefined((_, json))) => {
            serde_json::from_slice(json).map_err(|_| untold())
        }
        _ => Err(untold()),
    }
}
