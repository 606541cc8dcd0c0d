//! The client, in a thread of the program's.

use std::ops::Deref;

use managed_hsm::Client;

use crate::cancellation;
use crate::pipe_signal::Blocked;

/// A client, and no SIGPIPE in this thread as long as it is used. The thread can be cancelled once
/// that is over: see [`cancellation::end_if_cancelled`].
pub struct ClientInUse<'a> {
    client: &'a Client,
    _blocked: Blocked,
}

impl<'a> ClientInUse<'a> {
    /// Uses the client that `make` gives, for the requests of one operation.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn new<E>(make: impl FnOnce() -> Result<&'a Client, E>) -> Result<Self, E> {
        cancellation::has_asked();
        let blocked = Blocked::new();
        Ok(Self {
            client: make()?,
            _blocked: blocked,
        })
    }
}

impl Deref for ClientInUse<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl std::fmt::Debug for ClientInUse<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientInUse")
    }
}

#[cfg(all(test, unix))]
mod tests {
    use managed_hsm::Settings;

    use super::*;
    use crate::pipe_signal::tests::is_blocked;

    #[test]
    fn the_signal_is_blocked_while_a_client_is_made_and_used() {
        let client = Client::new(Settings::default());
        let in_use = ClientInUse::new(|| {
            assert!(is_blocked());
            Ok::<_, ()>(&client)
        });
        assert!(in_use.is_ok() && is_blocked());
        drop(in_use);
        assert!(!is_blocked());
        assert!(ClientInUse::new(|| Err(())).is_err());
        assert!(!is_blocked());
    }
}
