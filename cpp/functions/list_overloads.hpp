//! Distances of a FLOAT[n] column and a list: `array_distance(v, [1, 2, 3])`, or a parameter without a cast.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Gives DuckDB's array distances overloads for an ARRAY and a list, and for two lists. Lists of another length are
//! DuckDB's own error.
void RegisterListOverloads(ExtensionLoader &loader);

} // namespace duckdb
