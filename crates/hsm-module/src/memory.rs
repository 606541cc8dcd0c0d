//! Memory that the program has told of in a call before, and may have taken away since: unmapped,
//! or made read-only. The kernel copies it, and says where there is none, so nothing crashes.

use std::io;

/// Why nothing was copied.
#[derive(Debug)]
pub enum Untouched {
    /// No such memory is there, or it may not be read or written.
    Gone,
    /// The system doesn't copy any: a filter of its calls refuses that, or it can't.
    Refused(io::Error),
}

/// Copies as many bytes from there as there is room for.
///
/// # Errors
/// They are not there, or the system refuses to copy them.
///
/// # Safety
/// Elsewhere than on Linux the memory has to be there.
pub unsafe fn read(place: *const u8, into: &mut [u8]) -> Result<(), Untouched> {
    let own = into.as_mut_ptr();
    #[cfg(target_os = "linux")]
    return system::copy(own, place.cast_mut(), into.len(), libc::process_vm_readv);
    // SAFETY: the caller keeps the memory there.
    #[cfg(not(target_os = "linux"))]
    unsafe {
        std::ptr::copy(place, own, into.len());
        Ok(())
    }
}

/// Copies bytes there.
///
/// # Errors
/// As [`read`]. Some may have been written.
///
/// # Safety
/// Nothing of Rust's is there that doesn't expect it. Elsewhere than on Linux the memory has to be
/// there.
pub unsafe fn write(place: *mut u8, bytes: &[u8]) -> Result<(), Untouched> {
    let own = bytes.as_ptr();
    #[cfg(target_os = "linux")]
    return system::copy(own.cast_mut(), place, bytes.len(), libc::process_vm_writev);
    // SAFETY: the caller keeps the memory there.
    #[cfg(not(target_os = "linux"))]
    unsafe {
        std::ptr::copy(own, place, bytes.len());
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use libc::{c_ulong, iovec, pid_t, ssize_t};

    use super::Untouched;

    /// `process_vm_readv` or `process_vm_writev`.
    type Call = unsafe extern "C" fn(
        pid_t,
        *const iovec,
        c_ulong,
        *const iovec,
        c_ulong,
        c_ulong,
    ) -> ssize_t;

    /// Copies between `own` and the memory of the process at `place`, this one's.
    pub(super) fn copy(
        own: *mut u8,
        place: *mut u8,
        len: usize,
        call: Call,
    ) -> Result<(), Untouched> {
        let [own, there] = [own, place].map(|place| iovec {
            iov_base: place.cast(),
            iov_len: len,
        });
        // SAFETY: it takes two lists of one place each. Whether these are there the kernel finds
        // out itself.
        let copied = unsafe { call(libc::getpid(), &raw const own, 1, &raw const there, 1, 0) };
        match usize::try_from(copied) {
            Ok(copied) if copied == len => Ok(()),
            Ok(_) => Err(Untouched::Gone),
            Err(_) => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::EFAULT) => Err(Untouched::Gone),
                error => Err(Untouched::Refused(error)),
            },
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    /// Two pages, of which the second may be none.
    struct Pages(*mut u8, usize);

    impl Pages {
        fn new() -> Self {
            // SAFETY: the kernel finds a place for them that is nobody else's, and says how long a
            // page is.
            unsafe {
                let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
                let access = libc::PROT_READ | libc::PROT_WRITE;
                let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let made = libc::mmap(std::ptr::null_mut(), 2 * page, access, kind, -1, 0);
                assert_ne!(made, libc::MAP_FAILED);
                Self(made.cast(), page)
            }
        }

        fn protect(&self, access: i32) {
            // SAFETY: the pages are this test's own.
            assert_eq!(unsafe { libc::mprotect(self.0.cast(), self.1, access) }, 0);
        }

        fn unmap(&self, number: usize) {
            // SAFETY: the page is this test's own, and nothing is kept there.
            let done = unsafe { libc::munmap(self.0.add(number * self.1).cast(), self.1) };
            assert_eq!(done, 0);
        }

        /// Reads, and writes, some bytes.
        fn touch(&self, at: usize) -> [Result<(), Untouched>; 2] {
            let mut read_there = [1; 12];
            // SAFETY: nothing is kept in the pages.
            unsafe {
                [
                    read(self.0.add(at), &mut read_there),
                    write(self.0.add(at), b"twelve bytes"),
                ]
            }
        }
    }

    #[test]
    fn memory_that_is_gone_is_told_of() {
        let pages = Pages::new();
        assert!(matches!(pages.touch(0), [Ok(()), Ok(())]));
        let mut held = [0; 12];
        // SAFETY: it is there.
        unsafe { read(pages.0, &mut held) }.unwrap();
        assert_eq!(&held, b"twelve bytes");
        pages.protect(libc::PROT_READ);
        assert!(matches!(pages.touch(0), [Ok(()), Err(Untouched::Gone)]));
        pages.protect(libc::PROT_NONE);
        assert!(matches!(
            pages.touch(0),
            [Err(Untouched::Gone), Err(Untouched::Gone)]
        ));
        pages.protect(libc::PROT_READ | libc::PROT_WRITE);
        pages.unmap(1);
        // Some of it is there.
        let end = pages.1 - 5;
        assert!(matches!(
            pages.touch(end),
            [Err(Untouched::Gone), Err(Untouched::Gone)]
        ));
        pages.unmap(0);
        assert!(matches!(
            pages.touch(0),
            [Err(Untouched::Gone), Err(Untouched::Gone)]
        ));
    }
}
