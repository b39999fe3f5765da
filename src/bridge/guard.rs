//! How a call between Rust and C++ ends: with its result, or with the text of an error; never with a panic.
//!
//! In both directions an error crosses as text: the first character is the digit of an [`ffi::ErrorKind`], the rest is the message. The
//! other side is in `cpp/host/errors.hpp` and `cpp/host/host.cpp`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::ffi;
use crate::error::{Error, ErrorKind, Result};

/// An error of the host. It is an interrupt or a want of memory if the host says so; any other kind becomes `Storage`.
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
    caught(call).and_then(|result| result).map_err(Crossing::from)
}

/// Like [`guard`], for calls that must not fail: after a panic the result is `otherwise`. Not for calls that change an index; for those see
/// [`Soundness`].
pub(crate) fn guard_or<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    caught(call).unwrap_or(otherwise)
}

/// Runs a call; a panic becomes an error of kind `Internal`.
fn caught<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let message = format!("vss: {}; please report this", panic_text(payload.as_ref()));
        // A payload may panic when it is dropped.
        std::mem::forget(payload);
        Error::new(ErrorKind::Internal, message)
    })
}

/// Whether an index is sound. A call that panics in the middle of a change may leave the index in any state, so from then on it must not
/// answer. C++ asks whether the index is sound, and otherwise builds another one from the table.
#[derive(Default)]
pub(crate) struct Soundness(OnceLock<String>);

impl Soundness {
    /// The text of the first panic; `None` if there was none.
    pub(crate) fn defect(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Like [`guard`], for a call that changes the index. `name`: that of the call.
    pub(crate) fn guard<T>(&self, name: &str, call: impl FnOnce() -> Result<T>) -> std::result::Result<T, Crossing> {
        self.caught(name, call).and_then(|result| result).map_err(Crossing::from)
    }

    /// The same for calls that must not fail: after a panic the result is `otherwise`.
    pub(crate) fn guard_or<T>(&self, name: &str, otherwise: T, call: impl FnOnce() -> T) -> T {
        self.caught(name, call).unwrap_or(otherwise)
    }

    fn caught<T>(&self, name: &str, call: impl FnOnce() -> T) -> Result<T> {
        let result = caught(|| {
            #[cfg(feature = "panics")]
            panic_if_asked(name);
            call()
        });
        if let Err(error) = &result {
            let _ = self.0.set(format!("{name}: {}", error.message));
        }
        result
    }
}

/// For tests of what a panic leaves behind: the call that the environment variable `VSS_PANIC_IN` names panics.
#[cfg(feature = "panics")]
fn panic_if_asked(name: &str) {
    if std::env::var("VSS_PANIC_IN").is_ok_and(|asked| asked == name) {
        panic!("a panic was asked for");
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
