//! What moves the bytes of a connection.

use crate::causes::causes;
use crate::event_loop;

/// Has the event loop move a connection's bytes.
pub(crate) fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    event_loop::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("a connection ended: {}", causes(&error));
        }
    });
}
