#pragma once

#include <limits>

namespace duckdb {

template <class T>
struct NumericLimits {
	static constexpr T Maximum() {
		return std::numeric_limits<T>::max();
	}
};

} // namespace duckdb
