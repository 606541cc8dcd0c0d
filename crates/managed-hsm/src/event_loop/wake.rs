//! Waking an event loop from other threads.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::descriptors::{Own, Standard};

#[cfg(unix)]
type Datagrams = std::os::unix::net::UnixDatagram;
#[cfg(not(unix))]
type Datagrams = std::net::UdpSocket;

/// Whether a loop has to be woken, and how.
pub(super) struct WakeUp {
    state: AtomicU8,
    pair: Mutex<Option<Arc<Pair>>>,
}

/// The loop is at work, and nobody has woken it since it last looked.
const AWAKE: u8 = 0;
/// It is to look once more before it sleeps.
const WOKEN: u8 = 1;
/// It waits for sockets: a byte has to be sent.
const ASLEEP: u8 = 2;

/// Two sockets: what is sent to one ends the wait for the other.
pub(super) struct Pair {
    near: Own<Datagrams>,
    far: Own<Datagrams>,
}

impl WakeUp {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            state: AtomicU8::new(AWAKE),
            pair: Mutex::new(Some(Arc::new(Pair::new()?))),
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
            && let Some(pair) = &*self.lock()
            && let Ok(far) = pair.far.get()
        {
            // One byte is as good as several.
            let _ = far.send(&[0]);
        }
    }

    /// What the loop waits for beside its sockets. None: the program has closed it, and there can't be another.
    pub(super) fn pair(&self) -> Option<Arc<Pair>> {
        self.lock().clone()
    }

    /// Makes another pair if the program has closed the present one.
    pub(super) fn look(&self) {
        let mut pair = self.lock();
        if !pair.as_ref().is_some_and(|pair| pair.is_ours()) {
            *pair = Pair::new().ok().map(Arc::new);
        }
    }

    /// Takes what was sent.
    pub(super) fn clear(&self, pair: &Pair) {
        match pair.near.get() {
            Ok(near) => drop(near.recv(&mut [0])),
            Err(_) => self.look(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Pair>>> {
        self.pair.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pair {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        let _standard = Standard::take()?;
        let (near, far) = Datagrams::pair()?;
        Self::of(near, far)
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        let any = (std::net::Ipv4Addr::LOCALHOST, 0);
        let (near, far) = (Datagrams::bind(any)?, Datagrams::bind(any)?);
        near.connect(far.local_addr()?)?;
        far.connect(near.local_addr()?)?;
        Self::of(near, far)
    }

    fn of(near: Datagrams, far: Datagrams) -> io::Result<Self> {
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self {
            near: Own::new(near)?,
            far: Own::new(far)?,
        })
    }

    fn is_ours(&self) -> bool {
        self.near.get().is_ok() && self.far.get().is_ok()
    }

    /// What is ready when the loop is to wake up.
    pub(super) fn near(&self) -> &Datagrams {
        self.near.unchecked()
    }
}
