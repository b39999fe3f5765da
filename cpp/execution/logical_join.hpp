//! The index search for many query vectors. It replaces the cross product of query vectors with a table below an
//! operator that keeps only the nearest rows (see `Nearest`), or only those within some distance.
//!
//! It emits the same columns as the cross product, for a superset of the pairs that will be kept. For each query vector
//! these are the candidates of the index that the transaction sees, and all rows that the transaction itself has
//! inserted. If the index cannot promise that for a query vector, they are all rows of the table.
#pragma once

#include "execution/logical_search.hpp"

namespace duckdb {

//! HNSW_INDEX_JOIN in a logical plan. It always has probes, and also emits their columns.
class LogicalHNSWJoin : public LogicalHNSWSearch {
public:
	//! `table`: the scan of the searched table, possibly below projections. `table_first`: its columns come before
	//! those of `probes`.
	LogicalHNSWJoin(unique_ptr<LogicalOperator> table, IndexSearch search, unique_ptr<Expression> query,
	                unique_ptr<LogicalOperator> probes, bool table_first);

	//! Only rows whose ids `filter` yields are emitted. The search considers only those of them for which all
	//! `conditions` are true; see `PairConditions`. The others may be emitted all the same.
	void SetFilter(ClientContext &context, RowFilter filter, vector<unique_ptr<Expression>> conditions);
	//! Pairs for which one of the conditions, over the columns of this operator, is not true do not count as found. They may
	//! be emitted all the same.
	void SetConditions(vector<unique_ptr<Expression>> conditions);
	//! All pairs whose distance passes `bounds` are wanted, without a limit. Other pairs may be emitted all the same.
	void SetBounds(vector<DistanceBound> bounds);
	//! Null for pairs within bounds: these are complete, so there is no recall to measure.
	shared_ptr<SearchRecord> Record() override {
		return bounds.empty() ? LogicalHNSWSearch::Record() : nullptr;
	}

	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	vector<ColumnBinding> GetColumnBindings() override;
	string GetName() const override {
		return search.JoinName();
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;

protected:
	void ResolveTypes() override;

private:
	bool table_first;
	//! Over `key_columns` and the columns of the probes.
	vector<unique_ptr<Expression>> pair_conditions;
	//! Not among `expressions`, which are over the children.
	vector<unique_ptr<Expression>> conditions;
	vector<DistanceBound> bounds;
};

} // namespace duckdb
