//! Sockets that an event loop waits for.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::shared::{Shared, current};
use crate::descriptors::Own;
use crate::forks;

/// How long a wait takes at first, and at most while nothing happens, before numbers are looked at
/// that may be another's.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// How long a loop waits that can't be woken.
const SHORT: Duration = Duration::from_millis(5);

/// What a socket is waited for to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 0,
    Write = 1,
}

/// A socket, and who waits for it.
pub(crate) struct Watched {
    socket: Own<TcpStream>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By [`Direction`].
    wakers: [Option<Waker>; 2],
    /// The loop that looks after it.
    of: Option<Arc<Shared>>,
}

impl Watched {
    pub(crate) fn new(socket: TcpStream) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            socket: Own::new(socket)?,
            waiting: Mutex::default(),
        }))
    }

    /// The socket, if it is still ours.
    pub(crate) fn get(&self) -> io::Result<&TcpStream> {
        self.socket.get()
    }

    /// Whether somebody has waited, since the socket was last ready, and now waits by `waker`.
    pub(crate) fn still_waits(&self, direction: Direction, waker: &Waker) -> bool {
        match &mut self.lock().wakers[direction as usize] {
            Some(waiting) => {
                waiting.clone_from(waker);
                true
            }
            None => false,
        }
    }

    /// Has the present loop wake somebody once the socket is ready, or is no longer ours.
    pub(crate) fn wait(self: &Arc<Self>, direction: Direction, waker: &Waker) {
        let mut waiting = self.lock();
        waiting.wakers[direction as usize] = Some(waker.clone());
        if waiting.of.is_none() {
            let shared = current();
            shared.lock().watched.push(Arc::clone(self));
            waiting.of = Some(shared);
        }
    }

    /// Has no loop look after the socket any more.
    pub(crate) fn leave(self: &Arc<Self>) {
        let waiting = std::mem::take(&mut *self.lock());
        if let Some(shared) = waiting.of {
            let mut state = shared.lock();
            state.watched.retain(|other| !Arc::ptr_eq(other, self));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the kernel is asked for. Nothing but errors, if nobody waits.
    fn wanted(&self) -> PollFlags {
        let waiting = self.lock();
        let mut wanted = PollFlags::empty();
        wanted.set(
            PollFlags::IN,
            waiting.wakers[Direction::Read as usize].is_some(),
        );
        wanted.set(
            PollFlags::OUT,
            waiting.wakers[Direction::Write as usize].is_some(),
        );
        wanted
    }

    /// Wakes who waits for what is ready, all if it is an error.
    fn fire(&self, ready: PollFlags) {
        for (direction, flag) in [
            (Direction::Read, PollFlags::IN),
            (Direction::Write, PollFlags::OUT),
        ] {
            if ready.intersects(flag | PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
                let waker = self.lock().wakers[direction as usize].take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
    }

    /// Wakes all if the socket is another's.
    fn look(&self) {
        if self.socket.get().is_err() {
            self.fire(PollFlags::NVAL);
        }
    }
}

/// How long to wait until numbers are looked at: longer and longer while nothing happens.
pub(super) struct Patience {
    looked: Instant,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            looked: Instant::now(),
            pause: FIRST_LOOK,
        }
    }
}

impl Shared {
    /// Waits until something is ready, if the loop may sleep, and wakes whoever waits for that.
    pub(super) fn wait(&self, may_sleep: bool) {
        let (mut watched, pause) = {
            let state = self.lock();
            (state.watched.clone(), state.patience.pause)
        };
        watched.retain(|watched| !watched.wanted().is_empty());
        let timer = self.until_timer();
        let timeout = match may_sleep {
            true => timer.map_or(pause, |timer| timer.min(pause)),
            false => Duration::ZERO,
        };
        let is_any_ready = self.poll(&watched, timeout);
        self.lock().patience.pause = match is_any_ready {
            true => FIRST_LOOK,
            false if timeout == pause => LAST_LOOK.min(pause * 2),
            false => pause,
        };
        self.look();
        self.fire_timers();
    }

    /// Looks, if that was long ago, which numbers are another's by now, and wakes who waits for
    /// them.
    pub(super) fn look(&self) {
        let watched = {
            let mut state = self.lock();
            if state.patience.looked.elapsed() < FIRST_LOOK {
                return;
            }
            state.patience.looked = Instant::now();
            state.watched.clone()
        };
        watched.iter().for_each(|watched| watched.look());
        self.wake.look();
    }

    /// Whether anything was ready.
    fn poll(&self, watched: &[Arc<Watched>], timeout: Duration) -> bool {
        let bell = self.wake.bell();
        let timeout = match bell {
            Some(_) => timeout,
            None => timeout.min(SHORT),
        };
        let mut asked: Vec<PollFd<'_>> = watched
            .iter()
            .map(|watched| PollFd::new(watched.socket.unchecked(), watched.wanted()))
            .collect();
        asked.extend(
            bell.iter()
                .map(|bell| PollFd::new(bell.descriptor(), PollFlags::IN)),
        );
        let polled = poll_at_rest(&mut asked, timeout);
        // What is woken from here on doesn't have to wake the loop.
        self.wake.reset();
        match polled {
            Ok(0) | Err(Errno::INTR) => return false,
            Ok(_) => {}
            // The process may have no file open any more, say: then sockets are tried from time to
            // time.
            Err(_) => {
                std::thread::sleep(timeout.min(SHORT));
                watched
                    .iter()
                    .for_each(|watched| watched.fire(PollFlags::ERR));
                return true;
            }
        }
        for (watched, asked) in watched.iter().zip(&asked) {
            watched.fire(asked.revents());
        }
        if let Some(bell) = &bell
            && asked
                .last()
                .is_some_and(|asked| !asked.revents().is_empty())
        {
            self.wake.clear(bell);
        }
        true
    }
}

/// Waits while this thread isn't at work.
fn poll_at_rest(asked: &mut [PollFd<'_>], timeout: Duration) -> rustix::io::Result<usize> {
    let until = Timespec::try_from(timeout).unwrap_or_default();
    if timeout.is_zero() {
        return poll(asked, Some(&until));
    }
    forks::pause_work();
    let polled = poll(asked, Some(&until));
    forks::resume_work();
    polled
}
