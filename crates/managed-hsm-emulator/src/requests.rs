//! The requests that came, for tests that count them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, Version};

/// A request, as it came and as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The connection that it came on; they are numbered from 1 in the order in which they were
    /// accepted, over all ports.
    pub connection: u64,
    /// `GET`, `POST` and so on.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The status of the answer, also of one that a fault kept from arriving; none: there is no
    /// answer yet, or never.
    pub status: Option<u16>,
}

impl Request {
    /// Whether it is an operation of this name, such as `sign`.
    #[must_use]
    pub fn is(&self, operation: &str) -> bool {
        self.path.rsplit('/').next() == Some(operation)
    }
}

/// The requests that came so far, in that order; a clone shows the same ones.
#[derive(Clone, Debug)]
pub struct Requests(Option<Arc<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    list: Mutex<Vec<Request>>,
    another: Condvar,
}

/// A request that has come, and may be answered.
pub(crate) struct Recorded {
    requests: Requests,
    at: usize,
}

impl Requests {
    /// Keeps them, or keeps none: an emulator that runs for weeks would fill the memory.
    pub(crate) fn new(are_kept: bool) -> Self {
        Self(are_kept.then(Arc::default))
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<Request> {
        self.0
            .as_deref()
            .map(Kept::lock)
            .as_deref()
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until the requests are as they are wanted. False: they weren't within `limit`.
    pub fn wait_until(&self, limit: Duration, are_there: impl Fn(&[Request]) -> bool) -> bool {
        let Some(kept) = &self.0 else {
            return false;
        };
        let deadline = Instant::now() + limit;
        let mut list = kept.lock();
        while !are_there(&list) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let waited = kept.another.wait_timeout(list, left);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Notes a request that has come.
    pub(crate) fn record(&self, request: impl FnOnce() -> Request) -> Recorded {
        let at = self.0.as_ref().map_or(0, |kept| {
            let mut list = kept.lock();
            list.push(request());
            kept.another.notify_all();
            list.len() - 1
        });
        Recorded {
            requests: self.clone(),
            at,
        }
    }
}

impl Recorded {
    /// Notes how it is answered.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(kept) = &self.requests.0 {
            kept.lock()[self.at].status = Some(status);
            kept.another.notify_all();
        }
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
