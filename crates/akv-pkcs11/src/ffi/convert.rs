//! What programs pass: pointers with lengths, which become values that can be asked for what is
//! there. That a pointer is NULL is found out when it is needed, by the function that needs it: a
//! call that fails ends the operation that it belongs to.
//!
//! All of them are made with the promise that PKCS#11 demands of programs: a pointer is NULL, or
//! points to as many elements of its type as its count says, and stays so during the call.

use std::marker::PhantomData;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FALSE, CK_FLAGS, CK_INTERFACE, CK_MECHANISM,
    CK_MECHANISM_TYPE, CK_ULONG, CK_UNAVAILABLE_INFORMATION, CK_VERSION, CKR_ARGUMENTS_BAD,
    CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL,
    CKR_MECHANISM_PARAM_INVALID,
};

use hsm_module::TooSmall;

use crate::attributes::{Missing, Value};
use crate::error::Error;

pub(super) use super::parameters::message;

fn bad(what: &str) -> Error {
    Error::because(CKR_ARGUMENTS_BAD, format!("{what} is NULL"))
}

/// # Safety
/// `data` is NULL or points to `len` elements that nobody writes for as long as `'a`.
pub(super) unsafe fn slice<'a, T>(data: *const T, len: CK_ULONG) -> Option<&'a [T]> {
    let len = usize::try_from(len).ok()?;
    if len == 0 {
        return Some(&[]);
    }
    let fits = len
        .checked_mul(size_of::<T>())
        .is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if data.is_null() || !fits {
        return None;
    }
    // SAFETY: it is not NULL, leads to what its count says (PKCS#11), and ends within memory.
    Some(unsafe { std::slice::from_raw_parts(data, len) })
}

/// A value that is passed as it is.
///
/// # Safety
/// None is needed; all conversions have the same form.
pub(super) unsafe fn value<T>(value: T) -> T {
    value
}

/// # Safety
/// None is needed.
pub(super) unsafe fn flag(value: CK_BBOOL) -> bool {
    value != CK_FALSE
}

/// Bytes that a program passes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    bytes: Option<&'a [u8]>,
    is_null: bool,
}

/// # Safety
/// As the module says.
pub(super) unsafe fn bytes<'a>(data: *mut CK_BYTE, len: CK_ULONG) -> Bytes<'a> {
    Bytes {
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
        bytes: unsafe { slice(data, len) },
        is_null: data.is_null(),
    }
}

impl<'a> Bytes<'a> {
    /// The bytes; NULL without a length means none.
    pub(crate) fn get(self) -> Result<&'a [u8], Error> {
        self.bytes.ok_or_else(|| bad("the input"))
    }

    /// The bytes; None for NULL.
    pub(crate) fn get_optional(self) -> Result<Option<&'a [u8]>, Error> {
        match self.is_null {
            true => Ok(None),
            false => self.get().map(Some),
        }
    }
}

/// A buffer for bytes, and a place for their number, unless that is NULL.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    output: Option<hsm_module::Output<CK_ULONG>>,
    lifetime: PhantomData<&'a mut ()>,
}

/// # Safety
/// As the module says: `len` is NULL or has the size of the buffer at `data`, if that is none.
pub(super) unsafe fn output<'a>(data: *mut CK_BYTE, len: *mut CK_ULONG) -> Output<'a> {
    Output {
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
        output: unsafe { hsm_module::Output::with_room_in_len(data, len) },
        lifetime: PhantomData,
    }
}

/// What a program wants that passes a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// How long the result will be.
    Size,
    /// The result.
    Result,
}

impl From<bool> for Wanted {
    fn from(is_size: bool) -> Self {
        match is_size {
            true => Self::Size,
            false => Self::Result,
        }
    }
}

impl From<TooSmall> for Error {
    fn from(_: TooSmall) -> Self {
        Self::code(CKR_BUFFER_TOO_SMALL)
    }
}

impl Output<'_> {
    fn get(&mut self) -> Result<&mut hsm_module::Output<CK_ULONG>, Error> {
        let output = self.output.as_mut();
        output.ok_or_else(|| bad("the place for the length"))
    }

    /// Whether there is not even a place for the length.
    pub(crate) fn is_absent(&self) -> bool {
        self.output.is_none()
    }

    /// Answers a call that asks for the size only, or whose buffer is too small, with the `size`
    /// that is needed.
    ///
    /// # Errors
    /// The buffer is too small, or there is no place for its size.
    pub(crate) fn wanted(&mut self, size: usize) -> Result<Wanted, Error> {
        Ok(self.get()?.sized(size)?.into())
    }

    /// Answers a call that asks for the size only with `most`, where the size is known once the
    /// result is. One byte is told at least: who makes a buffer of none in C++ may have NULL for
    /// it, with which the next call would ask for the size again, and do nothing.
    ///
    /// # Errors
    /// There is no place for the size.
    pub(crate) fn wanted_at_most(&mut self, most: usize) -> Result<Wanted, Error> {
        Ok(self.get()?.asks_for_size(most.max(1)).into())
    }

    /// Hands out a result, or its size where that is asked for. There is room for it, or it is an
    /// error.
    pub(crate) fn put(&mut self, result: &[u8]) -> Result<(), Error> {
        if self.wanted(result.len())? == Wanted::Result {
            self.get()?.put(result)?;
        }
        Ok(())
    }
}

/// A buffer whose whole length is to be filled.
#[derive(Debug)]
pub(crate) struct Filled<'a> {
    data: *mut CK_BYTE,
    len: CK_ULONG,
    lifetime: PhantomData<&'a mut ()>,
}

/// # Safety
/// As the module says.
pub(super) unsafe fn filled<'a>(data: *mut CK_BYTE, len: CK_ULONG) -> Filled<'a> {
    Filled {
        data,
        len,
        lifetime: PhantomData,
    }
}

impl Filled<'_> {
    /// Has `fill` write the whole.
    pub(crate) fn fill(
        self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let len = isize::try_from(self.len).map_err(|_| bad("the output"))?;
        match (self.data.is_null(), len) {
            (_, 0) => Ok(()),
            (true, _) => Err(bad("the output")),
            (false, len) => {
                // SAFETY: `filled`'s caller promised so many bytes, which are written before they
                // are read.
                let data = unsafe {
                    std::ptr::write_bytes(self.data, 0, len.unsigned_abs());
                    std::slice::from_raw_parts_mut(self.data, len.unsigned_abs())
                };
                fill(data)
            }
        }
    }
}

/// A place for one value.
#[derive(Debug)]
pub(crate) struct Place<'a, T> {
    place: *mut T,
    lifetime: PhantomData<&'a mut T>,
}

/// # Safety
/// As the module says.
pub(super) unsafe fn place<'a, T>(place: *mut T) -> Place<'a, T> {
    Place {
        place,
        lifetime: PhantomData,
    }
}

impl<T> Place<'_, T> {
    /// Puts a value there.
    pub(crate) fn put(&mut self, value: T) -> Result<(), Error> {
        self.check()?;
        // SAFETY: `place`'s caller promised room for one; it is not NULL.
        unsafe { self.place.write_unaligned(value) };
        Ok(())
    }

    /// Refuses NULL before anything is done.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.place.is_null() {
            true => Err(bad("the place for the result")),
            false => Ok(()),
        }
    }
}

/// An array for values, and a place for their number.
#[derive(Debug)]
pub(crate) struct List<'a, T> {
    data: *mut T,
    count: *mut CK_ULONG,
    lifetime: PhantomData<&'a mut T>,
}

/// # Safety
/// As the module says: `count` is NULL or has the size of the array at `data`, if that is none.
pub(super) unsafe fn list<'a, T>(data: *mut T, count: *mut CK_ULONG) -> List<'a, T> {
    List {
        data,
        count,
        lifetime: PhantomData,
    }
}

impl<T: Copy> List<'_, T> {
    /// Hands out all of `values`, or says how many there are.
    pub(crate) fn put(&mut self, values: &[T]) -> Result<(), Error> {
        if self.count.is_null() {
            return Err(bad("the place for the count"));
        }
        // SAFETY: `list`'s caller promised a number there, and an array of so many elements.
        unsafe {
            let room = self.count.read_unaligned();
            self.count.write_unaligned(values.len() as CK_ULONG);
            if self.data.is_null() {
                return Ok(());
            }
            if usize::try_from(room).is_ok_and(|room| room < values.len()) {
                return Err(Error::code(CKR_BUFFER_TOO_SMALL));
            }
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.data, values.len());
        }
        Ok(())
    }
}

/// An array for as many values as are there and fit.
#[derive(Debug)]
pub(crate) struct Batch<'a, T> {
    data: *mut T,
    room: CK_ULONG,
    count: Place<'a, CK_ULONG>,
}

/// # Safety
/// As the module says.
pub(super) unsafe fn batch<'a, T>(
    data: *mut T,
    room: CK_ULONG,
    count: *mut CK_ULONG,
) -> Batch<'a, T> {
    Batch {
        data,
        room,
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
        count: unsafe { place(count) },
    }
}

impl<T: Copy> Batch<'_, T> {
    /// How many values there is room for.
    pub(crate) fn room(&self) -> Result<usize, Error> {
        self.count.check()?;
        match usize::try_from(self.room) {
            Ok(0) => Ok(0),
            _ if self.data.is_null() => Err(bad("the array")),
            Ok(room) => Ok(room),
            Err(_) => Ok(usize::MAX),
        }
    }

    /// Hands out values, not more than there is [`Self::room`] for.
    pub(crate) fn put(&mut self, values: &[T]) -> Result<(), Error> {
        let count = values.len().min(self.room()?);
        if count > 0 {
            // SAFETY: `batch`'s caller promised so much room; `room` has refused NULL.
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.data, count) };
        }
        self.count.put(count as CK_ULONG)
    }
}

/// A mechanism with its parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MechanismIn<'a> {
    /// Which it is.
    pub(crate) type_: CK_MECHANISM_TYPE,
    parameter: Option<&'a [u8]>,
}

/// None for NULL.
///
/// # Safety
/// As the module says, for its parameter too.
pub(super) unsafe fn mechanism<'a>(mechanism: *mut CK_MECHANISM) -> Option<MechanismIn<'a>> {
    if mechanism.is_null() {
        return None;
    }
    // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
    unsafe {
        let mechanism = mechanism.read_unaligned();
        let (parameter, len) = (mechanism.pParameter, mechanism.ulParameterLen);
        Some(MechanismIn {
            type_: mechanism.mechanism,
            parameter: slice(parameter.cast::<u8>().cast_const(), len),
        })
    }
}

impl<'a> MechanismIn<'a> {
    /// The bytes of the parameter; none if there is no parameter.
    pub(crate) fn parameter(&self) -> Result<&'a [u8], Error> {
        self.parameter
            .ok_or_else(|| Error::code(CKR_MECHANISM_PARAM_INVALID))
    }
}

/// Attributes that a program passes, or asks for.
#[derive(Debug)]
pub(crate) struct TemplateIn<'a> {
    data: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    lifetime: PhantomData<&'a mut CK_ATTRIBUTE>,
}

/// # Safety
/// As the module says, for the values too.
pub(super) unsafe fn template<'a>(data: *mut CK_ATTRIBUTE, count: CK_ULONG) -> TemplateIn<'a> {
    TemplateIn {
        data,
        count,
        lifetime: PhantomData,
    }
}

impl<'a> TemplateIn<'a> {
    fn attributes(&self) -> Result<&'a [CK_ATTRIBUTE], Error> {
        // SAFETY: `template`'s caller promised so many.
        unsafe { slice(self.data, self.count) }.ok_or_else(|| bad("the template"))
    }

    /// The attributes' types and values.
    pub(crate) fn read(&self) -> Result<Vec<(cryptoki_sys::CK_ATTRIBUTE_TYPE, &'a [u8])>, Error> {
        let read = |attribute: &CK_ATTRIBUTE| {
            // SAFETY: `template`'s caller promised so many bytes.
            let value = unsafe { slice(attribute.pValue.cast::<u8>(), attribute.ulValueLen) };
            let value = value.ok_or_else(|| bad("the value of an attribute"))?;
            Ok((attribute.type_, value))
        };
        self.attributes()?.iter().map(read).collect()
    }

    /// Whether a program asks for an attribute.
    pub(crate) fn asks_for(&self, type_: cryptoki_sys::CK_ATTRIBUTE_TYPE) -> Result<bool, Error> {
        let mut attributes = self.attributes()?.iter();
        Ok(attributes.any(|attribute| attribute.type_ == type_))
    }

    /// Answers each attribute with its value, or says why there is none (PKCS#11 3.0, section
    /// 5.7.5): the others are answered all the same.
    pub(crate) fn answer(
        &self,
        value: impl Fn(cryptoki_sys::CK_ATTRIBUTE_TYPE) -> Result<Value, Missing>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        for index in 0..self.attributes()?.len() {
            // SAFETY: it is within what `template`'s caller promised, and nobody else uses it.
            let attribute = unsafe { &mut *self.data.add(index) };
            let answered = match value(attribute.type_) {
                Ok(value) => put(attribute, &value.bytes()),
                Err(Missing::Sensitive) => Err(CKR_ATTRIBUTE_SENSITIVE),
                Err(Missing::NotThere) => Err(CKR_ATTRIBUTE_TYPE_INVALID),
            };
            if let Err(code) = answered {
                attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                outcome = Err(Error::code(code));
            }
        }
        outcome
    }
}

fn put(attribute: &mut CK_ATTRIBUTE, value: &[u8]) -> Result<(), cryptoki_sys::CK_RV> {
    let room = usize::try_from(attribute.ulValueLen).unwrap_or(usize::MAX);
    if !attribute.pValue.is_null() {
        if room < value.len() {
            return Err(CKR_BUFFER_TOO_SMALL);
        }
        // SAFETY: `template`'s caller promised so much room, and it is no less than the value's.
        unsafe {
            std::ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast(), value.len());
        }
    }
    attribute.ulValueLen = value.len() as CK_ULONG;
    Ok(())
}

/// Which interface a program asks for.
#[derive(Debug)]
pub(crate) struct InterfaceAsked {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) version: Option<(u8, u8)>,
    pub(crate) flags: CK_FLAGS,
}

/// # Safety
/// As the module says; `name` ends with a NUL.
pub(super) unsafe fn interface_asked(
    name: *mut CK_BYTE,
    version: *mut CK_VERSION,
    flags: CK_FLAGS,
) -> InterfaceAsked {
    // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
    unsafe {
        InterfaceAsked {
            name: text(name),
            version: (!version.is_null()).then(|| {
                let version = version.read_unaligned();
                (version.major, version.minor)
            }),
            flags,
        }
    }
}

/// A text that ends with a NUL, if it isn't NULL.
///
/// # Safety
/// It does.
pub(super) unsafe fn text(text: *const CK_BYTE) -> Option<Vec<u8>> {
    // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
    (!text.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(text.cast()).to_bytes().to_vec() })
}

/// The place for an interface.
pub(crate) type InterfacePlace<'a> = Place<'a, *mut CK_INTERFACE>;

/// What `C_Initialize` gets.
#[derive(Debug, Default)]
pub(crate) struct InitializeArgs {
    /// How many of the four functions for mutexes there are.
    pub(crate) mutex_functions: usize,
    /// A text for the module, if it can be one.
    pub(crate) reserved: Option<Result<Vec<u8>, ()>>,
}

/// Addresses below this are no pointers: a test passes 1.
const LEAST_ADDRESS: usize = 4096;

/// # Safety
/// As the module says; `pReserved` is a text that ends with a NUL, as far as it is a pointer at
/// all.
pub(super) unsafe fn initialize_args(args: *mut std::ffi::c_void) -> InitializeArgs {
    if args.is_null() {
        return InitializeArgs::default();
    }
    // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
    unsafe {
        let args = args
            .cast::<cryptoki_sys::CK_C_INITIALIZE_ARGS>()
            .read_unaligned();
        let functions = [
            args.CreateMutex.is_some(),
            args.DestroyMutex.is_some(),
            args.LockMutex.is_some(),
            args.UnlockMutex.is_some(),
        ];
        let reserved = args.pReserved;
        InitializeArgs {
            mutex_functions: functions.into_iter().filter(|is_there| *is_there).count(),
            reserved: (!reserved.is_null()).then(|| match reserved.addr() < LEAST_ADDRESS {
                true => Err(()),
                false => text(reserved.cast()).ok_or(()),
            }),
        }
    }
}
