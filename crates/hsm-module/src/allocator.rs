//! Wipes memory when it is given back.
//!
//! Tokens and plaintext pass through buffers that are not ours: those of HTTP, of TLS records, of
//! JSON. All of them come from this allocator, so what was in them is gone with them and is neither
//! in a core dump nor handed to the next who allocates.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but what is freed is wiped first. Growing in place is left out, since
/// what a moved buffer leaves behind could not be wiped.
///
/// A module declares one as its `global_allocator`, but not under Miri, which follows each block by
/// itself and has no explicit_bzero.
#[derive(Debug)]
pub struct Wiping;

// SAFETY: memory comes from the system's allocator and goes back to it unchanged in place and size.
// `realloc` is the trait's own: a new block, a copy, and the old block given back.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a layout that is not empty (`GlobalAlloc::alloc`).
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a layout that is not empty (`GlobalAlloc::alloc_zeroed`).
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back a block of this size that nobody uses any more
        // (`GlobalAlloc::dealloc`).
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
    // SAFETY: the caller promises `len` writable bytes. Unlike a memset, the call is not left out
    // by a compiler that sees the block freed.
    unsafe { libc::explicit_bzero(block.cast(), len) }
}

/// # Safety
/// `block` has `len` writable bytes.
#[cfg(not(target_os = "linux"))]
unsafe fn wipe(block: *mut u8, len: usize) {
    use zeroize::Zeroize;
    // SAFETY: the caller promises `len` writable bytes, and nobody else uses a block that is given
    // back.
    unsafe { std::slice::from_raw_parts_mut(block, len) }.zeroize();
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    /// Large enough to be mapped for itself by no common allocator, and longer than what one writes
    /// into a free block.
    const LEN: usize = 4096;

    #[test]
    fn a_block_is_wiped_before_it_is_given_back() {
        let layout = Layout::array::<u8>(LEN).unwrap();
        // SAFETY: the layout is not empty, and the block has its size.
        let block = unsafe { Wiping.alloc(layout) };
        // SAFETY: the block has as many bytes.
        let bytes = unsafe {
            block.write_bytes(0xa5, LEN);
            wipe(block, LEN);
            std::slice::from_raw_parts(block, LEN)
        };
        assert!(bytes.iter().all(|&byte| byte == 0));
        // SAFETY: the block came from this allocator with this layout, and its bytes are not looked
        // at any more.
        unsafe { Wiping.dealloc(block, layout) };
    }

    #[test]
    fn what_grows_is_copied() {
        let small = Layout::array::<u8>(16).unwrap();
        // SAFETY: the block is used in the sizes that it has, and given back once in its last one.
        unsafe {
            let block = Wiping.alloc(small);
            block.write_bytes(7, 16);
            let grown = Wiping.realloc(block, small, LEN);
            assert_eq!(std::slice::from_raw_parts(grown, 16), [7; 16]);
            Wiping.dealloc(grown, Layout::array::<u8>(LEN).unwrap());
        }
    }
}
