//! The time that a call of the program's has: whatever it asks the HSM for, and however many
//! requests that takes, is over by then.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static CALL: Cell<Call> = const { Cell::new(Call::None) };
}

/// The call that a thread is in.
#[derive(Clone, Copy)]
enum Call {
    /// It is in none, as a test's thread.
    None,
    /// It has not had to wait yet. Most calls never ask what time it is.
    Quick,
    /// It began to ask, or to wait for another thread, at that time.
    Began(Instant),
}

/// The time of a call, for a thread that does some of its work.
#[derive(Clone, Copy)]
pub(crate) struct CallTime(Call);

/// Runs `body` as one call.
pub(crate) fn within_one_call<R>(body: impl FnOnce() -> R) -> R {
    CallTime(Call::Quick).run(body)
}

/// When the call of this thread has to be over, that may take so long.
pub(crate) fn end(limit: Duration) -> Instant {
    let now = Instant::now();
    let began = match CALL.get() {
        Call::None => now,
        Call::Began(began) => began,
        Call::Quick => {
            CALL.set(Call::Began(now));
            now
        }
    };
    began + limit
}

/// What is left of that time.
pub(crate) fn left(limit: Duration) -> Duration {
    end(limit).saturating_duration_since(Instant::now())
}

impl CallTime {
    /// That of this thread's call, which has begun by now.
    pub(crate) fn current() -> Self {
        end(Duration::ZERO);
        Self(CALL.get())
    }

    /// Runs `body` in this time.
    pub(crate) fn run<R>(self, body: impl FnOnce() -> R) -> R {
        /// Also if `body` panics.
        struct Restored(Call);
        impl Drop for Restored {
            fn drop(&mut self) {
                CALL.set(self.0);
            }
        }
        let _restored = Restored(CALL.replace(self.0));
        body()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn all_that_one_call_asks_for_has_the_same_end_and_the_next_call_another() {
        let ends = || {
            within_one_call(|| {
                let first = end(LIMIT);
                std::thread::sleep(Duration::from_millis(2));
                let time = CallTime::current();
                let other = std::thread::scope(|scope| {
                    let thread = scope.spawn(|| time.run(|| end(LIMIT)));
                    thread.join().unwrap()
                });
                assert!(left(LIMIT) < LIMIT);
                [first, end(LIMIT), other]
            })
        };
        let [first, second] = [ends(), ends()];
        assert!(first[0] == first[1] && first[0] == first[2]);
        assert!(second[0] > first[0]);
        let outside = end(LIMIT);
        std::thread::sleep(Duration::from_millis(2));
        assert!(end(LIMIT) > outside);
    }

    #[test]
    fn a_call_that_panics_leaves_no_time_behind() {
        let panics = || -> Instant { panic!("a test's, at {:?}", end(LIMIT)) };
        assert!(std::panic::catch_unwind(|| within_one_call(panics)).is_err());
        assert!(matches!(CALL.get(), Call::None));
    }
}
