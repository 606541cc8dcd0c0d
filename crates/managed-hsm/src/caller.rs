//! The threads that ask: whether they may drive a connection, and how they wait if another thread
//! does.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Tells what the thread that asks is like.
pub trait Caller: Send + Sync {
    /// What the thread of the present call is like.
    fn kind(&self) -> CallerKind;

    /// Whether its stack is of the usual size.
    fn has_room(&self) -> bool {
        matches!(self.kind(), CallerKind::Thread)
    }
}

/// What a thread that asks is like.
pub enum CallerKind {
    /// It may block, and has a stack of the usual size: it drives a connection itself.
    Thread,
    /// Its stack may be too small for that: the I/O thread does it while the caller blocks.
    SmallStack,
    /// It runs a fibre that must not block its thread: the I/O thread does it while the caller does
    /// other things.
    Job(Box<dyn Job>),
}

/// A fibre that waits.
pub trait Job {
    /// What is to be called, on any thread, when there is something to resume the fibre for. It may
    /// be called after the fibre is gone.
    fn wake(&self) -> Box<dyn FnOnce() + Send>;

    /// Has the thread do other things until it resumes the fibre, perhaps without reason. Returns
    /// at once if it can't.
    fn pause(&self);
}

/// Ordinary threads.
pub(crate) struct Threads;

impl Caller for Threads {
    fn kind(&self) -> CallerKind {
        CallerKind::Thread
    }
}

/// How long a fibre that was resumed without reason blocks before it pauses again. Pausing may be
/// impossible, and a thread may resume its fibres in a circle: neither is to cost all of its time.
const BREATH: Duration = Duration::from_micros(500);

/// Where an answer is waited for. Shared, and never on the stack of a fibre, which may be gone when
/// the answer comes.
pub(crate) struct Slot<T> {
    outcome: Mutex<Option<Result<T, Error>>>,
    filled: Condvar,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            outcome: Mutex::new(None),
            filled: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<T, Error>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fill(&self, outcome: Result<T, Error>) {
        *self.lock() = Some(outcome);
        self.filled.notify_all();
    }

    /// Waits for the outcome. None: the deadline came first.
    pub(crate) fn wait(
        &self,
        job: Option<&dyn Job>,
        deadline: Instant,
    ) -> Option<Result<T, Error>> {
        let mut block = job.map_or(Duration::MAX, |_| Duration::ZERO);
        loop {
            let mut outcome = self.lock();
            if !block.is_zero() && outcome.is_none() {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.filled.wait_timeout(outcome, left.min(block));
                outcome = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if let Some(outcome) = outcome.take() {
                return Some(outcome);
            }
            drop(outcome);
            if Instant::now() >= deadline {
                return None;
            }
            if let Some(job) = job {
                job.pause();
                block = BREATH;
            }
        }
    }
}

/// Sees to it that a caller hears of its request even when the I/O thread ends before the request
/// does.
pub(crate) struct Completion<T> {
    slot: Option<Arc<Slot<T>>>,
    wake: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Completion<T> {
    pub(crate) fn new(slot: &Arc<Slot<T>>, job: Option<&dyn Job>) -> Self {
        Self {
            slot: Some(Arc::clone(slot)),
            wake: job.map(Job::wake),
        }
    }

    pub(crate) fn finish(mut self, outcome: Result<T, Error>) {
        self.fill(outcome);
    }

    fn fill(&mut self, outcome: Result<T, Error>) {
        if let Some(slot) = self.slot.take() {
            slot.fill(outcome);
        }
        if let Some(wake) = self.wake.take() {
            wake();
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        self.fill(Err(Error::Io(
            "its I/O thread ended before the request did; try again".to_owned(),
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Unpausable;

    impl Job for Unpausable {
        fn wake(&self) -> Box<dyn FnOnce() + Send> {
            Box::new(|| ())
        }

        fn pause(&self) {}
    }

    #[test]
    fn an_answer_is_found_however_it_is_waited_for() {
        for job in [None, Some(&Unpausable as &dyn Job)] {
            let slot = Slot::new();
            let filler = Arc::clone(&slot);
            let thread = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                filler.fill(Ok(7));
            });
            let deadline = Instant::now() + Duration::from_secs(60);
            assert!(matches!(slot.wait(job, deadline), Some(Ok(7))));
            thread.join().unwrap();
        }
    }

    #[test]
    fn nobody_waits_past_the_deadline() {
        for job in [None, Some(&Unpausable as &dyn Job)] {
            let slot = Slot::<()>::new();
            let deadline = Instant::now() + Duration::from_millis(5);
            assert!(slot.wait(job, deadline).is_none());
        }
    }
}
