//! Functions looked up by number in a dispatch table that OpenSSL or another provider shows us.

use std::ffi::{c_int, c_void};

use super::ffi::Dispatch;

/// A dispatch table that ends with function id 0.
#[derive(Clone, Copy)]
pub(super) struct Functions(pub(super) *const Dispatch);

impl Functions {
    /// # Safety
    /// `F` is the type of the function with this id (core_dispatch.h), and the table is alive.
    pub(super) unsafe fn get<F: Copy>(self, id: c_int) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        let mut next = self.0;
        loop {
            // SAFETY: the table ends with id 0, and the walk stops there.
            let entry = unsafe { *next };
            if entry.function_id == 0 {
                return None;
            }
            if entry.function_id == id {
                // SAFETY: the caller's promise; `F` has the size of a pointer.
                return Some(unsafe { std::mem::transmute_copy(&entry.function) });
            }
            // SAFETY: the entry just read was not the last one.
            next = unsafe { next.add(1) };
        }
    }
}
