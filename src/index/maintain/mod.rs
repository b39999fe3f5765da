//! What keeps an index small and its graph sound, while it is in use.

pub(crate) mod compact;
#[allow(unsafe_code)]
pub(crate) mod consolidate;
mod finish;
mod link;
pub(crate) mod reconnect;
mod renew;
mod upkeep;
