//! `sum` and `avg` of vectors, element by element.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Gives DuckDB's aggregates `sum` and `avg` overloads for FLOAT[n] and DOUBLE[n], which return that type. Each element is what the
//! aggregate over the column of that element gives: NULLs are skipped, nothing but NULLs is NULL. Sums are kept in double precision. A sum
//! beyond the range of FLOAT is an OutOfRangeException.
void RegisterVectorAggregates(ExtensionLoader &loader);

} // namespace duckdb
