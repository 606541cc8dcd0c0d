//! The event loop as azure_core wants it, for the pauses before it asks again.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use azure_core::async_runtime::{
    AbortableTask, AsyncRuntime, SpawnedTask, TaskFuture, set_async_runtime,
};
use azure_core::time::Duration;
use futures_util::future::{AbortHandle, abortable};
use tokio::sync::oneshot;

use crate::event_loop;

/// Has azure_core wait in the event loop of whoever asks. To be called before anything is asked.
pub(super) fn set() {
    // It was set before, and is the same.
    let _ = set_async_runtime(Arc::new(Runtime));
}

struct Runtime;

impl AsyncRuntime for Runtime {
    fn spawn(&self, task: TaskFuture) -> SpawnedTask {
        let (task, handle) = abortable(task);
        let (done, over) = oneshot::channel();
        event_loop::spawn(async move {
            let _ = task.await;
            let _ = done.send(());
        });
        Box::pin(Spawned { handle, over })
    }

    fn sleep(&self, duration: Duration) -> TaskFuture {
        // One that is negative is over.
        Box::pin(event_loop::sleep(duration.try_into().unwrap_or_default()))
    }

    fn yield_now(&self) -> TaskFuture {
        self.sleep(Duration::ZERO)
    }
}

struct Spawned {
    handle: AbortHandle,
    over: oneshot::Receiver<()>,
}

impl Future for Spawned {
    type Output = Result<(), Box<dyn StdError + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let over = Pin::new(&mut self.over).poll(context);
        over.map_err(|error| Box::new(error) as Box<dyn StdError + Send>)
    }
}

impl AbortableTask for Spawned {
    fn abort(&self) {
        self.handle.abort();
    }
}
