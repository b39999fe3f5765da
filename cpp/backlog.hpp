//! What a statement leaves to do for indexes when its transaction is over. Who appends more rows than the background
//! threads can link helps them, as searches read pending rows one by one; and VACUUM compacts.
#pragma once

#include "duckdb/common/vector.hpp"
#include "duckdb/main/client_context_state.hpp"
#include "vss/src/bridge.rs.h"

namespace duckdb {

class AttachedDatabase;
class DatabaseInstance;
class DataTable;
class HNSWIndex;
class LogicalOperator;
struct DataTableInfo;

//! Of a connection: what its last transaction has left to do for indexes.
class Backlog : public ClientContextState {
public:
	//! Pending rows that stay to the background threads: an exact search of them takes a tenth of a short query's time.
	static constexpr idx_t PENDING_MAX = 4096;

	//! Gives all connections of a database, and those to come, a backlog.
	static void Register(DatabaseInstance &db);
	//! Notes the tables with indexes that `plan` vacuums.
	static void NoteVacuum(ClientContext &context, LogicalOperator &plan);
	//! Notes that the commit that goes on in this thread changes an index: whoever ends the transaction, which is in this thread,
	//! too, takes it from there. Does nothing when memory is short.
	static void NoteChange(const HNSWIndex &index, AttachedDatabase &db, const vss::Core &core) noexcept;

	//! Takes handles on the indexes that the transaction has changed or vacuumed. Later their database may be gone, and
	//! nothing of its tables may be touched: now the transaction holds it.
	void TransactionCommit(MetaTransaction &transaction, ClientContext &context) override;
	//! The same, as a commit that failed has changed indexes, too.
	void TransactionRollback(MetaTransaction &transaction, ClientContext &context) override;
	//! Links rows of these indexes until not many are pending, and takes slots of deleted rows out of graphs that have too
	//! many; what a commit has appended or deleted is known by now. Compacts those that were to be vacuumed. Ends early when
	//! interrupted or out of memory: then the work is left to the background. No lock of DuckDB's storage is held meanwhile.
	void QueryEnd(ClientContext &context, optional_ptr<ErrorData> error) override;

private:
	struct Vacuumed {
		//! To be compared only: it may be gone.
		const AttachedDatabase *db;
		//! To be locked only while somebody holds the database.
		weak_ptr<DataTableInfo> table;
	};
	struct Index {
		//! To be compared only.
		const HNSWIndex *index;
		rust::Box<vss::Core> core;
		//! Tells which deletes nobody sees any more, if it is still there.
		weak_ptr<AttachedDatabase> db;
		bool compact;
	};

	//! Changed by the commit that goes on in this thread.
	static std::vector<Index> &Changed();
	void TakeChanged();

	//! By the transaction that is going on.
	vector<Vacuumed> vacuumed;
	//! Of the transaction that is over.
	std::vector<Index> indexes;
};

} // namespace duckdb
