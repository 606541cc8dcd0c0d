//! What a library must mind that is loaded into a process of somebody else's: its memory, its
//! signals, its threads and their stacks, its forks, its end, and the C functions between it and
//! the program.
//!
//! A front end declares the allocator, says in [`process`] that it was loaded, makes its requests
//! by [`ClientInUse`], lets [`boundary::run`] have each call, and hands its objects out by
//! [`Owned`] and [`Counted`]. Its `build.rs` has the linker lead `getenv` to [`variables`]
//! (`-Wl,--wrap=getenv`) and keep the module mapped (`-Wl,-z,nodelete`).
//!
//! ```
//! #[cfg_attr(not(miri), global_allocator)]
//! static ALLOCATOR: hsm_module::Wiping = hsm_module::Wiping;
//! ```

mod allocator;
pub mod boundary;
pub mod cancellation;
mod client;
pub mod dispatch;
pub mod input;
pub mod memory;
mod output;
pub mod pipe_signal;
mod pointer;
pub mod process;
pub mod stack;
#[cfg(target_os = "linux")]
pub mod variables;

pub use allocator::Wiping;
pub use client::ClientInUse;
pub use output::{Length, Output, TooSmall};
pub use pointer::{Counted, Owned};
