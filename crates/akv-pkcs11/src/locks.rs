//! Locks that no child inherits while they are held: a fork waits for threads that are at work
//! ([`managed_hsm::forks`]). They are held for moments, never while the HSM is asked.
//!
//! A fork waits no longer than that module's patience. What is done under most of these locks is a
//! look-up, or the exchange of one value. Where more is done, the lock is one that a child makes
//! anew: [`OneAtATime`].

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use hsm_module::process;
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

/// Has threads do something one after the other that may take longer than a fork waits. There is
/// nothing under the lock that could be half done: the result is put in its place at once. So a
/// child, which the thread that held the lock is not in, has a lock of its own.
pub(crate) struct OneAtATime(ArcSwap<OfProcess>);

/// A process's lock.
struct OfProcess {
    process: usize,
    mutex: Mutex<()>,
}

impl OfProcess {
    fn new(process: usize) -> Arc<Self> {
        Arc::new(Self {
            process,
            mutex: Mutex::default(),
        })
    }
}

impl Default for OneAtATime {
    fn default() -> Self {
        Self(ArcSwap::new(OfProcess::new(process::generation())))
    }
}

impl OneAtATime {
    /// Does something once no other thread of this process does.
    pub(crate) fn run<R>(&self, act: impl FnOnce() -> R) -> R {
        let own = self.own();
        let _held = lock(&own.mutex);
        act()
    }

    /// This process's lock.
    fn own(&self) -> Arc<OfProcess> {
        let (current, process) = (self.0.load_full(), process::generation());
        if current.process == process {
            return current;
        }
        let own = OfProcess::new(process);
        let before = self.0.compare_and_swap(&current, Arc::clone(&own));
        // Another thread may have been faster.
        match Arc::ptr_eq(&before, &current) {
            true => own,
            false => Arc::clone(&before),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A child has the memory of its parent, and no thread that would let go of its locks.
    #[test]
    fn a_child_does_not_wait_for_a_thread_of_its_parent() {
        let parents = OfProcess::new(process::generation().wrapping_sub(1));
        let inherited = OneAtATime(ArcSwap::new(Arc::clone(&parents)));
        let _held = parents.mutex.lock().unwrap();
        assert_eq!(inherited.run(|| 1), 1);
        // From then on it has one of its own, and no other.
        let own = inherited.own();
        assert!(!Arc::ptr_eq(&own, &parents) && Arc::ptr_eq(&own, &inherited.own()));
        let _held = own.mutex.lock().unwrap();
        assert!(inherited.own().mutex.try_lock().is_err());
    }

    #[test]
    fn threads_do_it_one_after_the_other() {
        let (one_at_a_time, within) = (OneAtATime::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        one_at_a_time.run(|| {
                            assert_eq!(within.fetch_add(1, Ordering::SeqCst), 0);
                            within.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
    }
}
