//! Waking an event loop from other threads.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bell::Bell;

/// Whether a loop has to be woken, and how.
pub(super) struct WakeUp {
    state: AtomicU8,
    bell: Mutex<Option<Arc<Bell>>>,
}

/// The loop is at work, and nobody has woken it since it last looked.
const AWAKE: u8 = 0;
/// It is to look once more before it sleeps.
const WOKEN: u8 = 1;
/// It waits for sockets: a byte has to be sent.
const ASLEEP: u8 = 2;

impl WakeUp {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            state: AtomicU8::new(AWAKE),
            bell: Mutex::new(Some(Arc::new(Bell::new()?))),
        })
    }

    /// The loop is about to look at everything.
    pub(super) fn reset(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }

    /// Whether nobody has woken it since. It is asleep then.
    pub(super) fn may_sleep(&self) -> bool {
        let asleep = self
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        asleep.is_ok()
    }

    pub(super) fn wake(&self) {
        if self.state.swap(WOKEN, Ordering::SeqCst) == ASLEEP
            && let Some(bell) = &*self.lock()
        {
            bell.ring();
        }
    }

    /// What the loop waits for beside its sockets. None: the program has closed it, and there can't
    /// be another.
    pub(super) fn bell(&self) -> Option<Arc<Bell>> {
        self.lock().clone()
    }

    /// Makes another bell if the program has closed the present one.
    pub(super) fn look(&self) {
        let mut bell = self.lock();
        if !bell.as_ref().is_some_and(|bell| bell.is_ours()) {
            *bell = Bell::new().ok().map(Arc::new);
        }
    }

    /// Takes back that it was woken.
    pub(super) fn clear(&self, bell: &Bell) {
        if !bell.clear() {
            self.look();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Bell>>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
