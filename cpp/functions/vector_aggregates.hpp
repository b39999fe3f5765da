//! `sum` and `avg` of vectors, element by element.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Gives DuckDB's aggregates `sum` and `avg` overloads for FLOAT[n] and DOUBLE[n], which return that type. Each element
//! of the result is the aggregate over that element of the rows: NULLs are skipped, and NULLs alone give NULL. Sums are
//! kept in double precision. A sum beyond the range of FLOAT is an OutOfRangeException.
void RegisterVectorAggregates(ExtensionLoader &loader);

} // namespace duckdb
