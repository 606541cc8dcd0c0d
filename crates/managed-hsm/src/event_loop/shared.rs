//! What an event loop shares with its tasks, and which loop a thread runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::interests::{Patience, Watched};
use super::wake::WakeUp;

pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// The loop that this thread runs. It is never dropped, so that requests can be made where the
    /// thread's variables have gone, as in functions of atexit(3): who enters a loop leaves it.
    static CURRENT: ManuallyDrop<RefCell<Option<Arc<Shared>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

/// What an event loop, its tasks and those who wake it have in common.
pub(crate) struct Shared {
    pub(super) wake: WakeUp,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Tasks that the loop doesn't have yet.
    pub(super) spawned: Vec<Task>,
    /// By the time, and a number that tells two of the same time apart.
    pub(super) timers: BTreeMap<(Instant, u64), Waker>,
    pub(super) last_timer: u64,
    /// Sockets that are waited for.
    pub(super) watched: Vec<Arc<Watched>>,
    pub(super) patience: Patience,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake.wake();
    }
}

/// This thread runs a loop until this goes; then the one that it ran before, if any.
pub(super) struct Entered(Option<Arc<Shared>>);

impl Entered {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(CURRENT.with(|current| current.replace(Some(Arc::clone(shared)))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

/// The loop that this thread runs. Only what runs in one asks.
pub(super) fn current() -> Arc<Shared> {
    CURRENT
        .with(|current| current.borrow().clone())
        .expect("sockets and timers are used within an event loop")
}
