//! What a statement leaves to do for indexes when its transaction is over. A thread that appends more rows than the
//! background can link helps to link them, as every search reads all pending rows.
#pragma once

#include "duckdb/common/vector.hpp"
#include "duckdb/main/client_context_state.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class AttachedDatabase;
class DataTable;
class LogicalOperator;
struct DataTableInfo;

//! State of a connection: the tables that it writes to, and the work that its last transaction left for their indexes.
class Backlog : public ClientContextState {
public:
	//! So many pending rows are left to the background: an exact search of them takes a tenth of a short query's time.
	static constexpr idx_t PENDING_MAX = 4096;

	//! Notes the tables that `plan` writes to, and binds their HNSW indexes and those of a table that it alters. Throws what
	//! `BindUnlessDropped` throws.
	static void Note(ClientContext &context, LogicalOperator &plan);

	//! Takes handles on the indexes of the tables that the transaction has written to. Until the commit ends, the
	//! transaction holds their database. Later the database may be gone, and its tables must not be touched.
	void TransactionCommit(MetaTransaction &transaction, ClientContext &context) override;
	//! Notes the deadline of the statement.
	void QueryBegin(ClientContext &context) override;
	//! Links rows of these indexes until few are pending, and frees the slots of deleted rows in graphs that have too
	//! many. Does all the work that the statement owes, and a share of the work that nobody owes
	//! (`src/index/debts.rs`). By now the core knows what the commit has appended and deleted. Ends early when
	//! interrupted, out of time or out of memory: the rest is left to the background. Holds no lock of DuckDB's
	//! storage.
	void QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) override;

private:
	struct Table {
		//! Both may be gone: they are compared, never followed.
		const AttachedDatabase *db;
		const DataTableInfo *address;
		//! Locked only while somebody holds the database.
		weak_ptr<DataTableInfo> info;
	};
	struct Index {
		rust::Box<vss::IndexHandle> core;
		//! Tells which deletes no snapshot sees any more; may be gone.
		weak_ptr<AttachedDatabase> db;
		//! What the transaction has changed.
		vss::Own own;
	};

	void Add(DataTable &table);
	//! Takes handles on the indexes that a transaction has changed.
	void TakeIndexes(MetaTransaction &transaction);
	//! Takes handles on the indexes of a table that the commit on this thread has changed, and takes over what it owes
	//! them. Holds their locks for moments only. Returns whether the table has indexes of any kind.
	bool AddIndexes(DataTableInfo &info);

	vector<Table> tables;
	//! See `max_execution_time`.
	optional_idx deadline;
	//! Those that the committed transaction has changed.
	std::vector<Index> indexes;
};

} // namespace duckdb
