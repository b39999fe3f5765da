//! How a call from C++ ends: with its result or with the text of an error, never with a panic.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};

/// An error on its way to C++: its text, with the kind in front.
pub struct Crossing(String);

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Crossing {
    fn from(error: Error) -> Self {
        Crossing(error.encode())
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
