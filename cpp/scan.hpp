//! The index search as an operator: replaces the scan of a table below a TOP_N over a vector distance.
//!
//! It emits the same columns as the scan it replaces, for a superset of the rows the TOP_N will keep: candidates of the
//! index that the transaction sees, and all rows the transaction itself has inserted. Whenever the index cannot promise
//! that, it runs the scan.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "duckdb/planner/operator/logical_get.hpp"

namespace duckdb {

class DuckTableEntry;
class IndexEntry;

//! Which index answers, and for how many rows.
struct IndexSearch {
	shared_ptr<IndexEntry> entry;
	//! Names for EXPLAIN.
	string index_name;
	string metric;
	//! Elements of the indexed `FLOAT[n]`.
	idx_t dimensions;
	//! Rows the TOP_N needs: limit + offset.
	idx_t wanted;
	//! Search width (ef) and strategy, as planned; both are decided again when the search runs.
	idx_t ef;
	string strategy;
};

//! HNSW_INDEX_SCAN in a logical plan. Without a child the query vector is a constant of the execution (literal,
//! parameter, variable …); with one it is an expression over the child's columns, which are then emitted, too, as the
//! cross product with the table would. `expressions[0]` is the query vector.
class LogicalHNSWScan : public LogicalExtensionOperator {
public:
	//! `get_first`: the table's columns come before the child's.
	LogicalHNSWScan(unique_ptr<LogicalGet> get, IndexSearch search, unique_ptr<Expression> query,
	                unique_ptr<LogicalOperator> child, bool get_first);

	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	vector<ColumnBinding> GetColumnBindings() override;
	vector<TableIndex> GetTableIndex() const override;
	idx_t EstimateCardinality(ClientContext &context) override;
	optional_ptr<const string> GetTypeBindingVerificationIdentifier() const noexcept override;
	string GetName() const override {
		return "HNSW_INDEX_SCAN";
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;
	string GetExtensionName() const override {
		return "vss";
	}
	bool SupportSerialization() const override {
		return false;
	}

protected:
	void ResolveTypes() override;

private:
	unique_ptr<LogicalGet> get;
	IndexSearch search;
	bool get_first;
};

//! What EXPLAIN shows of a search.
InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search);

} // namespace duckdb
