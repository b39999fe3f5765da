//! Execution of HNSW_INDEX_SCAN for a range: several threads look through the index, then fetch rows. Or they run the
//! table scan that it replaces.
#pragma once

#include "execution/physical_search.hpp"

namespace duckdb {

class PhysicalHNSWRange : public PhysicalHNSWSearch {
public:
	using PhysicalHNSWSearch::PhysicalHNSWSearch;

	//! The emitted columns, and other columns of `predicate`.
	vector<StorageIndex> checked_ids;
	vector<LogicalType> checked_types;
	//! What rows that are not certain must pass.
	unique_ptr<Expression> predicate;
	//! Rows of the replaced scan must pass it, too; the scan has all these columns then.
	bool checks_scan = false;
	vector<DistanceBound> bounds;

	//! Rows come in the table's order, as without the index.
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

	//! Counted in rows to be fetched, once they are found.
	ProgressData GetProgress(ClientContext &context, GlobalSourceState &gstate) const override;

	//! Remembers what a search did, for EXPLAIN ANALYZE.
	void Report(const vss::SearchReport &report, idx_t certain, idx_t uncertain) const;

protected:
	InsertionOrderPreservingMap<string> PlannedParameters() const override;
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;
};

} // namespace duckdb
