//! Who appends more rows than the background threads can link helps them: searches read pending rows one by one.
#pragma once

#include "duckdb/common/vector.hpp"
#include "duckdb/main/client_context_state.hpp"

namespace duckdb {

class DataTable;
class LogicalOperator;
struct DataTableInfo;

//! Of a connection: the tables that it has written to.
class Backlog : public ClientContextState {
public:
	//! Pending rows that stay to the background threads: an exact search of them takes a tenth of a short query's time.
	static constexpr idx_t PENDING_MAX = 4096;

	//! Notes the tables with indexes that `plan` writes to.
	static void Note(ClientContext &context, LogicalOperator &plan);

	//! Links rows of these tables until not many are pending; what a commit has appended is pending by now. Ends early
	//! when interrupted or out of memory: then the rows stay pending. No lock of DuckDB's storage is held meanwhile.
	void QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) override;

private:
	void Add(DataTable &table);

	vector<weak_ptr<DataTableInfo>> tables;
};

} // namespace duckdb
