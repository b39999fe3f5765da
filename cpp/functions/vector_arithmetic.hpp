//! Arithmetic of vectors: `array_add`, `array_subtract`, `array_scale`, `array_normalize`.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Registers the scalar functions for FLOAT[n] and DOUBLE[n], which they return. If an argument is NULL, the result is
//! NULL. If an element is NULL, that element of the result is NULL; of `array_normalize`, the whole result is. What
//! exceeds the range of the type becomes infinite, as with DuckDB's own operators. Vectors of different length are a
//! BinderException.
void RegisterVectorArithmetic(ExtensionLoader &loader);

} // namespace duckdb
