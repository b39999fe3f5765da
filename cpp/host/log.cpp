#include "host/log.hpp"

#include "duckdb/common/types/value.hpp"
#include "duckdb/logging/log_manager.hpp"
#include "duckdb/logging/log_type.hpp"
#include "duckdb/logging/logger.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/database.hpp"

namespace duckdb {

static constexpr const char *NAME = "vss";
static constexpr LogLevel LEVEL = LogLevel::LOG_INFO;

void IndexLog::Register(DatabaseInstance &db) {
	auto &manager = db.GetLogManager();
	if (manager.LookupLogType(NAME)) {
		return; // an earlier attempt to load the extension failed after this
	}
	auto type = LogicalType::STRUCT({{"event", LogicalType::VARCHAR},
	                                 {"table_name", LogicalType::VARCHAR},
	                                 {"index_name", LogicalType::VARCHAR},
	                                 {"detail", LogicalType::VARCHAR}});
	manager.RegisterLogType(make_uniq<LogType>(NAME, LEVEL, std::move(type)));
}

IndexLog::IndexLog(ClientContext &context) : logger(Logger::Get(context)) {
}

IndexLog::IndexLog(DatabaseInstance &db) : logger(Logger::Get(db)) {
}

bool IndexLog::IsOn() const {
	return logger.ShouldLog(NAME, LEVEL);
}

void IndexLog::Write(const string &event, const string &table, const string &index, const string &detail) const {
	if (IsOn()) {
		auto entry = Value::STRUCT({{"event", Value(event)},
		                            {"table_name", table.empty() ? Value(LogicalType::VARCHAR) : Value(table)},
		                            {"index_name", index.empty() ? Value(LogicalType::VARCHAR) : Value(index)},
		                            {"detail", Value(detail)}});
		logger.WriteLog(NAME, LEVEL, entry.ToString());
	}
}

} // namespace duckdb
