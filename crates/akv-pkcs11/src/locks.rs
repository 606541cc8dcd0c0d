//! Locks that no child inherits while they are held: a fork waits for threads that are at work
//! ([`managed_hsm::forks`]). They are held for moments, never while the HSM is asked.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use managed_hsm::forks::Work;

/// What a lock protects, as long as it is held.
pub(crate) struct Locked<'a, T> {
    guard: MutexGuard<'a, T>,
    // Dropped last.
    _work: Work,
}

/// Waits for a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Locked<'_, T> {
    let work = Work::begin();
    Locked {
        guard: mutex.lock().unwrap_or_else(PoisonError::into_inner),
        _work: work,
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
