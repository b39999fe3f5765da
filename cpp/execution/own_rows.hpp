//! The rows that a transaction has inserted itself: no index has them yet.
#pragma once

#include "duckdb/planner/table_filter_set.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "execution/wanted_rows.hpp"

namespace duckdb {

class DataTable;
class DuckTransaction;

//! A scan of the transaction's own rows of a table.
class OwnRows {
public:
	//! Whether the transaction has added rows to the table.
	static bool Exist(ClientContext &context, DataTable &storage);
	//! Begins at the first row. `columns`, of the types `types`, are read. `wanted`: row ids minus MAX_ROW_ID; null for
	//! all. Neither `wanted` nor this object may move while the scan runs.
	void Begin(ClientContext &context, DataTable &storage, vector<StorageIndex> columns,
	           const vector<LogicalType> &types, optional_ptr<const vss::RowSet> wanted);
	//! Fills `chunk` with the next rows; `chunk` stays empty at the end.
	void Scan(DuckTransaction &transaction, DataChunk &chunk);

private:
	//! Null if there are no rows to read.
	unique_ptr<TableScanState> state;
	TableFilterSet filters;
	//! The columns, followed by the row id.
	DataChunk scanned;
};

} // namespace duckdb
