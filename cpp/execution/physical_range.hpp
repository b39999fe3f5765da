//! Execution of HNSW_INDEX_SCAN for a range: several threads look through the index, then they fetch; or the table scan it replaces.
#pragma once

#include "execution/physical_search.hpp"

namespace duckdb {

class PhysicalHNSWRange : public PhysicalHNSWSearch {
public:
	using PhysicalHNSWSearch::PhysicalHNSWSearch;

	//! The columns to emit, and what else `predicate` needs.
	vector<StorageIndex> checked_ids;
	vector<LogicalType> checked_types;
	//! What rows must pass that are not certain.
	unique_ptr<Expression> predicate;
	//! So must those of the replaced scan, which has all these columns then.
	bool checks_scan = false;
	vector<DistanceBound> bounds;

	//! Rows come in the order of the table, as without the index.
	OrderPreservationType SourceOrder() const override {
		return table_scan.scan.SourceOrder();
	}
	bool SupportsPartitioning(const OperatorPartitionInfo &partition_info) const override {
		return table_scan.scan.SupportsPartitioning(partition_info);
	}
	OperatorPartitionData GetPartitionData(ExecutionContext &context, DataChunk &chunk, GlobalSourceState &gstate,
	                                       LocalSourceState &lstate,
	                                       const OperatorPartitionInfo &partition_info) const override;

	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;
	unique_ptr<LocalSourceState> GetLocalSourceState(ExecutionContext &context,
	                                                 GlobalSourceState &gstate) const override;

	//! In rows to be fetched, once they are found.
	ProgressData GetProgress(ClientContext &context, GlobalSourceState &gstate) const override;

	//! Remembers what a search did, for EXPLAIN ANALYZE.
	void Report(const vss::SearchReport &report, idx_t certain, idx_t uncertain) const;

protected:
	InsertionOrderPreservingMap<string> PlannedParameters() const override;
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;
};

} // namespace duckdb
