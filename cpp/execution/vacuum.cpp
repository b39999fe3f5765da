#include "execution/vacuum.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/exception.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/planner/operator/logical_vacuum.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "execution/physical_after_child.hpp"
#include "host/aside.hpp"
#include "index/compaction.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

namespace {

struct BoundHNSWIndex {
	rust::Box<vss::IndexHandle> core;
	string name;
};

} // namespace

//! The bound indexes. Others have nothing in memory to compact.
static vector<BoundHNSWIndex> BoundIndexes(DataTable &table) {
	vector<BoundHNSWIndex> result;
	HNSWIndex::VisitAll(*table.GetDataTableInfo(), [&](const HNSWIndex &index) {
		result.push_back(BoundHNSWIndex {index.Core().share(), index.GetIndexName().GetIdentifierName()});
	});
	return result;
}

//! Compacts those indexes of `table` that have entries of deleted rows. If memory is short, they stay as they are:
//! DuckDB's part of a VACUUM does not need it.
static void CompactAll(ClientContext &context, const vss::HostInterrupt &interrupt, DataTable &table) {
	for (auto &index : BoundIndexes(table)) {
		try {
			HNSWIndex::Expire(table.db, *index.core);
			if (index.core->info().deleted > 0) {
				Compaction(table, index.name).Run(context, interrupt, std::move(index.core));
			}
		} catch (const OutOfMemoryException &) {
			continue;
		}
	}
}

namespace {

//! Runs its child, then compacts.
class PhysicalHNSWVacuum : public PhysicalAfterChild {
public:
	PhysicalHNSWVacuum(PhysicalPlan &physical_plan, vector<LogicalType> types, PhysicalOperator &vacuum,
	                   DuckTableEntry &table_p)
	    : PhysicalAfterChild(physical_plan, std::move(types), vacuum, 0), table(table_p) {
	}

	DuckTableEntry &table;

	string GetName() const override {
		return "HNSW_VACUUM";
	}
	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;
};

class HNSWVacuumState : public GlobalSourceState {
public:
	unique_ptr<Aside> work;
};

} // namespace

unique_ptr<GlobalSourceState> PhysicalHNSWVacuum::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<HNSWVacuumState>();
}

SourceResultType PhysicalHNSWVacuum::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                     OperatorSourceInput &input) const {
	auto &state = input.global_state.Cast<HNSWVacuumState>();
	if (!state.work) {
		auto &client = context.client;
		state.work = make_uniq<Aside>(client, [this, &client](const vss::HostInterrupt &interrupt) {
			CompactAll(client, interrupt, table.GetStorage());
		});
	}
	return state.work->Wait() ? SourceResultType::FINISHED : SourceResultType::HAVE_MORE_OUTPUT;
}

LogicalHNSWVacuum::LogicalHNSWVacuum(DuckTableEntry &table_p, unique_ptr<LogicalOperator> vacuum) : table(table_p) {
	children.push_back(std::move(vacuum));
}

void LogicalHNSWVacuum::Add(unique_ptr<LogicalOperator> &plan) {
	if (plan->type == LogicalOperatorType::LOGICAL_EXPLAIN) {
		Add(plan->children[0]);
		return;
	}
	if (plan->type != LogicalOperatorType::LOGICAL_VACUUM) {
		return;
	}
	auto table = plan->Cast<LogicalVacuum>().table;
	if (!table || !table->IsDuckTable()) {
		return;
	}
	auto &duck_table = table->Cast<DuckTableEntry>();
	auto &storage = duck_table.GetStorage();
	if (!storage.db.IsReadOnly() && !BoundIndexes(storage).empty()) {
		plan = make_uniq<LogicalHNSWVacuum>(duck_table, std::move(plan));
	}
}

vector<ColumnBinding> LogicalHNSWVacuum::GetColumnBindings() {
	return children[0]->GetColumnBindings();
}

optional_ptr<const string> LogicalHNSWVacuum::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_vacuum";
	return &IDENTIFIER;
}

void LogicalHNSWVacuum::ResolveTypes() {
	types = children[0]->types;
}

PhysicalOperator &LogicalHNSWVacuum::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	auto &vacuum = planner.CreatePlan(*children[0]);
	return planner.Make<PhysicalHNSWVacuum>(types, vacuum, table);
}

} // namespace duckdb
