//! The error of the crate: a kind, and a message that says what was given, what is allowed and what to do.

use std::fmt;

/// What went wrong, as far as a host treats it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The statement cannot be meant: an option, a name, a type.
    Binder,
    /// A value cannot be used.
    InvalidInput,
    /// The host refused memory, or the system has none.
    OutOfMemory,
    /// The user stopped the statement.
    Interrupted,
    /// Stored bytes are damaged or foreign.
    Corrupt,
    /// The host could not read or write stored pages.
    Storage,
    /// A defect of this crate.
    Internal,
}

/// An error with a message for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind.
    pub kind: ErrorKind,
    /// The message, one sentence or two, without the kind.
    pub message: String,
}

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The form in which an error crosses to C++, where only text arrives: `<kind>\x1f<message>`.
    pub fn encode(&self) -> String {
        format!("{:?}\u{1f}{}", self.kind, self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cpp/host/errors.hpp` splits at the separator and compares the kinds by name.
    #[test]
    fn the_kind_crosses_in_front_of_the_message() {
        let error = Error::new(ErrorKind::OutOfMemory, "needs 3 GiB");
        assert_eq!(error.encode(), "OutOfMemory\u{1f}needs 3 GiB");
        assert_eq!(error.to_string(), "needs 3 GiB");
        assert_eq!(Error::new(ErrorKind::Binder, "").encode(), "Binder\u{1f}");
        assert_eq!(Error::new(ErrorKind::Interrupted, "").encode(), "Interrupted\u{1f}");
    }
}
