//! The one place where errors of the Rust core become exceptions of DuckDB.
#pragma once

#include "duckdb/common/error_data.hpp"
#include "duckdb/common/exception.hpp"
#include "duckdb/common/exception/binder_exception.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! Only the text of a Rust error crosses the bridge: the digit of its kind, then the message, see src/bridge/guard.rs.
//! A defect of ours (`Internal`) is no InternalException, which would invalidate the database although nothing is wrong
//! with it.
[[noreturn]] inline void ThrowRustError(const rust::Error &error) {
	string text = error.what();
	auto message = text.substr(1);
	switch (static_cast<vss::ErrorKind>(text[0] - '0')) {
	case vss::ErrorKind::Binder:
		throw BinderException(message);
	case vss::ErrorKind::InvalidInput:
		throw InvalidInputException(message);
	case vss::ErrorKind::OutOfMemory:
		throw OutOfMemoryException(message);
	case vss::ErrorKind::Interrupted:
		throw InterruptException();
	case vss::ErrorKind::Corrupt:
		throw DataCorruptionException(message);
	case vss::ErrorKind::Storage:
		throw IOException(message);
	case vss::ErrorKind::Internal:
		break;
	}
	throw ExecutorException(message);
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
