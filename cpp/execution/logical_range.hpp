//! The search of an index for all rows within some distance, as an operator. It replaces the scan of a table and the
//! filter on the distance.
//!
//! It emits exactly the rows that pass its predicates. The index tells which rows do for certain; the table decides
//! about the others.
#pragma once

#include "execution/logical_search.hpp"

namespace duckdb {

//! HNSW_INDEX_SCAN in a logical plan, for a range. The query vector is a constant of the execution.
class LogicalHNSWRange : public LogicalHNSWSearch {
public:
	//! `stand_in`: the scan that runs if the index cannot answer, with all filters. Its columns are those of this
	//! operator. `predicates`: over the columns of `stand_in`. `bounds`: what `predicates` say of the distance.
	LogicalHNSWRange(unique_ptr<LogicalGet> stand_in, IndexSearch search, unique_ptr<Expression> query,
	                 vector<unique_ptr<Expression>> predicates, vector<DistanceBound> bounds);

	//! The stand-in does not check the predicates itself.
	bool checks_scan = false;

	//! Null: the rows are complete, so there is no recall to measure.
	shared_ptr<SearchRecord> Record() override {
		return nullptr;
	}
	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	InsertionOrderPreservingMap<string> ParamsToString() const override;

private:
	//! Not among `expressions`, which are over the children.
	vector<unique_ptr<Expression>> predicates;
	vector<DistanceBound> bounds;
};

} // namespace duckdb
