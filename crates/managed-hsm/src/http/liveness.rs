//! Whether a connection that carries many requests still answers.
//!
//! A server, or what stands in between, may answer the pings of HTTP/2 and no request any more: it
//! has set its window to 0, or what it stands for is gone. Whoever waited in vain then tells those
//! who come later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is known of a connection by all who share it.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// How many requests it has answered.
    answers: AtomicUsize,
    /// How many it must have answered to be taken for alive: more than when somebody began to wait
    /// who got none.
    due: AtomicUsize,
}

impl Liveness {
    /// Whether it has answered somebody since the last who waited in vain began to.
    pub(super) fn is_alive(&self) -> bool {
        self.answers.load(Ordering::Relaxed) >= self.due.load(Ordering::Relaxed)
    }

    /// Somebody begins to wait for an answer.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        Waiting {
            began: self.answers.load(Ordering::Relaxed),
            liveness: Arc::clone(self),
        }
    }
}

/// Somebody who waits for an answer. To drop it is to give up.
#[derive(Debug)]
pub(super) struct Waiting {
    liveness: Arc<Liveness>,
    began: usize,
}

impl Waiting {
    /// The server has answered, or it has refused to.
    pub(super) fn end(self) {
        self.liveness.answers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Self { liveness, began } = self;
        liveness.due.fetch_max(*began + 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_on_which_somebody_waited_in_vain_is_alive_again_once_it_answers() {
        let liveness = Arc::new(Liveness::default());
        assert!(liveness.is_alive());
        let (one, two) = (liveness.wait(), liveness.wait());
        drop(one);
        assert!(!liveness.is_alive());
        two.end();
        assert!(liveness.is_alive());
    }

    #[test]
    fn a_request_that_is_given_up_while_others_are_answered_tells_nothing() {
        let liveness = Arc::new(Liveness::default());
        let slow = liveness.wait();
        liveness.wait().end();
        drop(slow);
        assert!(liveness.is_alive());
        // And who begins later and gets no answer does.
        drop(liveness.wait());
        assert!(!liveness.is_alive());
    }
}
