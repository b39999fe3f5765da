#pragma once

#include <memory>

namespace duckdb {

using std::shared_ptr;

template <class T, class... ARGS>
shared_ptr<T> make_shared_ptr(ARGS &&...args) {
	return std::make_shared<T>(std::forward<ARGS>(args)...);
}

} // namespace duckdb
