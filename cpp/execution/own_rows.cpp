#include "execution/own_rows.hpp"

#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/local_storage.hpp"

namespace duckdb {

bool OwnRows::Exist(ClientContext &context, DataTable &storage) {
	return LocalStorage::Get(context, storage.db).Find(storage);
}

void OwnRows::Begin(ClientContext &context, DataTable &storage, vector<StorageIndex> columns,
                    const vector<LogicalType> &types, optional_ptr<const vss::RowSet> wanted) {
	// `state` refers to the filters, so it goes first
	state.reset();
	filters.ClearFilters();
	if ((wanted && wanted->size() == 0) || !Exist(context, storage)) {
		return;
	}
	auto rows = make_shared_ptr<WantedRows>();
	rows->Set(nullptr, wanted);
	filters.PushFilter(ProjectionIndex(columns.size()), MakeFilter(std::move(rows)));
	columns.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	if (scanned.ColumnCount() == 0) {
		auto scanned_types = types;
		scanned_types.push_back(LogicalType::ROW_TYPE);
		scanned.Initialize(Allocator::Get(context), scanned_types);
	}
	state = make_uniq<TableScanState>();
	state->Initialize(std::move(columns), context, filters);
	LocalStorage::Get(context, storage.db).InitializeScan(storage, state->local_state, filters);
}

void OwnRows::Scan(DuckTransaction &transaction, DataChunk &chunk) {
	if (!state) {
		return;
	}
	scanned.Reset();
	LocalStorage::Get(transaction).Scan(state->local_state, state->GetColumnIds(), scanned);
	for (idx_t col = 0; col < chunk.ColumnCount(); col++) {
		chunk.data[col].Reference(scanned.data[col]);
	}
	chunk.SetCardinalityUnsafe(scanned.size());
}

} // namespace duckdb
