#pragma once

#include <mutex>

namespace duckdb {

using std::lock_guard;
using std::mutex;

} // namespace duckdb
