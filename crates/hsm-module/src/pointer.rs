//! Objects of ours that a program in C holds by a pointer.
//!
//! Of an [`Owned`] object the program has the only one, of a [`Counted`] one it has a share. Both
//! have one contract, which their unsafe functions call *the holder's*: the pointer is NULL, or it
//! came from `hand_out` of the same type and has not been taken back since.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

/// An object that the program alone holds, from [`Owned::hand_out`] to [`Owned::take_back`].
#[derive(Debug)]
pub struct Owned<T>(PhantomData<T>);

impl<T> Owned<T> {
    /// Gives an object to the program.
    pub fn hand_out(object: T) -> *mut c_void {
        Box::into_raw(Box::new(object)).cast()
    }

    /// The object, which several threads may look at; None for NULL.
    ///
    /// # Safety
    /// The holder's contract; and as long as `'a` the object is not taken back nor borrowed by
    /// [`Owned::borrow_mut`].
    pub unsafe fn borrow<'a>(pointer: *const c_void) -> Option<&'a T> {
        // SAFETY: by the holder's contract it is NULL or a live `T` of `hand_out`, and the caller
        // promises that it is shared.
        unsafe { pointer.cast::<T>().as_ref() }
    }

    /// The object, to be changed; None for NULL.
    ///
    /// # Safety
    /// The holder's contract; and as long as `'a` the object is not taken back nor borrowed
    /// otherwise: a program uses such an object in one thread at a time.
    pub unsafe fn borrow_mut<'a>(pointer: *mut c_void) -> Option<&'a mut T> {
        // SAFETY: by the holder's contract it is NULL or a live `T` of `hand_out`, and the caller
        // promises that nobody else uses it.
        unsafe { pointer.cast::<T>().as_mut() }
    }

    /// Takes the object back from the program; None for NULL.
    ///
    /// # Safety
    /// The holder's contract; and nothing of the object is borrowed any more.
    pub unsafe fn take_back(pointer: *mut c_void) -> Option<Box<T>> {
        // SAFETY: by the holder's contract a pointer that isn't NULL is the `Box<T>` of `hand_out`,
        // which was not taken back.
        (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer.cast::<T>()) })
    }
}

/// An object that the program holds a share of, from [`Counted::hand_out`] to
/// [`Counted::take_back`].
#[derive(Debug)]
pub struct Counted<T>(PhantomData<T>);

impl<T> Counted<T> {
    /// Gives a share of an object to the program.
    pub fn hand_out(share: Arc<T>) -> *mut c_void {
        Arc::into_raw(share).cast_mut().cast()
    }

    /// The object; None for NULL.
    ///
    /// # Safety
    /// The holder's contract; and as long as `'a` the share is not taken back.
    pub unsafe fn borrow<'a>(pointer: *const c_void) -> Option<&'a T> {
        // SAFETY: by the holder's contract it is NULL or a `T` of `hand_out`, which lives while the
        // program has its share.
        unsafe { pointer.cast::<T>().as_ref() }
    }

    /// A share of our own, beside the program's; None for NULL.
    ///
    /// # Safety
    /// The holder's contract.
    pub unsafe fn share(pointer: *const c_void) -> Option<Arc<T>> {
        if pointer.is_null() {
            return None;
        }
        let object = pointer.cast::<T>();
        // SAFETY: by the holder's contract the pointer is of `Arc::into_raw`, and the program's
        // share is still counted. The count that is added is the one that is taken.
        unsafe {
            Arc::increment_strong_count(object);
            Some(Arc::from_raw(object))
        }
    }

    /// Takes the program's share back; None for NULL.
    ///
    /// # Safety
    /// The holder's contract; and nothing of the object is borrowed by [`Counted::borrow`] any
    /// more.
    pub unsafe fn take_back(pointer: *mut c_void) -> Option<Arc<T>> {
        // SAFETY: by the holder's contract a pointer that isn't NULL is of `Arc::into_raw`, and its
        // share was not taken back.
        (!pointer.is_null()).then(|| unsafe { Arc::from_raw(pointer.cast::<T>().cast_const()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_object_is_used_and_comes_back() {
        let pointer = Owned::hand_out(vec![1]);
        // SAFETY: the pointer is of `hand_out`, borrowed for a statement at a time, and taken back
        // once; NULL is allowed.
        unsafe {
            Owned::<Vec<i32>>::borrow_mut(pointer).unwrap().push(2);
            assert_eq!(Owned::<Vec<i32>>::borrow(pointer), Some(&vec![1, 2]));
            assert_eq!(*Owned::<Vec<i32>>::take_back(pointer).unwrap(), [1, 2]);
            assert!(Owned::<Vec<i32>>::borrow(std::ptr::null()).is_none());
            assert!(Owned::<Vec<i32>>::borrow_mut(std::ptr::null_mut()).is_none());
            assert!(Owned::<Vec<i32>>::take_back(std::ptr::null_mut()).is_none());
        }
    }

    #[test]
    fn a_counted_object_lives_as_long_as_anybody_has_a_share() {
        let own = Arc::new(5);
        let pointer = Counted::hand_out(Arc::clone(&own));
        // SAFETY: the pointer is of `hand_out`, and its share is taken back once; NULL is allowed.
        unsafe {
            let shared = Counted::<i32>::share(pointer).unwrap();
            assert_eq!(Arc::strong_count(&own), 3);
            drop(shared);
            assert_eq!(Counted::<i32>::borrow(pointer), Some(&5));
            drop(Counted::<i32>::take_back(pointer));
            assert_eq!(Arc::strong_count(&own), 1);
            assert!(Counted::<i32>::share(std::ptr::null()).is_none());
            assert!(Counted::<i32>::take_back(std::ptr::null_mut()).is_none());
        }
    }
}
