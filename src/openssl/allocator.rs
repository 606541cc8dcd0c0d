//! Wipes memory when it is given back.
//!
//! Tokens and plaintext pass through buffers that are not ours: those of HTTP, of TLS records, of JSON. All of them come from
//! this allocator, so what was in them is gone with them and is neither in a core dump nor handed to the next who allocates.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but what is freed is wiped first. Growing in place is left out, since what a moved buffer leaves
/// behind could not be wiped.
struct Wiping;

// Miri follows each block by itself, and has no explicit_bzero.
#[cfg_attr(not(miri), global_allocator)]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: memory comes from the system's allocator and goes back to it unchanged in place and size. `realloc` is the trait's
// own: a new block, a copy, and the old block given back.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back a block of this size that nobody uses any more.
        unsafe {
            wipe(block, layout.size());
            System.dealloc(block, layout);
        }
    }
}

/// # Safety
/// `block` has `len` writable bytes.
#[cfg(target_os = "linux")]
unsafe fn wipe(block: *mut u8, len: usize) {
    // SAFETY: the caller's promise. Unlike a memset, it is not left out by a compiler that sees the block freed.
    unsafe { libc::explicit_bzero(block.cast(), len) }
}

/// # Safety
/// As above.
#[cfg(not(target_os = "linux"))]
unsafe fn wipe(block: *mut u8, len: usize) {
    use zeroize::Zeroize;
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(block, len) }.zeroize();
}
