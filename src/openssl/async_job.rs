//! OpenSSL's asynchronous jobs (`ASYNC_start_job(3)`): whether a call runs in one, and how it waits without holding up its
//! thread. A job is a fibre with a small stack and no guard page, so a request must not run on it; nor on the stack of a thread that
//! has little left, as those of stunnel have from the beginning.

use std::cell::OnceCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use managed_hsm::{Caller, CallerKind, Job};

use super::cancellation::Uncancelled;
use super::libcrypto::Libcrypto;
use super::pipe_signal::Blocked;

type WaitFdCleanUp = unsafe extern "C" fn(*mut c_void, *const c_void, c_int, *mut c_void);
type Callback = unsafe extern "C" fn(*mut c_void) -> c_int;

/// The functions of `<openssl/async.h>`.
#[derive(Clone, Copy)]
struct Functions {
    current_job: unsafe extern "C" fn() -> *mut c_void,
    wait_ctx: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    pause_job: unsafe extern "C" fn() -> c_int,
    get_fd: unsafe extern "C" fn(*mut c_void, *const c_void, *mut c_int, *mut *mut c_void) -> c_int,
    set_wait_fd: unsafe extern "C" fn(
        *mut c_void,
        *const c_void,
        c_int,
        *mut c_void,
        Option<WaitFdCleanUp>,
    ) -> c_int,
    get_callback:
        unsafe extern "C" fn(*mut c_void, *mut Option<Callback>, *mut *mut c_void) -> c_int,
}

/// Finds out where calls run. Where libcrypto doesn't show its functions, any call may be in a job.
pub(crate) struct Jobs(Option<Functions>);

impl Jobs {
    /// `libcrypto`: the one that loaded us, if it can be found.
    pub(super) fn of(libcrypto: Option<&Libcrypto>) -> Self {
        Self(libcrypto.and_then(|libcrypto| {
            // SAFETY: the types are those of <openssl/async.h>.
            unsafe {
                Some(Functions {
                    current_job: libcrypto.function(c"ASYNC_get_current_job")?,
                    wait_ctx: libcrypto.function(c"ASYNC_get_wait_ctx")?,
                    pause_job: libcrypto.function(c"ASYNC_pause_job")?,
                    get_fd: libcrypto.function(c"ASYNC_WAIT_CTX_get_fd")?,
                    set_wait_fd: libcrypto.function(c"ASYNC_WAIT_CTX_set_wait_fd")?,
                    get_callback: libcrypto.function(c"ASYNC_WAIT_CTX_get_callback")?,
                })
            }
        }))
    }
}

impl Caller for Jobs {
    fn kind(&self) -> CallerKind {
        let Some(functions) = self.0 else {
            return CallerKind::SmallStack;
        };
        // SAFETY: it only looks at the thread's own state.
        let job = unsafe { (functions.current_job)() };
        if job.is_null() {
            return match has_room() {
                true => CallerKind::Thread,
                false => CallerKind::SmallStack,
            };
        }
        match Pausable::new(functions, job) {
            Some(job) => CallerKind::Job(Box::new(job)),
            None => CallerKind::SmallStack,
        }
    }
}

/// What a request takes of a stack at most: HTTP, TLS and JSON, with a margin for builds without optimization.
const ROOM: usize = 256 * 1024;

/// Whether a request may run on this stack.
fn has_room() -> bool {
    thread_local! {
        static STACK: OnceCell<Option<Range<usize>>> = const { OnceCell::new() };
    }
    let here = 0u8;
    let here = (&raw const here).addr();
    STACK.with(|stack| match stack.get_or_init(stack_of_thread) {
        // A stack elsewhere is a fibre of the application.
        Some(stack) => stack.contains(&here) && here - stack.start >= ROOM,
        None => false,
    })
}

/// The addresses of this thread's stack.
fn stack_of_thread() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are initialized by the first call, read by the second and given back by the third; there is room for
    // both results.
    let known = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known =
            libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known
    };
    known.then(|| start.addr()..start.addr() + size)
}

/// The job that the present call runs in.
struct Pausable {
    functions: Functions,
    /// The job's wait context, which lives as long as the job.
    context: *mut c_void,
    signal: Arc<Signal>,
}

/// How the application hears that a job can go on: a file descriptor becomes readable, and its own function is called if it has set
/// one (`ASYNC_WAIT_CTX_set_callback(3)`). What the function is called with may go with the wait context, before the request is done.
struct Signal {
    event: OwnedFd,
    callback: Mutex<Option<(Callback, *mut c_void)>>,
}

// SAFETY: OpenSSL documents that the callback is called from the engine's or provider's own threads, with its argument.
unsafe impl Send for Signal {}
// SAFETY: as above; the callback is called by one thread at a time.
unsafe impl Sync for Signal {}

/// Tells our file descriptor from those of others in the same wait context.
static KEY: u8 = 0;

impl Pausable {
    fn new(functions: Functions, job: *mut c_void) -> Option<Self> {
        // SAFETY: the job is the thread's current one, so it and its wait context are alive.
        let context = unsafe { (functions.wait_ctx)(job) };
        if context.is_null() {
            return None;
        }
        let signal = match registered(functions, context) {
            Some(signal) => signal,
            None => Signal::new()?,
        };
        let (mut callback, mut argument) = (None, std::ptr::null_mut());
        // SAFETY: there is room for both.
        let set =
            unsafe { (functions.get_callback)(context, &raw mut callback, &raw mut argument) };
        *signal.callback() = callback
            .filter(|_| set != 0)
            .map(|callback| (callback, argument));
        Some(Self {
            functions,
            context,
            signal,
        })
    }
}

/// The signal that the wait context has from us already.
fn registered(functions: Functions, context: *mut c_void) -> Option<Arc<Signal>> {
    let key = (&raw const KEY).cast();
    let (mut descriptor, mut data) = (-1, std::ptr::null_mut());
    // SAFETY: there is room for both.
    let found = unsafe { (functions.get_fd)(context, key, &raw mut descriptor, &raw mut data) };
    if found == 0 || data.is_null() {
        return None;
    }
    let signal: *const Signal = data.cast_const().cast();
    // SAFETY: under our key the data is what `Arc::into_raw` made in `register`, and the context holds its count.
    Some(unsafe {
        Arc::increment_strong_count(signal);
        Arc::from_raw(signal)
    })
}

/// Shows the application what to wait for, unless it knows. Whether it does then.
fn register(functions: Functions, context: *mut c_void, signal: &Arc<Signal>) -> bool {
    if registered(functions, context).is_some() {
        return true;
    }
    let data = Arc::into_raw(Arc::clone(signal));
    // SAFETY: the context takes one count of the signal, which `clean_up` gives back.
    let set = unsafe {
        (functions.set_wait_fd)(
            context,
            (&raw const KEY).cast(),
            signal.event.as_raw_fd(),
            data.cast_mut().cast(),
            Some(clean_up),
        )
    };
    if set == 0 {
        // SAFETY: the context did not take the count.
        drop(unsafe { Arc::from_raw(data) });
    }
    set != 0
}

/// The wait context goes, or our descriptor in it. A request that is still under way keeps the descriptor open, and calls nobody.
unsafe extern "C" fn clean_up(
    _context: *mut c_void,
    _key: *const c_void,
    _descriptor: c_int,
    data: *mut c_void,
) {
    let signal: *const Signal = data.cast_const().cast();
    // SAFETY: the count was handed over in `register`.
    let signal = unsafe { Arc::from_raw(signal) };
    *signal.callback() = None;
}

/// What a call has opened, if it has.
fn owned(descriptor: c_int) -> Option<OwnedFd> {
    // SAFETY: the descriptor is new, and nobody else's.
    (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

impl Signal {
    fn new() -> Option<Arc<Self>> {
        // SAFETY: the call takes only numbers.
        let event = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let event = match event.as_raw_fd() {
            // Those of standard input, output and error are the program's, also where it has closed them.
            // SAFETY: the descriptor is open, and the call takes only numbers.
            0..=2 => owned(unsafe { libc::fcntl(event.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?,
            _ => event,
        };
        Some(Arc::new(Self {
            event,
            callback: Mutex::new(None),
        }))
    }

    /// Held while the function is called, so that what it is called with stays.
    fn callback(&self) -> MutexGuard<'_, Option<(Callback, *mut c_void)>> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the descriptor is open, and eight bytes are there. A counter that is full is readable, too.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if let Some((callback, argument)) = *self.callback() {
            // SAFETY: the application registered both together, and the wait context is still there.
            unsafe { callback(argument) };
        }
    }

    /// Takes back what made the descriptor readable.
    fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the descriptor is open and does not block, and there is room for eight bytes.
        unsafe {
            libc::read(
                self.event.as_raw_fd(),
                count.as_mut_ptr().cast(),
                count.len(),
            )
        };
    }
}

impl Job for Pausable {
    fn wake(&self) -> Box<dyn FnOnce() + Send> {
        // So that the function isn't called after the wait context is gone, even if the job never pauses.
        let has_callback = self.signal.callback().is_some();
        if has_callback && !register(self.functions, self.context, &self.signal) {
            *self.signal.callback() = None;
        }
        let signal = Arc::clone(&self.signal);
        Box::new(move || signal.raise())
    }

    fn pause(&self) {
        // Not before: of a descriptor in the context of a job that never paused, HAProxy takes for granted that it was told, and
        // aborts.
        if !register(self.functions, self.context, &self.signal) {
            return;
        }
        Uncancelled::except(|| {
            // SAFETY: the call is within a job; if it can't pause now, it returns at once.
            Blocked::except(|| unsafe { (self.functions.pause_job)() })
        });
        self.signal.clear();
    }
}
