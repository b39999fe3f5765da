//! In the place of DuckDB's: atomics between whose operations other fibers run.
#pragma once

#include "../../schedules.hpp"

#include <cstdint>

namespace duckdb {

using idx_t = uint64_t;

template <class T>
class atomic {
public:
	atomic(T value) : value(value) {
	}
	T load() const {
		Schedule::LetOthersRun();
		return value;
	}
	operator T() const {
		return load();
	}
	void operator=(T next) {
		Schedule::LetOthersRun();
		value = next;
	}
	bool compare_exchange_weak(T &expected, T next) {
		Schedule::LetOthersRun();
		if (value == expected) {
			value = next;
			return true;
		}
		expected = value;
		return false;
	}

private:
	T value;
};

} // namespace duckdb
