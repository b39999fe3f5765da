//! Execution of HNSW_INDEX_SCAN: searches, then fetches rows through the transaction. Or it runs the table scan that it
//! replaces.
#pragma once

#include "execution/physical_search.hpp"

namespace duckdb {

class PhysicalHNSWScan : public PhysicalHNSWSearch {
public:
	using PhysicalHNSWSearch::PhysicalHNSWSearch;

	//! If the best groups of rows are wanted: the expressions that make the groups, over `group_columns`. None if the
	//! filter has kept the groups of its rows.
	vector<unique_ptr<Expression>> groups;
	vector<StorageIndex> group_columns;
	vector<LogicalType> group_types;

	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;
	unique_ptr<LocalSourceState> GetLocalSourceState(ExecutionContext &context,
	                                                 GlobalSourceState &gstate) const override;
	//! Counted in query vectors. With only one, it is the progress of the replaced scan, if that runs.
	ProgressData GetProgress(ClientContext &context, GlobalSourceState &gstate) const override;
	//! Remembers what a search did, for EXPLAIN ANALYZE.
	void Report(const vss::SearchAnswer &answer) const;

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;
};

} // namespace duckdb
