//! Functions of a FLOAT[n] column and a list: `array_distance(v, [1, 2, 3])`, or a parameter without a cast.
#pragma once

namespace duckdb {

class ExtensionLoader;
class ScalarFunctionSet;

//! Adds to `overloads` the functions for two ARRAYs, with a list in the place of one. FLOATs may come as the bytes of a vector, too, which
//! RegisterBlobCast casts. A bare NULL would fit both an ARRAY and a list: it is taken for such bytes, or has a function of its own.
void AddListOverloads(const ScalarFunctionSet &arrays, ScalarFunctionSet &overloads);

//! Gives DuckDB's array distances overloads for an ARRAY and a list, and for two lists. Lists of another length are
//! DuckDB's own error.
void RegisterListOverloads(ExtensionLoader &loader);

} // namespace duckdb
