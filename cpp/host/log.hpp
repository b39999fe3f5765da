//! What happens to indexes, in DuckDB's log: `CALL enable_logging('vss')`, `FROM duckdb_logs_parsed('vss')`.
#pragma once

#include "duckdb/common/string.hpp"

namespace duckdb {

class ClientContext;
class DatabaseInstance;
class Logger;

//! Entries of the type "vss". Each has an event, the table and the index that it is about, and a text.
class IndexLog {
public:
	static void Register(DatabaseInstance &db);

	explicit IndexLog(ClientContext &context);
	explicit IndexLog(DatabaseInstance &db);

	//! Whether anybody wants entries. Ask this before making an entry that costs something.
	bool IsOn() const;
	//! Writes an entry if anybody wants it. `event`: what has happened, in a word. An empty name is NULL in the entry.
	void Write(const string &event, const string &table, const string &index, const string &detail) const;

private:
	Logger &logger;
};

} // namespace duckdb
