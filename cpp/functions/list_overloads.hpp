//! Functions of a FLOAT[n] column and a list: `array_distance(v, [1, 2, 3])`, or with a parameter that has no cast.
#pragma once

namespace duckdb {

class ExtensionLoader;
class ScalarFunctionSet;

//! Adds functions with a list in the place of one ARRAY to `overloads`, made from those for two ARRAYs. The bytes of a
//! vector can also stand for FLOATs; RegisterBlobCast casts them. A bare NULL would fit both an ARRAY and a list: it is
//! taken for such bytes, or has a function of its own.
void AddListOverloads(const ScalarFunctionSet &arrays, ScalarFunctionSet &overloads);

//! Gives DuckDB's array distances overloads for an ARRAY and a list, and for two lists. Lists of another length are an
//! error of DuckDB's own.
void RegisterListOverloads(ExtensionLoader &loader);

} // namespace duckdb
