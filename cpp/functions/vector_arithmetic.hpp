//! Arithmetic of vectors: `array_add`, `array_subtract`, `array_scale`, `array_normalize`.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Registers the scalar functions, for FLOAT[n] and DOUBLE[n], which they return. NULL if an argument is; NULL where an element is, but for
//! `array_normalize`, which then is NULL. What is beyond the range of the type becomes infinite, as with DuckDB's own operators.
//! Vectors of different length are a BinderException.
void RegisterVectorArithmetic(ExtensionLoader &loader);

} // namespace duckdb
