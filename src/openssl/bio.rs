//! OpenSSL's I/O abstraction, as far as the core lets a provider use it.

use std::ffi::c_int;

use super::functions::{Gets, ReadEx, WriteEx};

/// `OSSL_CORE_BIO`: a stream of the core's.
#[repr(C)]
pub(super) struct CoreBio {
    _opaque: [u8; 0],
}

/// The core's upcalls on streams.
#[derive(Clone, Copy)]
pub(super) struct BioFunctions {
    pub(super) read: Option<ReadEx>,
    pub(super) write: Option<WriteEx>,
    pub(super) gets: Option<Gets>,
}

/// A stream that is read or written.
pub(super) struct Bio {
    bio: *mut CoreBio,
    functions: BioFunctions,
}

impl Bio {
    /// # Safety
    /// `bio` is a stream of the core that came with `functions`, and lives as long as the value.
    pub(super) unsafe fn new(bio: *mut CoreBio, functions: BioFunctions) -> Self {
        Self { bio, functions }
    }

    /// The next line with its end, or as much of it as fits in a buffer. None: the stream is at its
    /// end.
    pub(super) fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = vec![0u8; 1024];
        let gets = self.functions.gets?;
        // SAFETY: `new`'s caller promised a live stream; the buffer has the length that is passed.
        let len = unsafe { gets(self.bio, line.as_mut_ptr().cast(), line.len() as c_int) };
        line.truncate(usize::try_from(len).ok().filter(|len| *len > 0)?);
        Some(line)
    }

    /// Writes all of `content`. Returns whether that worked.
    pub(super) fn write_all(&mut self, mut content: &[u8]) -> bool {
        let Some(write) = self.functions.write else {
            return false;
        };
        while !content.is_empty() {
            let mut len = 0;
            // SAFETY: `new`'s caller promised a live stream; the content has the length that is
            // passed.
            let more = unsafe { write(self.bio, content.as_ptr().cast(), content.len(), &mut len) };
            if more == 0 || len == 0 {
                return false;
            }
            content = content.get(len..).unwrap_or_default();
        }
        true
    }

    /// The next element of DER, with its header, and nothing of what follows. None: there is none
    /// of up to `limit` bytes, or reading failed.
    pub(super) fn element(&mut self, limit: usize) -> Option<Vec<u8>> {
        let mut element = self.exactly(2)?;
        let len = match element[1] {
            len @ ..=0x7f => usize::from(len),
            count @ 0x81..=0x83 => {
                let len = self.exactly(usize::from(count & 0x7f))?;
                element.extend(&len);
                len.iter()
                    .fold(0, |len, byte| len << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        if element.len() + len > limit {
            return None;
        }
        element.extend(self.exactly(len)?);
        Some(element)
    }

    /// So many bytes. None: there are fewer, or reading failed.
    fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let read = self.functions.read?;
        let mut content = vec![0u8; count];
        let mut filled = 0;
        while filled < content.len() {
            let (room, mut len) = (&mut content[filled..], 0);
            // SAFETY: `new`'s caller promised a live stream; the buffer has the length that is
            // passed.
            let more = unsafe { read(self.bio, room.as_mut_ptr().cast(), room.len(), &mut len) };
            if more == 0 || len == 0 {
                return None;
            }
            filled += len;
        }
        Some(content)
    }
}
