//! An input as a program: its bytes are taken one after the other, and zeros when there are no
//! more.

// Each target uses a part of it.
#![allow(dead_code)]

pub struct Program<'a>(pub &'a [u8]);

impl<'a> Program<'a> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// A length that a message or a digest may have.
    pub fn message(&mut self) -> Box<[u8]> {
        let len = self.choose(&[32, 0, 20, 48, 64, 256, 51, 300, 1, 66, 2048, 512]);
        vec![self.byte(); len].into()
    }
}
