#pragma once

#include <string>

namespace duckdb {

using std::string;

} // namespace duckdb
