//! Requests that come slowly: who sends half of one and no more must not keep a connection for
//! ever.
//!
//! hyper has a limit of its own for the head of a request, which counts while nobody sends
//! anything, too, and so would end kept connections that are idle. Here time counts from the first
//! byte of a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::message::HALF_A_REQUEST;

/// How connections of HTTP/2 begin (RFC 9113, section 3.4). What comes after it is in frames, most
/// of which are not of requests.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What has come of the next request of a connection.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    state: Mutex<State>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The connection's first bytes, up to the length of the preface.
    first: Vec<u8>,
    /// When the head that isn't complete began to come.
    since: Option<Instant>,
    /// Requests whose answers are being made.
    in_flight: usize,
}

/// A request that has come; it is in flight until this is dropped.
pub(crate) struct InFlight(Arc<Arrival>);

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the head of a request is complete.
    pub(crate) fn complete(self: &Arc<Self>) -> InFlight {
        let mut state = self.lock();
        state.since = None;
        state.in_flight += 1;
        InFlight(Arc::clone(self))
    }

    /// Notes bytes that have come.
    pub(crate) fn received(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let room = PREFACE.len() - state.first.len();
        state.first.extend(bytes.iter().take(room));
        if state.first == PREFACE {
            state.since = None;
        } else if state.in_flight == 0 && !bytes.is_empty() && state.since.is_none() {
            state.since = Some(Instant::now());
            self.begun.notify_one();
        }
    }

    /// Ends when the head of a request has been coming for too long.
    pub(crate) async fn is_overdue(&self) {
        loop {
            let since = self.lock().since;
            let Some(since) = since else {
                self.begun.notified().await;
                continue;
            };
            tokio::time::sleep_until((since + HALF_A_REQUEST).into()).await;
            if self.lock().since == Some(since) {
                return;
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}
