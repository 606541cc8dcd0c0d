//! Forks: none happens while a thread is in the middle of something of ours.
//!
//! A child has no thread but the one that forked. A lock that another one held at that moment stays
//! held in the child for ever, and not all of them are ours: AWS-LC has some for its random
//! generators, which it takes when a process ends, the C library for looking up names, a log for
//! its lines. So threads say when they are at work, and a fork waits for the end of that:
//! microseconds, mostly, since a thread that waits for an answer is not at work.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a fork waits at most: a look-up of a name may take seconds.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long work waits at most: whoever forks may have to wait, in a handler of its own, for the
/// thread that the work is of.
const LONGEST_FORK: Duration = Duration::from_millis(500);
/// How often it looks, and how often threads look whether it is over.
const LOOK: Duration = Duration::from_micros(20);

static GATE: Gate = Gate::new();

/// How many forks lie between the process that began and this one, as far as it knows of them.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// What tells a process that it is a child, where the C library doesn't: see [`watch`].
static MARK: OnceLock<&AtomicBool> = OnceLock::new();

thread_local! {
    /// How many [`Work`]s this thread has.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Tells a process from its children: the number differs from what it was before a fork, if the
/// child was told of it ([`after_fork_in_child`]) or has a mark that tells ([`watch`]).
pub fn generation() -> usize {
    if MARK.get().is_some_and(|mark| !mark.load(Ordering::Acquire)) {
        begin_child();
    }
    GENERATION.load(Ordering::Relaxed)
}

/// Gives this process a mark, which the kernel takes from each child that has a copy of its memory.
/// So one that was made by clone(2) itself is noticed, of which the C library tells nobody. Only
/// the first mark counts.
pub fn watch(mark: &'static AtomicBool) {
    mark.store(true, Ordering::Relaxed);
    let _ = MARK.set(mark);
}

/// This process is a child that has just begun. Where several of its threads notice it at the same
/// time they count it more than once, which does no harm.
fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    GATE.reset(own_work());
    if let Some(mark) = MARK.get() {
        mark.store(true, Ordering::Release);
    }
}

/// A process, told from all that it was forked from, whose state it has inherited. Its number alone
/// doesn't do that: whoever is number 1 may have a child that is number 1 of a PID namespace of its
/// own, and the number of a process that has ended is given again, perhaps to a grandchild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Tells what was forked without the C library's handlers, where there is no mark.
    number: u32,
    generation: usize,
}

impl ProcessId {
    /// This process.
    pub fn current() -> Self {
        Self {
            number: std::process::id(),
            generation: generation(),
        }
    }

    /// Another one, which this process was forked from.
    #[cfg(test)]
    pub(crate) fn of_a_parent() -> Self {
        Self {
            number: std::process::id(),
            generation: generation().wrapping_sub(1),
        }
    }

    /// Whether it is this process.
    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

/// This thread is at work until this goes.
pub struct Work {
    /// It stays on its thread.
    _thread: PhantomData<*const ()>,
}

impl Work {
    /// Waits for a fork that has begun.
    pub fn begin() -> Self {
        let depth = DEPTH.get();
        if depth == 0 {
            GATE.enter();
        }
        DEPTH.set(depth + 1);
        Self {
            _thread: PhantomData,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            GATE.leave();
        }
    }
}

/// This thread, which is at work, waits for events: that is none.
pub(crate) fn pause_work() {
    GATE.leave();
}

/// It goes on.
pub(crate) fn resume_work() {
    GATE.enter();
}

/// To be called by a thread that is about to fork.
pub fn before_fork() {
    let own = own_work();
    // What other handlers do on this thread doesn't wait for the fork.
    DEPTH.set(DEPTH.get() + 1);
    GATE.close(own);
}

/// To be called by it when it has forked.
pub fn after_fork_in_parent() {
    DEPTH.set(DEPTH.get() - 1);
    GATE.open();
}

/// To be called by the child.
pub fn after_fork_in_child() {
    DEPTH.set(DEPTH.get() - 1);
    begin_child();
}

/// A thread that forks may be at work itself: it starts a tool.
fn own_work() -> usize {
    usize::from(DEPTH.get() > 0)
}

/// What keeps forks and work apart. No lock, since that would be one more to be held in a child.
struct Gate {
    /// How many threads fork just now.
    forks: AtomicUsize,
    /// How many threads are at work.
    at_work: AtomicUsize,
    /// How long a fork waits at most.
    patience: Duration,
    /// How long work waits at most.
    longest_fork: Duration,
}

impl Gate {
    const fn new() -> Self {
        Self {
            forks: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            patience: PATIENCE,
            longest_fork: LONGEST_FORK,
        }
    }

    fn enter(&self) {
        self.at_work.fetch_add(1, Ordering::SeqCst);
        if !self.is_closed() {
            return;
        }
        let until = Instant::now() + self.longest_fork;
        while self.is_closed() && Instant::now() < until {
            self.leave();
            while self.is_closed() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
            self.at_work.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_closed(&self) -> bool {
        self.forks.load(Ordering::SeqCst) > 0
    }

    fn leave(&self) {
        let fewer = |at_work: usize| at_work.checked_sub(1);
        let _ = self
            .at_work
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
    }

    /// Waits until no more than `own` threads are at work, and lets none begin before
    /// [`Gate::open`].
    fn close(&self, own: usize) {
        self.forks.fetch_add(1, Ordering::SeqCst);
        let until = Instant::now() + self.patience;
        while self.at_work.load(Ordering::SeqCst) > own && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }

    fn open(&self) {
        self.forks.fetch_sub(1, Ordering::SeqCst);
    }

    /// Only this thread is there any more.
    fn reset(&self, own: usize) {
        self.at_work.store(own, Ordering::SeqCst);
        self.forks.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;

    use super::*;

    const SHORT: Duration = Duration::from_millis(10);
    /// Longer than any test takes.
    const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

    fn patient() -> Gate {
        Gate {
            patience: FOR_EVER,
            longest_fork: FOR_EVER,
            ..Gate::new()
        }
    }

    #[test]
    fn a_fork_waits_for_work() {
        let (gate, begun, is_over) = (patient(), Barrier::new(2), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.enter();
                begun.wait();
                std::thread::sleep(SHORT);
                is_over.store(true, Ordering::SeqCst);
                gate.leave();
            });
            begun.wait();
            gate.close(0);
            assert!(is_over.load(Ordering::SeqCst));
            gate.open();
        });
    }

    #[test]
    fn work_waits_for_a_fork() {
        let (gate, has_begun) = (patient(), AtomicBool::new(false));
        gate.close(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.enter();
                has_begun.store(true, Ordering::SeqCst);
            });
            std::thread::sleep(SHORT);
            assert!(!has_begun.load(Ordering::SeqCst));
            gate.open();
        });
        assert!(has_begun.load(Ordering::SeqCst));
    }

    #[test]
    fn a_thread_does_not_wait_for_itself_nor_long_for_another() {
        let gate = patient();
        gate.enter();
        gate.close(1);

        let gate = Gate::new();
        gate.enter();
        let began = Instant::now();
        gate.close(0);
        assert!(began.elapsed() >= PATIENCE);
    }

    #[test]
    fn work_does_not_wait_for_ever() {
        let gate = Gate::new();
        gate.close(0);
        gate.enter();
        assert_eq!(gate.at_work.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_other_handlers_do_does_not_wait_for_the_fork() {
        let waits = || {
            let began = Instant::now();
            before_fork();
            drop(Work::begin());
            after_fork_in_parent();
            assert_eq!(own_work(), 0);
            began.elapsed() >= LONGEST_FORK
        };
        // A busy machine may take that long once.
        assert!((0..5).any(|_| !waits()));
    }

    #[test]
    fn a_child_finds_the_gate_open() {
        let gate = Gate::new();
        gate.enter();
        gate.enter();
        gate.close(2);
        gate.reset(1);
        gate.enter();
        assert_eq!(gate.at_work.load(Ordering::SeqCst), 2);
    }
}
