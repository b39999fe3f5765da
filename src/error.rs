//! The error of the crate: a kind, and a message that says what was given, what is allowed and what to do.

/// What went wrong. There is one kind for each way in which a host reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The statement is wrong: an option, a name, a type.
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
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

    /// The allocator has no memory. `for_what` says for what, as in "while storing an HNSW index".
    pub(crate) fn out_of_memory(for_what: &str) -> Self {
        Self::new(ErrorKind::OutOfMemory, format!("out of memory {for_what}"))
    }
}
