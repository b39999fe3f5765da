//! Lists of columns that know each column by its position.
#pragma once

#include "duckdb/common/vector.hpp"

#include <algorithm>

namespace duckdb {

//! The position of `value` in `values`. Appends it if it is not there.
template <class T>
idx_t PositionOrAdd(vector<T> &values, const T &value) {
	auto position = UnsafeNumericCast<idx_t>(std::find(values.begin(), values.end(), value) - values.begin());
	if (position == values.size()) {
		values.push_back(value);
	}
	return position;
}

} // namespace duckdb
