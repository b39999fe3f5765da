//! What becomes of indexes, in DuckDB's log: `CALL enable_logging('vss')`, `FROM duckdb_logs_parsed('vss')`.
#pragma once

#include "duckdb/common/string.hpp"

namespace duckdb {

class ClientContext;
class DatabaseInstance;
class Logger;

//! Entries of the type "vss". Each has an event, the table and the index it is about, and a text.
class IndexLog {
public:
	static void Register(DatabaseInstance &db);

	explicit IndexLog(ClientContext &context);
	explicit IndexLog(DatabaseInstance &db);

	//! Whether anybody wants entries. To be asked before one is made at any cost.
	bool IsOn() const;
	//! Writes one, if so. `event`: what has happened, in a word. An empty name is NULL there.
	void Write(const string &event, const string &table, const string &index, const string &detail) const;

private:
	Logger &logger;
};

} // namespace duckdb
