//! What a program in C wants to have: it asks for the length by a NULL buffer, and comes again with
//! room.

use std::ffi::c_ulong;

/// A type that C interfaces have lengths in: OpenSSL's `size_t`, PKCS#11's `CK_ULONG`.
pub trait Length: Copy {
    /// The length as a number of bytes.
    fn to_bytes(self) -> usize;
    /// A number of bytes as such a length.
    fn of_bytes(bytes: usize) -> Self;
}

impl Length for usize {
    fn to_bytes(self) -> usize {
        self
    }

    fn of_bytes(bytes: usize) -> Self {
        bytes
    }
}

impl Length for c_ulong {
    /// What no memory holds is as good as all of it.
    fn to_bytes(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }

    /// No buffer of ours comes near the longest.
    fn of_bytes(bytes: usize) -> Self {
        Self::try_from(bytes).unwrap_or(Self::MAX)
    }
}

/// The buffer has less room than what would come into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// The bytes that would come.
    pub needed: usize,
    /// The bytes that there is room for.
    pub available: usize,
}

/// Where an output goes: nowhere yet, as long as the program asks for the length only, or into its
/// buffer.
#[derive(Debug)]
pub struct Output<L> {
    data: *mut u8,
    capacity: usize,
    len: *mut L,
    /// Whether the length that is needed is told where there is not enough room.
    tells_needed: bool,
}

impl<L: Length> Output<L> {
    /// An output whose room is told beside it, as OpenSSL does. If that is too small the length
    /// stays as it is.
    ///
    /// # Safety
    /// `len` points to a writable length; `data` is NULL or points to `capacity` writable bytes.
    /// Both stay so while the value lives.
    pub unsafe fn new(data: *mut u8, len: *mut L, capacity: usize) -> Self {
        Self {
            data,
            capacity,
            len,
            tells_needed: false,
        }
    }

    /// An output whose room is told where its length will be, as PKCS#11 does. If that is too
    /// small, the length becomes what is needed. None: there is no place for a length.
    ///
    /// # Safety
    /// `len` is NULL or points to a length that can be read and written, wherever it lies; `data`
    /// is NULL or points to as many writable bytes as that length says. Both stay so while the
    /// value lives.
    pub unsafe fn with_room_in_len(data: *mut u8, len: *mut L) -> Option<Self> {
        if len.is_null() {
            return None;
        }
        Some(Self {
            data,
            // SAFETY: the caller promises a readable length where there is one.
            capacity: unsafe { len.read_unaligned() }.to_bytes(),
            len,
            tells_needed: true,
        })
    }

    /// Answers a call that asks for the length only. Returns whether it was one; if not, `size`
    /// bytes fit.
    ///
    /// # Errors
    /// The caller's room is smaller than that.
    pub fn sized(&mut self, size: usize) -> Result<bool, TooSmall> {
        if self.asks_for_size(size) {
            return Ok(true);
        }
        self.check(size).map(|()| false)
    }

    /// Answers a call that asks for the length only, with the most that there may be. Returns
    /// whether it was one.
    pub fn asks_for_size(&mut self, most: usize) -> bool {
        if self.data.is_null() {
            self.set_len(most);
        }
        self.data.is_null()
    }

    /// Hands out `value`.
    ///
    /// # Errors
    /// The value doesn't fit; nothing of it is handed out then.
    pub fn put(&mut self, value: &[u8]) -> Result<(), TooSmall> {
        if !value.is_empty() {
            self.check(value.len())?;
            // SAFETY: whoever made the output promised `capacity` writable bytes at a pointer that
            // isn't NULL, and `check` saw that the value is no longer than that. The program's
            // buffer is no memory of ours, where the value is.
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), self.data, value.len()) };
        }
        self.set_len(value.len());
        Ok(())
    }

    fn check(&mut self, needed: usize) -> Result<(), TooSmall> {
        let available = match self.data.is_null() {
            true => 0,
            false => self.capacity,
        };
        if needed <= available {
            return Ok(());
        }
        if self.tells_needed {
            self.set_len(needed);
        }
        Err(TooSmall { needed, available })
    }

    fn set_len(&mut self, len: usize) {
        // SAFETY: whoever made the output promised a writable length.
        unsafe { self.len.write_unaligned(L::of_bytes(len)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_SMALL: TooSmall = TooSmall {
        needed: 3,
        available: 2,
    };

    #[test]
    fn a_null_buffer_asks_for_the_length() {
        let mut len = 0usize;
        // SAFETY: the length is there, and there is no buffer.
        let mut output = unsafe { Output::new(std::ptr::null_mut(), &raw mut len, 99) };
        assert_eq!(output.sized(3), Ok(true));
        assert!(output.asks_for_size(4));
        assert!(output.put(&[1, 2, 3]).is_err());
        assert_eq!(output.put(&[]), Ok(()));
        assert_eq!(len, 0);
        // SAFETY: the length is there, and there is no buffer.
        let mut output = unsafe { Output::new(std::ptr::null_mut(), &raw mut len, 99) };
        assert_eq!(output.sized(3), Ok(true));
        assert_eq!(len, 3);
    }

    #[test]
    fn a_buffer_with_its_room_beside_it_gets_all_or_nothing() {
        let (mut buffer, mut len) = ([0u8; 3], 77usize);
        // SAFETY: the buffer has the room that is told, or more.
        let mut small = unsafe { Output::new(buffer.as_mut_ptr(), &raw mut len, 2) };
        assert_eq!(small.sized(3), Err(TOO_SMALL));
        assert_eq!(small.put(&[1, 2, 3]), Err(TOO_SMALL));
        assert_eq!((buffer, len), ([0; 3], 77));
        // SAFETY: the buffer has the room that is told.
        let mut output = unsafe { Output::new(buffer.as_mut_ptr(), &raw mut len, 3) };
        assert_eq!(output.sized(3), Ok(false));
        output.put(&[1, 2]).unwrap();
        assert_eq!((buffer, len), ([1, 2, 0], 2));
    }

    #[test]
    fn a_buffer_with_its_room_in_the_length_is_told_what_is_needed() {
        let (mut buffer, mut len): ([u8; 2], c_ulong) = ([0; 2], 2);
        // SAFETY: the buffer has as many bytes as the length says.
        let output = unsafe { Output::with_room_in_len(buffer.as_mut_ptr(), &raw mut len) };
        let mut output = output.unwrap();
        assert_eq!(output.sized(3), Err(TOO_SMALL));
        assert_eq!((buffer, len), ([0; 2], 3));
        len = 2;
        // SAFETY: the buffer has as many bytes as the length says.
        let output = unsafe { Output::with_room_in_len(buffer.as_mut_ptr(), &raw mut len) };
        let mut output = output.unwrap();
        output.put(&[9]).unwrap();
        assert_eq!((buffer, len), ([9, 0], 1));
        // SAFETY: there is no length.
        let nowhere = unsafe {
            Output::<c_ulong>::with_room_in_len(buffer.as_mut_ptr(), std::ptr::null_mut())
        };
        assert!(nowhere.is_none());
    }
}
