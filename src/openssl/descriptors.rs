//! Asks the kernel what an epoll instance watches.

use std::ffi::c_int;
use std::os::fd::RawFd;

use managed_hsm::descriptors::EpollRequest;

/// Calls epoll_ctl(2), with numbers that may be of no descriptor or of any. Whether it succeeded.
pub(crate) fn epoll_control(
    request: EpollRequest,
    epoll: RawFd,
    number: RawFd,
    events: u32,
    data: u64,
) -> bool {
    let operation: c_int = match request {
        EpollRequest::Add => libc::EPOLL_CTL_ADD,
        EpollRequest::Modify => libc::EPOLL_CTL_MOD,
    };
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the event is initialized and only read; a number that is of no epoll instance, or of nothing that is watched, makes the
    // call fail.
    unsafe { libc::epoll_ctl(epoll, operation, number, &raw mut event) == 0 }
}
