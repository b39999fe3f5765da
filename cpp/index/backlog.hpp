//! What a statement leaves to do for indexes when its transaction is over. Who appends more rows than the background
//! threads can link helps them, as searches read pending rows one by one.
#pragma once

#include "duckdb/common/vector.hpp"
#include "duckdb/main/client_context_state.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class AttachedDatabase;
class DataTable;
class LogicalOperator;
struct DataTableInfo;

//! Of a connection: the tables that it writes to, and what its last transaction has left to do for their indexes.
class Backlog : public ClientContextState {
public:
	//! Pending rows that stay to the background threads: an exact search of them takes a tenth of a short query's time.
	static constexpr idx_t PENDING_MAX = 4096;

	//! Notes the tables that `plan` writes to.
	static void Note(ClientContext &context, LogicalOperator &plan);

	//! Takes handles on the indexes of the tables in the database that the transaction has written to. Later that
	//! database may be gone, and nothing of its tables may be touched: now the transaction holds it.
	void TransactionCommit(MetaTransaction &transaction, ClientContext &context) override;
	//! Notes when the statement has to be over.
	void QueryBegin(ClientContext &context) override;
	//! Links rows of these indexes until not many are pending, and takes slots of deleted rows out of graphs that have too
	//! many, as far as statements have made that work, and a piece of what nobody has; what a commit has appended or deleted
	//! is known by now. Ends early when interrupted, out of time or out of memory: then the work is left to the background.
	//! No lock of DuckDB's storage is held meanwhile.
	void QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) override;

private:
	struct Table {
		//! To be compared only: they may be gone.
		const AttachedDatabase *db;
		const DataTableInfo *address;
		//! To be locked only while somebody holds the database.
		weak_ptr<DataTableInfo> info;
	};
	struct Index {
		rust::Box<vss::IndexHandle> core;
		//! Tells which deletes nobody sees any more, if it is still there.
		weak_ptr<AttachedDatabase> db;
		//! What the transaction has changed.
		vss::Own own;
	};

	void Add(DataTable &table);
	//! Takes handles on the indexes that a transaction has changed.
	void TakeIndexes(MetaTransaction &transaction);
	//! Takes handles on those indexes of a table that the transaction has changed which this thread has just committed, and what it owes
	//! them. Holds their locks for moments only. Returns whether the table has indexes, of whatever kind.
	bool AddIndexes(DataTableInfo &info);

	vector<Table> tables;
	//! See `max_execution_time`.
	optional_idx deadline;
	//! Of the transaction that was committed.
	std::vector<Index> indexes;
};

} // namespace duckdb
