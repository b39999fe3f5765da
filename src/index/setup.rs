//! What all parts of an index share, and what never changes.

use std::sync::Arc;

use crate::error::Result;
use crate::memory::{Charge, Memory};
use crate::options::Options;
use crate::vectors::Codec;

/// Options, codec and memory of an index. The codec learns its centre once; nothing else changes.
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) codec: Arc<Codec>,
    pub(crate) memory: Arc<Memory>,
    _codec_memory: Charge,
}

impl Setup {
    /// `codec`: the one that `options` describe. Errors: `OutOfMemory`.
    pub(super) fn new(options: Options, codec: Codec, memory: Arc<Memory>) -> Result<Self> {
        let charge = memory.charge(codec.memory_bytes())?;
        Ok(Self { options, codec: Arc::new(codec), memory, _codec_memory: charge })
    }
}
