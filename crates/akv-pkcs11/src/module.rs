//! The module between `C_Initialize` and `C_Finalize`: its slots, sessions and handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use cryptoki_sys::{
    CK_SLOT_ID, CK_ULONG, CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_SLOT_ID_INVALID, CKR_TOKEN_NOT_PRESENT,
};
use hsm_module::process;

use crate::configuration::{Configuration, Options};
use crate::error::Error;
use crate::key_pairs;
use crate::sessions::Sessions;
use crate::token::Token;
use crate::token::objects::StoredKey;

static MODULE: ArcSwapOption<Module> = ArcSwapOption::const_empty();

/// What a parent has read, where this process has ended the module that it has from there.
static INHERITED: ArcSwapOption<Configuration> = ArcSwapOption::const_empty();

/// The module, initialised.
#[derive(Debug)]
pub(crate) struct Module {
    /// The process that has initialised it, and its number.
    process: usize,
    number: u32,
    configuration: Arc<Configuration>,
    pub(crate) options: Arc<Options>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) sessions: Sessions,
}

/// A slot, with a token in it unless its settings are of no use.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: CK_SLOT_ID,
    pub(crate) token: Result<Arc<Token>, String>,
}

/// Handles of sessions and objects. No handle is used twice, so one that was closed is never taken
/// for another.
static HANDLES: AtomicU64 = AtomicU64::new(1);

pub(crate) fn new_handle() -> CK_ULONG {
    HANDLES.fetch_add(1, Ordering::Relaxed)
}

/// The module. In a child it is the parent's, with its sessions and logins, until the child
/// initialises its own.
pub(crate) fn current() -> Result<Arc<Module>, Error> {
    MODULE
        .load_full()
        .filter(|module| module.is_own() || !module.options.is_strict_after_fork)
        .ok_or_else(|| Error::code(CKR_CRYPTOKI_NOT_INITIALIZED))
}

/// Whether this process has initialised the module.
pub(crate) fn is_initialized() -> bool {
    MODULE.load().as_ref().is_some_and(|module| module.is_own())
}

/// The configuration that a parent of this process has read for the module, also where this process
/// has ended that since.
pub(crate) fn inherited_configuration() -> Option<Arc<Configuration>> {
    let module = MODULE.load_full().filter(|module| !module.is_own());
    let of_module = module.map(|module| Arc::clone(&module.configuration));
    of_module.or_else(|| INHERITED.load_full())
}

/// Makes the module anew. What a child has from its parent is left as it is.
///
/// # Errors
/// Another thread was faster.
pub(crate) fn start(configuration: Arc<Configuration>) -> Result<(), Error> {
    let options = &configuration.options;
    let slots = configuration.tokens.iter().map(|settings| Slot {
        id: settings.slot,
        token: match &settings.problem {
            Some(problem) => Err(problem.clone()),
            None => Ok(Arc::new(Token::new(settings.clone(), Arc::clone(options)))),
        },
    });
    let made = Arc::new(Module {
        process: process::generation(),
        number: std::process::id(),
        slots: slots.collect(),
        sessions: Sessions::default(),
        options: Arc::clone(options),
        configuration,
    });
    let seen = MODULE.load_full();
    if seen.as_ref().is_some_and(|module| module.is_own()) {
        return Err(Error::code(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    let previous = MODULE.compare_and_swap(&seen, Some(made));
    match previous.as_ref().is_some_and(|module| module.is_own()) {
        true => Err(Error::code(CKR_CRYPTOKI_ALREADY_INITIALIZED)),
        false => Ok(()),
    }
}

/// Takes the module away. What a parent has read for it stays, for the next start: this process may
/// have lost the variables that lead to it, or the right to read it.
pub(crate) fn end() -> Option<Arc<Module>> {
    let current = MODULE.load_full();
    let kept = current.map(|module| Arc::clone(&module.configuration));
    INHERITED.store(kept.filter(|configuration| configuration.is_inherited()));
    MODULE.swap(None)
}

impl Module {
    /// Whether this process has initialised it, and not a parent.
    pub(crate) fn is_own(&self) -> bool {
        self.process == process::generation()
    }

    /// Whether no thread has ended it meanwhile.
    pub(crate) fn is_current(&self) -> bool {
        let current = MODULE.load();
        current
            .as_ref()
            .is_some_and(|current| std::ptr::eq(&**current, self))
    }

    /// Whether this process has made a key for a session, or a program has brought it to this
    /// process: a child leaves alone what its parent has made, also where it has its number.
    pub(crate) fn has_made(&self, key: &StoredKey) -> bool {
        let has_own_number = || self.number != std::process::id();
        let is_of_this = || key.maker().is_some_and(|maker| maker == key_pairs::maker());
        self.is_own() || key.hsm_id().is_none() || (has_own_number() && is_of_this())
    }

    pub(crate) fn slot(&self, id: CK_SLOT_ID) -> Result<&Slot, Error> {
        self.slots.iter().find(|slot| slot.id == id).ok_or_else(|| {
            let known = self.slots.iter().map(|slot| slot.id.to_string());
            let known: Vec<String> = known.collect();
            Error::because(
                CKR_SLOT_ID_INVALID,
                format!("there is no slot {id}; there are: {}", known.join(", ")),
            )
        })
    }

    /// The token in a slot.
    pub(crate) fn token(&self, id: CK_SLOT_ID) -> Result<&Arc<Token>, Error> {
        let token = &self.slot(id)?.token;
        token.as_ref().map_err(|problem| {
            Error::because(CKR_TOKEN_NOT_PRESENT, format!("slot {id}: {problem}"))
        })
    }
}
