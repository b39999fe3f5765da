//! Execution of HNSW_INDEX_JOIN: collects the query vectors, then searches for them on every thread, many at a time.
#pragma once

#include "execution/physical_search.hpp"

namespace duckdb {

class PairFilter;

//! What the searches of a join did, summed up.
struct JoinReport {
	//! The number of query vectors that each strategy has answered.
	map<vss::Strategy, idx_t> probes;
	idx_t visited = 0;
	idx_t distances = 0;
	idx_t candidates = 0;
};

class PhysicalHNSWJoin : public PhysicalHNSWSearch {
public:
	//! `projections` lie between the scan of the table and the join, lowest first.
	PhysicalHNSWJoin(PhysicalPlan &physical_plan, SearchInputs inputs,
	                 vector<vector<unique_ptr<Expression>>> projections, bool table_first);
	~PhysicalHNSWJoin() override;

	const vector<vector<unique_ptr<Expression>>> projections;
	const bool table_first;
	//! Over the columns of this operator; see LogicalHNSWJoin::SetConditions.
	vector<unique_ptr<Expression>> conditions;
	//! All pairs whose distance passes these are wanted. If there are none, the nearest are wanted.
	vector<DistanceBound> bounds;
	//! Which rows qualify for which query vector; null if all rows that qualify do so for all query vectors.
	unique_ptr<PairFilter> pairs;

	string GetName() const override {
		return search.JoinName();
	}

	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;
	unique_ptr<LocalSourceState> GetLocalSourceState(ExecutionContext &context,
	                                                 GlobalSourceState &gstate) const override;
	ProgressData GetProgress(ClientContext &context, GlobalSourceState &gstate) const override;

	//! Adds up what searches did, for EXPLAIN ANALYZE.
	void Report(const JoinReport &report) const;

protected:
	InsertionOrderPreservingMap<string> PlannedParameters() const override;
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;

private:
	mutable mutex total_lock;
	mutable JoinReport total;
};

} // namespace duckdb
