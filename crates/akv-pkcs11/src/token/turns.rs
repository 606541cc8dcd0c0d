//! Threads that take turns.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hsm_module::process;

/// How often a thread looks whether it is its turn.
const LOOK: Duration = Duration::from_millis(1);

/// Has one thread at a time ask the HSM for something that the others then find. No lock, since a
/// child that is forked meanwhile would wait for ever.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The process whose thread has its turn, and one; 0: nobody has.
    taken: AtomicUsize,
}

/// A thread's turn, until this goes.
pub(crate) struct Turn<'a> {
    turns: Option<&'a Turns>,
}

impl Turns {
    /// Waits for a turn, not longer than told: whoever waits so long does without.
    pub(super) fn wait(&self, limit: Duration) -> Turn<'_> {
        let own = process::generation() + 1;
        let until = Instant::now() + limit;
        loop {
            let seen = self.taken.load(Ordering::Acquire);
            // The parent's thread isn't here.
            let is_free = seen != own;
            if is_free
                && self
                    .taken
                    .compare_exchange(seen, own, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return Turn { turns: Some(self) };
            }
            if Instant::now() >= until {
                return Turn { turns: None };
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(turns) = self.turns {
            turns.taken.store(0, Ordering::Release);
        }
    }
}
