//! Event loops for sockets and timers, on poll(2): one for each connection, run by the thread that
//! uses it, and one for the I/O thread.
//!
//! poll(2) is told each time which numbers to watch, and the kernel keeps nothing for us. So a
//! program that closes descriptors of ours, or puts its own in their place, even in the middle of a
//! wait, can at worst cause a look at what isn't there. Whoever is woken looks whether the number
//! still stands for its file before it uses it; and each wait is bounded, since what came in its
//! place may never be ready.

mod interests;
mod shared;
mod timers;
mod wake;

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};

pub(crate) use self::interests::{Direction, Watched};
pub(crate) use self::timers::{Timer, sleep, timeout, timeout_at};

use self::shared::{Entered, Shared, Task, current};
use self::wake::WakeUp;
use crate::descriptors;

/// How many turns a loop takes, at most, without a look at its sockets.
const MAX_TURNS: u32 = 16;

/// An event loop, for a thread that is at work: it isn't while it waits for events.
pub(crate) struct EventLoop {
    shared: Arc<Shared>,
    tasks: FuturesUnordered<Task>,
}

impl EventLoop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                wake: WakeUp::new().map_err(descriptors::explained)?,
                state: Mutex::default(),
            }),
            tasks: FuturesUnordered::new(),
        })
    }

    /// Runs the loop on this thread until `work` is done. What else was spawned goes on the next
    /// time.
    pub(crate) fn run<T>(&mut self, work: impl Future<Output = T>) -> T {
        let shared = Arc::clone(&self.shared);
        let _entered = Entered::new(&shared);
        let waker = Waker::from(Arc::clone(&shared));
        let mut context = Context::from_waker(&waker);
        let mut work = pin!(work);
        let mut turns = 0;
        shared.look();
        loop {
            shared.wake.reset();
            self.advance(&mut context);
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return done;
            }
            turns += 1;
            let may_sleep = shared.wake.may_sleep();
            if may_sleep || turns >= MAX_TURNS {
                shared.wait(may_sleep);
                turns = 0;
            }
        }
    }

    /// Runs all tasks as far as they go.
    fn advance(&mut self, context: &mut Context<'_>) {
        loop {
            let spawned = std::mem::take(&mut self.shared.lock().spawned);
            let is_any_new = !spawned.is_empty();
            self.tasks.extend(spawned);
            match self.tasks.poll_next_unpin(context) {
                Poll::Ready(Some(())) => {}
                _ if is_any_new => {}
                _ => return,
            }
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // What tasks have in the loop they take out of it.
        self.tasks.clear();
        let spawned = std::mem::take(&mut self.shared.lock().spawned);
        drop(spawned);
    }
}

/// Has the present loop run a task. If it panics it is over.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    let guarded = AssertUnwindSafe(task).catch_unwind();
    let task: Task = Box::pin(guarded.map(drop));
    let shared = current();
    shared.lock().spawned.push(task);
    shared.wake.wake();
}

/// Does `work` on this thread, in an event loop of its own. None: it wasn't done within `limit`.
///
/// # Errors
/// No event loop can be made: there are too many descriptors.
pub fn block_on<T>(limit: Duration, work: impl Future<Output = T>) -> io::Result<Option<T>> {
    let mut events = EventLoop::new()?;
    Ok(events.run(async { timeout(limit, work).await.ok() }))
}

/// Runs what hyper spawns.
#[derive(Clone, Copy)]
pub(crate) struct Executor;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    const UNIT: Duration = Duration::from_millis(20);

    fn run<T>(work: impl Future<Output = T>) -> T {
        EventLoop::new().unwrap().run(work)
    }

    #[test]
    fn timers_fire_in_their_order() {
        let order = run(async {
            let (sender, mut order) = mpsc::unbounded_channel();
            for units in [3, 1, 2, 0] {
                let sender = sender.clone();
                spawn(async move {
                    sleep(units * UNIT).await;
                    sender.send(units).unwrap();
                });
            }
            drop(sender);
            let mut found = Vec::new();
            while let Some(units) = order.recv().await {
                found.push(units);
            }
            found
        });
        assert_eq!(order, [0, 1, 2, 3]);
    }

    #[test]
    fn work_has_so_much_time() {
        let never = std::future::pending::<()>;
        let began = Instant::now();
        assert_eq!(run(timeout(UNIT, never())), Err(timers::Elapsed));
        assert!(began.elapsed() >= UNIT);
        assert_eq!(run(timeout(Duration::MAX, async { 7 })), Ok(7));
        assert!(block_on(UNIT, never()).unwrap().is_none());
    }

    #[test]
    fn another_thread_wakes_a_loop_that_sleeps() {
        for pause in [Duration::ZERO, UNIT] {
            let (sender, receiver) = oneshot::channel();
            let thread = thread::spawn(move || {
                thread::sleep(pause);
                sender.send(7).unwrap();
            });
            assert_eq!(run(receiver), Ok(7));
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_task_that_panics_ends_and_nothing_else() {
        let mut events = EventLoop::new().unwrap();
        let (sender, receiver) = oneshot::channel::<()>();
        events.run(async {
            spawn(async {
                let _sender = sender;
                panic!("the task's own affair");
            });
        });
        assert!(events.run(receiver).is_err());
        assert_eq!(events.run(async { 7 }), 7);
    }

    #[test]
    fn tasks_go_on_the_next_time_and_end_with_their_loop() {
        let mut events = EventLoop::new().unwrap();
        let (sender, receiver) = oneshot::channel();
        let (held, mut dropped) = oneshot::channel::<()>();
        events.run(async {
            spawn(async {
                sleep(UNIT).await;
                sender.send(7).unwrap();
            });
            spawn(async {
                let _held = held;
                std::future::pending::<()>().await;
            });
        });
        assert_eq!(events.run(receiver), Ok(7));
        assert!(dropped.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        drop(events);
        assert!(dropped.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn a_loop_runs_within_another() {
        let both = run(async {
            let inner = run(async {
                sleep(UNIT).await;
                1
            });
            sleep(UNIT).await;
            inner + 1
        });
        assert_eq!(both, 2);
    }
}
