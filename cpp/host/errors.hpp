//! The one place where errors of the Rust core become exceptions of DuckDB.
#pragma once

#include "duckdb/common/error_data.hpp"
#include "duckdb/common/exception.hpp"
#include "duckdb/common/exception/binder_exception.hpp"
#include "rust/cxx.h"

namespace duckdb {

//! Only the text of a Rust error crosses the bridge; it reads `<kind>\x1f<message>`, see src/error.rs.
[[noreturn]] inline void ThrowRustError(const rust::Error &error) {
	string text = error.what();
	string kind = "InvalidInput";
	auto separator = text.find('\x1f');
	if (separator != string::npos) {
		kind = text.substr(0, separator);
		text = text.substr(separator + 1);
	}
	if (kind == "Binder") {
		throw BinderException(text);
	}
	if (kind == "OutOfMemory") {
		throw OutOfMemoryException(text);
	}
	if (kind == "Interrupted") {
		throw InterruptException();
	}
	throw InvalidInputException(text);
}

//! Runs `call`, which calls Rust, and translates its errors.
template <class CALL>
auto Translate(CALL &&call) -> decltype(call()) {
	try {
		return call();
	} catch (const rust::Error &error) {
		ThrowRustError(error);
	}
}

} // namespace duckdb
