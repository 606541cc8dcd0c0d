//! OpenSSL's asynchronous jobs (`ASYNC_start_job(3)`): whether a call runs in one, and how it waits
//! without holding up its thread. A job is a fibre with a small stack and no guard page, so a
//! request must not run on it; nor on the stack of a thread that has little left, as those of
//! stunnel have from the beginning.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hsm_module::cancellation::Uncancelled;
use hsm_module::pipe_signal::Blocked;
use hsm_module::{Counted, stack};
use managed_hsm::forks::ProcessId;
use managed_hsm::{Bell, Caller, CallerKind, Job};

use super::libcrypto::Libcrypto;

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
    clear_fd: unsafe extern "C" fn(*mut c_void, *const c_void) -> c_int,
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
                    clear_fd: libcrypto.function(c"ASYNC_WAIT_CTX_clear_fd")?,
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
            return stack::kind();
        }
        match Pausable::new(functions, job) {
            Some(job) => CallerKind::Job(Box::new(job)),
            None => CallerKind::SmallStack,
        }
    }

    fn has_room(&self) -> bool {
        stack::has_room()
    }
}

/// The job that the present call runs in.
struct Pausable {
    functions: Functions,
    /// The job's wait context, which lives as long as the job.
    context: *mut c_void,
    signal: Arc<Signal>,
}

/// How the application hears that a job can go on: a file descriptor becomes readable, and its own
/// function is called if it has set one (`ASYNC_WAIT_CTX_set_callback(3)`). What the function is
/// called with may go with the wait context, before the request is done.
struct Signal {
    bell: Bell,
    /// A child has the descriptor, too, but what it takes or sends is its parent's.
    process: ProcessId,
    callback: Mutex<Option<(Callback, *mut c_void)>>,
}

// SAFETY: OpenSSL documents that the callback is called from the engine's or provider's own
// threads, with its argument.
unsafe impl Send for Signal {}
// SAFETY: the callback is called by one thread at a time, since it is behind a lock.
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

/// The signal that the wait context has from us already. One that is no longer ours is taken out of
/// it.
fn registered(functions: Functions, context: *mut c_void) -> Option<Arc<Signal>> {
    let key = (&raw const KEY).cast();
    let (mut descriptor, mut data) = (-1, std::ptr::null_mut());
    // SAFETY: there is room for both.
    let found = unsafe { (functions.get_fd)(context, key, &raw mut descriptor, &raw mut data) };
    if found == 0 {
        return None;
    }
    // SAFETY: under our key the data is what `register` handed out, and the context has not given
    // it back.
    let found: Arc<Signal> = unsafe { Counted::share(data) }?;
    if found.is_ours() {
        return Some(found);
    }
    // SAFETY: the context is alive. It gives up what it has under our key, with the share, and
    // calls nobody for that.
    if unsafe { (functions.clear_fd)(context, key) } != 0 {
        found.detach();
        // SAFETY: the context no longer has the share that `register` handed out.
        drop(unsafe { Counted::<Signal>::take_back(data) });
    }
    None
}

/// Shows the application what to wait for, unless it knows. Whether it does then.
fn register(functions: Functions, context: *mut c_void, signal: &Arc<Signal>) -> bool {
    if registered(functions, context).is_some() {
        return true;
    }
    let data = Counted::hand_out(Arc::clone(signal));
    // SAFETY: the context takes a share of the signal, which `clean_up` takes back.
    let set = unsafe {
        (functions.set_wait_fd)(
            context,
            (&raw const KEY).cast(),
            signal.bell.descriptor().as_raw_fd(),
            data,
            Some(clean_up),
        )
    };
    if set == 0 {
        // SAFETY: the context did not take the share.
        drop(unsafe { Counted::<Signal>::take_back(data) });
    }
    set != 0
}

/// The wait context goes, or our descriptor in it. A request that is still under way keeps the
/// descriptor open, and calls nobody.
unsafe extern "C" fn clean_up(
    _context: *mut c_void,
    _key: *const c_void,
    _descriptor: c_int,
    data: *mut c_void,
) {
    // SAFETY: the context gives back the share that `register` handed out, once.
    if let Some(signal) = unsafe { Counted::<Signal>::take_back(data) } {
        signal.detach();
    }
}

impl Signal {
    fn new() -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            bell: Bell::new().ok()?,
            process: ProcessId::current(),
            callback: Mutex::new(None),
        }))
    }

    /// Whether it is of this process, and the application has not closed it.
    fn is_ours(&self) -> bool {
        self.process.is_current() && self.bell.is_ours()
    }

    /// Held while the function is called, so that what it is called with stays.
    fn callback(&self) -> MutexGuard<'_, Option<(Callback, *mut c_void)>> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls nobody any more. In a child nobody would, and the lock may be held for ever.
    fn detach(&self) {
        if self.process.is_current() {
            *self.callback() = None;
        }
    }

    fn raise(&self) {
        self.bell.ring();
        if let Some((callback, argument)) = *self.callback() {
            // SAFETY: the application registered both together, and the wait context is still
            // there.
            unsafe { callback(argument) };
        }
    }
}

impl Job for Pausable {
    fn wake(&self) -> Box<dyn FnOnce() + Send> {
        // So that the function isn't called after the wait context is gone, even if the job never
        // pauses.
        let has_callback = self.signal.callback().is_some();
        if has_callback && !register(self.functions, self.context, &self.signal) {
            *self.signal.callback() = None;
        }
        let signal = Arc::clone(&self.signal);
        Box::new(move || signal.raise())
    }

    fn pause(&self) {
        // Not before: of a descriptor in the context of a job that never paused, HAProxy takes for
        // granted that it was told, and aborts.
        if !register(self.functions, self.context, &self.signal) {
            return;
        }
        Uncancelled::except(|| {
            // SAFETY: the call is within a job; if it can't pause now, it returns at once.
            Blocked::except(|| unsafe { (self.functions.pause_job)() })
        });
        self.signal.bell.clear();
    }
}
