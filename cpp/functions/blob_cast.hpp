//! BLOB → FLOAT[n]: the cheapest way for a client to pass a vector, e.g. NumPy's `q.astype('<f4').tobytes()`.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Registers the cast: the blob holds exactly n little-endian 32-bit floats. Other lengths are conversion errors.
void RegisterBlobCast(ExtensionLoader &loader);

} // namespace duckdb
