//! How a call between Rust and C++ ends: with its result or with the text of an error, never with a panic.
//!
//! Only text crosses. Its first character is the digit of an [`ffi::ErrorKind`], the rest is the message, in both directions;
//! `cpp/host/errors.hpp` and `host.cpp` have the other side.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ffi;
use crate::error::{Error, ErrorKind, Result};

/// An error of the host, which called it an interrupt, want of memory, or one of many others: those are the storage's.
impl From<cxx::Exception> for Error {
    fn from(exception: cxx::Exception) -> Self {
        let text = exception.what();
        let kind = text.bytes().next().and_then(|digit| ffi::ErrorKind { repr: digit.wrapping_sub(b'0') }.core());
        let kind = kind.filter(|kind| matches!(kind, ErrorKind::OutOfMemory | ErrorKind::Interrupted));
        let kind = kind.unwrap_or(ErrorKind::Storage);
        Error::new(kind, text.get(1..).unwrap_or_default())
    }
}

/// An error on its way to C++: the digit of its kind, and its message.
pub struct Crossing(String);

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Crossing {
    fn from(error: Error) -> Self {
        Crossing(format!("{}{}", ffi::ErrorKind::from(error.kind).repr, error.message))
    }
}

/// Runs one call made by C++. cxx aborts the process on a panic, so panics stop here and become errors.
pub(crate) fn guard<T>(call: impl FnOnce() -> Result<T>) -> std::result::Result<T, Crossing> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Crossing::from),
        Err(payload) => {
            let message = format!("vss: {}; please report this", panic_text(payload.as_ref()));
            // A payload may panic when it is dropped.
            std::mem::forget(payload);
            Err(Error::new(ErrorKind::Internal, message).into())
        }
    }
}

/// Like [`guard`] for calls that must not fail: a panic leaves `otherwise`.
pub(crate) fn guard_or<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(payload) => {
            std::mem::forget(payload);
            otherwise
        }
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a panic without text"
    }
}
