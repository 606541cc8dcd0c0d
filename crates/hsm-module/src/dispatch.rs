//! Tables of numbered functions, such as OpenSSL's dispatch tables (`OSSL_DISPATCH`, provider(7)),
//! whose types the compiler checks.
//!
//! C knows such a function by a number alone: nothing holds that it has the type that the number
//! stands for. Here an [`Id`] has both, and the [`Interface`] that the number is one of. Tables are
//! made from it and functions of others' tables found by it, so that the type is written once.
//!
//! ```
//! use hsm_module::dispatch::{Entry, Functions, Id, Interface};
//!
//! struct Ciphers;
//! impl Interface for Ciphers {}
//! const FREE: Id<Ciphers, unsafe extern "C" fn(*mut u8)> = Id::new(7);
//!
//! unsafe extern "C" fn free(_context: *mut u8) {}
//!
//! static TABLE: &[Entry<Ciphers>] = &[Entry::new(FREE, free), Entry::END];
//! // SAFETY: the table is one of these numbers, and ends with `END`.
//! let functions = unsafe { Functions::of(TABLE.as_ptr()) };
//! assert!(functions.get(FREE).is_some());
//! ```
//!
//! A function of another type doesn't compile:
//!
//! ```compile_fail,E0308
//! # use hsm_module::dispatch::{Entry, Functions, Id, Interface};
//! # struct Ciphers;
//! # impl Interface for Ciphers {}
//! # const FREE: Id<Ciphers, unsafe extern "C" fn(*mut u8)> = Id::new(7);
//! unsafe extern "C" fn free(_context: *mut u8, _size: usize) {}
//!
//! static TABLE: &[Entry<Ciphers>] = &[Entry::new(FREE, free), Entry::END];
//! ```
//!
//! Nor does a number of another interface:
//!
//! ```compile_fail,E0308
//! # use hsm_module::dispatch::{Entry, Functions, Id, Interface};
//! # struct Ciphers;
//! # impl Interface for Ciphers {}
//! struct Keys;
//! impl Interface for Keys {}
//! const FREE: Id<Keys, unsafe extern "C" fn(*mut u8)> = Id::new(7);
//!
//! unsafe extern "C" fn free(_context: *mut u8) {}
//!
//! static TABLE: &[Entry<Ciphers>] = &[Entry::new(FREE, free), Entry::END];
//! ```
//!
//! Nor does a call of what was found with other arguments:
//!
//! ```compile_fail,E0308
//! # use hsm_module::dispatch::{Entry, Functions, Id, Interface};
//! # struct Ciphers;
//! # impl Interface for Ciphers {}
//! # const FREE: Id<Ciphers, unsafe extern "C" fn(*mut u8)> = Id::new(7);
//! fn call(functions: Functions<Ciphers>) {
//!     // SAFETY: it never runs.
//!     unsafe { functions.get(FREE).unwrap()(7usize) }
//! }
//! ```

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

/// What a set of numbers is about. Each has its own, from 1 on.
pub trait Interface: Sized + 'static {}

/// The number of a function in the interface `I`, and its type.
pub struct Id<I, F> {
    number: c_int,
    _of: PhantomData<(fn(I), F)>,
}

// By hand: derived, they would ask the same of the interface.
impl<I, F> Clone for Id<I, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, F> Copy for Id<I, F> {}

impl<I, F> std::fmt::Debug for Id<I, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Id({})", self.number)
    }
}

impl<I: Interface, F: Copy> Id<I, F> {
    /// Says once that the function with this number has the type `F`, which is that of a function.
    pub const fn new(number: c_int) -> Self {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        assert!(number > 0, "a table ends with 0");
        Self {
            number,
            _of: PhantomData,
        }
    }
}

/// A function with its number, as C has it in a table.
#[repr(C)]
pub struct Entry<I> {
    number: c_int,
    function: *const c_void,
    _of: PhantomData<fn(I)>,
}

// SAFETY: an entry is a pair of a number and the address of a function, which nobody writes.
unsafe impl<I> Sync for Entry<I> {}

impl<I: Interface> Entry<I> {
    /// The end of a table.
    pub const END: Self = Self {
        number: 0,
        function: std::ptr::null(),
        _of: PhantomData,
    };

    /// A function of the type that its number has.
    pub const fn new<F: Copy>(id: Id<I, F>, function: F) -> Self {
        Self {
            number: id.number,
            function: address(function),
            _of: PhantomData,
        }
    }
}

impl<I> std::fmt::Debug for Entry<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({})", self.number)
    }
}

/// Where a function is. `F` is the type of a function.
pub const fn address<F: Copy>(function: F) -> *const c_void {
    const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
    // SAFETY: a pointer to a function has the size of one to anything on all systems that have
    // dlsym(3) or tables like these.
    unsafe { std::mem::transmute_copy(&function) }
}

/// The table of somebody else's functions.
pub struct Functions<I>(*const Entry<I>);

impl<I> Clone for Functions<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Functions<I> {}

// SAFETY: a table is only read.
unsafe impl<I> Send for Functions<I> {}
// SAFETY: a table is only read, by any number of threads.
unsafe impl<I> Sync for Functions<I> {}

impl<I: Interface> Functions<I> {
    /// # Safety
    /// `table` is one of the interface's functions, each of the type that its number has there,
    /// ends with number 0, and stays as long as the value is used.
    pub const unsafe fn of(table: *const Entry<I>) -> Self {
        Self(table)
    }

    /// Whether both are the same table.
    pub fn is(self, other: *const Entry<I>) -> bool {
        std::ptr::eq(self.0, other)
    }

    /// The function with a number, if it is there.
    pub fn get<F: Copy>(self, id: Id<I, F>) -> Option<F> {
        let mut next = self.0;
        loop {
            // SAFETY: `of`'s caller promised a table that ends with number 0, where the walk stops.
            let entry = unsafe { &*next };
            if entry.number == id.number && !entry.function.is_null() {
                // SAFETY: `of`'s caller promised that the function with this number has the type
                // `F`, whose size `Id::new` has checked.
                return Some(unsafe { std::mem::transmute_copy(&entry.function) });
            }
            if entry.number == 0 {
                return None;
            }
            // SAFETY: the entry just read was not the last one.
            next = unsafe { next.add(1) };
        }
    }
}

impl<I> std::fmt::Debug for Functions<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Functions({:p})", self.0)
    }
}

/// A table of an interface: `table![NUMBER => function, …]`. Its end is added.
#[macro_export]
macro_rules! table {
    ($($id:expr => $function:expr),* $(,)?) => {
        &[
            $($crate::dispatch::Entry::new($id, $function),)*
            $crate::dispatch::Entry::END,
        ]
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sums;
    impl Interface for Sums {}
    type Sum = unsafe extern "C" fn(c_int, c_int) -> c_int;
    const ADD: Id<Sums, Sum> = Id::new(3);
    const SUBTRACT: Id<Sums, Sum> = Id::new(1);
    const NEGATE: Id<Sums, unsafe extern "C" fn(c_int) -> c_int> = Id::new(2);

    unsafe extern "C" fn add(a: c_int, b: c_int) -> c_int {
        a + b
    }

    unsafe extern "C" fn scale<const BY: c_int>(a: c_int) -> c_int {
        BY * a
    }

    /// As a module has it: in static memory, by a constant of something generic.
    struct Scaled<const BY: c_int>;
    impl<const BY: c_int> Scaled<BY> {
        const TABLE: &'static [Entry<Sums>] = crate::table![ADD => add, NEGATE => scale::<BY>];
    }

    #[test]
    fn functions_are_found_by_their_numbers() {
        // SAFETY: the table is of this interface, and ends with its end.
        let functions = unsafe { Functions::of(Scaled::<-1>::TABLE.as_ptr()) };
        // SAFETY: both functions take any small numbers.
        unsafe {
            assert_eq!(functions.get(ADD).unwrap()(2, 3), 5);
            assert_eq!(functions.get(NEGATE).unwrap()(2), -2);
        }
        assert!(functions.get(SUBTRACT).is_none());
        assert!(functions.is(Scaled::<-1>::TABLE.as_ptr()));
        assert!(!functions.is(Scaled::<1>::TABLE[1..].as_ptr()));
    }

    #[test]
    fn an_entry_is_laid_out_as_in_c() {
        assert_eq!(size_of::<Entry<Sums>>(), 2 * size_of::<*const c_void>());
        assert_eq!(
            std::mem::offset_of!(Entry<Sums>, function),
            size_of::<*const c_void>()
        );
    }
}
