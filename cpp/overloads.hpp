//! Distances of a FLOAT[n] column and a list: `array_distance(v, [1, 2, 3])`, or a parameter without a cast.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Gives DuckDB's array distances its own implementation for lists as an overload, as its operators `<->` and `<=>`
//! have it. Lists of another length are DuckDB's own error.
void RegisterListOverloads(ExtensionLoader &loader);

} // namespace duckdb
