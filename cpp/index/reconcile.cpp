//! Compares an index with its table before it is used, and makes up for what a log, an image or a build has missed.
#include "duckdb/common/types/data_chunk.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table/row_group_collection.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "host/log.hpp"
#include "index/hnsw_index.hpp"
#include "index/keys.hpp"
#include "host/vector_batch.hpp"
#include <chrono>
#include <thread>

namespace duckdb {

//! Waits until the rows that commits have handed to the indexes are in the table, too, where a scan sees them. An index
//! that was closed has missed these rows. Returns false if the table was altered or dropped meanwhile: new rows then go
//! to its newest version. Takes the table's append lock for a moment.
static bool WaitForAppends(ClientContext &context, DataTable &table) {
	if (!table.IsMainTable()) {
		return false;
	}
	try {
		TableAppendState append_state;
		table.AppendLock(DuckTransaction::Get(context, table.db), append_state);
		return true;
	} catch (TransactionException &) {
		return false;
	}
}

//! Scans columns of a table, and the row ids as the last column. Rows that are not committed yet are included; `type`
//! says which deleted rows are. Appends go on meanwhile. Adds the number of rows to `read`.
static void ScanRows(const vss::HostInterrupt &interrupt, DataTable &table, const vector<column_t> &columns,
                     TableScanType type, atomic<idx_t> &read, const std::function<void(DataChunk &chunk)> &consume) {
	auto &rows = *table.GetRowGroupCollection();
	auto table_types = rows.GetTypes();
	vector<StorageIndex> column_ids;
	vector<LogicalType> types;
	for (auto &column : columns) {
		column_ids.emplace_back(column);
		types.push_back(table_types[column]);
	}
	column_ids.emplace_back(COLUMN_IDENTIFIER_ROW_ID);
	types.push_back(LogicalType::ROW_TYPE);
	DataChunk chunk;
	chunk.Initialize(Allocator::Get(table.db), types);
	TableScanState state;
	state.Initialize(column_ids, nullptr);
	rows.InitializeScan(QueryContext(), state.table_state, column_ids, nullptr);
	while (true) {
		interrupt.Check();
		chunk.Reset();
		state.table_state.Scan(chunk, type);
		if (chunk.size() == 0) {
			return;
		}
		consume(chunk);
		read += chunk.size();
	}
}

//! Row ids of a chunk of `ScanRows`.
static rust::Slice<const int64_t> RowIds(DataChunk &chunk) {
	auto &row_ids = chunk.data.back();
	row_ids.Flatten();
	return {FlatVector::GetData<int64_t>(row_ids), chunk.size()};
}

//! What a comparison needs of an index, which may be dropped meanwhile.
struct HNSWIndex::Comparison {
	Comparison(ClientContext &context_p, const vss::HostInterrupt &interrupt_p, const HNSWIndex &index,
	           AttachedDatabase &db_p)
	    : context(context_p), interrupt(interrupt_p), db(db_p), core(index.core->share()), progress(index.comparing),
	      deleted_after(index.agreement.DeletedAfter()), vectors(!index.agreement.IsTrusted()),
	      dimensions(index.Dimensions()), complete(index.agreement.IsComplete()), types(index.logical_types),
	      columns(index.column_ids), key(index.CopyUnboundExpression(0)) {
		// the scan yields the indexed columns only, in this order
		ExpressionIterator::VisitExpressionMutable<BoundColumnRefExpression>(
		    key, [](BoundColumnRefExpression &column, unique_ptr<Expression> &expr) {
			    auto position = idx_t(column.Binding().column_index);
			    expr = make_uniq<BoundReferenceExpression>(expr->GetReturnType(), position);
		    });
	}
	~Comparison() {
		progress->total = 0;
	}

	//! Compares. Returns the commit after which deleted rows have to be looked for again; `NEVER` if that is not
	//! needed.
	uint64_t Run(DataTable &table);
	void AppendVectors(DataTable &table);
	uint64_t ForgetDeleted(DataTable &table);

	ClientContext &context;
	const vss::HostInterrupt &interrupt;
	AttachedDatabase &db;
	rust::Box<vss::IndexHandle> core;
	const shared_ptr<ComparisonProgress> progress;
	const shared_ptr<const atomic<uint64_t>> deleted_after;
	bool vectors;
	const idx_t dimensions;
	//! The index lacks no row.
	const bool complete;
	const vector<LogicalType> types;
	const vector<column_t> columns;
	unique_ptr<Expression> key;
};

//! Turns rows of `core` into tombstones if their deletion from `table` is committed. Returns the commit after which to
//! look again: a delete that the index was told of after that commit is not done yet, so the scan still saw its rows.
//! `NEVER` if there is no such delete.
uint64_t HNSWIndex::Comparison::ForgetDeleted(DataTable &table) {
	auto last_commit = DuckTransactionManager::Get(table.db).GetLastCommit();
	auto deleting = *deleted_after == last_commit;
	Translate([&] { core->begin_comparison(table.GetNextRowId()); });
	ScanRows(interrupt, table, {}, TableScanType::TABLE_SCAN_COMMITTED_ROWS, progress->done,
	         [&](DataChunk &chunk) { core->seen(RowIds(chunk)); });
	core->end_comparison(DuckTransactionManager::Get(table.db).GetLastCommit());
	return deleting ? last_commit : Agreement::NEVER;
}

uint64_t HNSWIndex::Comparison::Run(DataTable &table) {
	// while this is held, row ids stand for the same rows
	auto vacuum_lock = DuckTransactionManager::Get(db).SharedVacuumLock();
	auto rows = table.GetTotalRows();
	progress->done = 0;
	progress->total = complete ? rows : 2 * rows;
	if (complete) {
		return ForgetDeleted(table);
	}
	Translate([&] { core->begin_comparison(table.GetNextRowId()); });
	// Older snapshots may still see a row that a commit has deleted. So this takes the vectors of all rows that any
	// snapshot sees; the last scan then tells which rows are left.
	if (!vectors) {
		ScanRows(interrupt, table, {}, TableScanType::TABLE_SCAN_OMIT_PERMANENTLY_DELETED, progress->done,
		         [&](DataChunk &chunk) { vectors = core->seen(RowIds(chunk)) || vectors; });
		if (vectors) {
			progress->total += rows;
		}
	}
	if (vectors) {
		AppendVectors(table);
	}
	return ForgetDeleted(table);
}

void HNSWIndex::Comparison::AppendVectors(DataTable &table) {
	ExpressionExecutor executor(context, *key);
	DataChunk keys;
	keys.Initialize(Allocator::Get(db), types);
	auto take = [&](DataChunk &chunk) {
		keys.Reset();
		ComputeKeys(chunk, keys, [&](DataChunk &rows, DataChunk &computed) { executor.Execute(rows, computed); });
		VectorBatch batch(keys.data[0], chunk.data.back(), chunk.size(), dimensions);
		Translate([&] { core->append(vss::RowOrigin::Scan, batch.RowIds(), batch.Values()); });
		core->without_vector(vss::RowOrigin::Scan, batch.NullRowIds());
	};
	ScanRows(interrupt, table, columns, TableScanType::TABLE_SCAN_OMIT_PERMANENTLY_DELETED, progress->done, take);
}

//! Waits for a lock that may be held for long.
static unique_lock<mutex> LockUnlessInterrupted(const vss::HostInterrupt &interrupt, mutex &lock) {
	unique_lock<mutex> result(lock, std::defer_lock);
	while (!result.try_lock()) {
		interrupt.Check();
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
	return result;
}

void HNSWIndex::Reconcile(ClientContext &context, const vss::HostInterrupt &interrupt, IndexEntry &entry,
                          DataTable &table) {
	shared_ptr<mutex> compare_lock;
	Visit(entry, [&](const HNSWIndex &index) {
		if (index.ReconcileDue()) {
			compare_lock = index.compare_lock;
		}
	});
	if (!compare_lock) {
		return;
	}
	auto guard = LockUnlessInterrupted(interrupt, *compare_lock);
	Change(entry, [&](HNSWIndex &index) {
		if (!index.core->is_sound()) {
			index.Discard(Agreement::Reason::FOR_NOW);
		}
	});
	ErrorData failure;
	auto recheck_after = Agreement::NEVER;
	try {
		OpenLate(entry, table);
		unique_ptr<Comparison> comparison;
		Visit(entry, [&](const HNSWIndex &index) {
			if (!index.agreement.IsClosed() && index.ReconcileDue()) {
				comparison = make_uniq<Comparison>(context, interrupt, index, table.db);
			}
		});
		if (!comparison || !WaitForAppends(context, table)) {
			return;
		}
		// no lock of the entry is held: commits go on
		recheck_after = comparison->Run(table);
	} catch (InterruptException &) {
		throw;
	} catch (std::exception &ex) {
		failure = ErrorData(ex);
	}
	Change(entry, [&](HNSWIndex &index) {
		if (!index.core->is_sound()) {
			// the second time in a row: closed until the database is opened again
			index.Discard(Agreement::Reason::FOR_GOOD);
		} else if (!failure.HasError()) {
			index.agreement.Reconciled(table.GetNextRowId(), recheck_after);
			index.maintenance->Schedule();
		} else if (failure.Type() == ExceptionType::OUT_OF_MEMORY && !index.agreement.IsClosed() &&
		           !index.agreement.IsComplete()) {
			index.Close(Agreement::Reason::FOR_NOW, failure.RawMessage());
		} else {
			index.agreement.SetProblem(failure.RawMessage());
		}
	});
	IndexLog log(context);
	if (log.IsOn()) {
		string name;
		string status;
		Visit(entry, [&](const HNSWIndex &index) {
			name = index.name.GetIdentifierName();
			status = index.Status(table);
		});
		log.Write("comparison", table.GetDataTableInfo()->GetTableName().GetIdentifierName(), name, status);
	}
}

} // namespace duckdb
