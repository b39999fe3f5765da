//! The table macros of `sql/`, embedded at build time and registered at load.
#pragma once

namespace duckdb {

class ExtensionLoader;

void RegisterMacros(ExtensionLoader &loader);

} // namespace duckdb
