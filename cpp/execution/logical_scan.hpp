//! The index search as an operator: replaces the scan of a table below a TOP_N over a vector distance.
//!
//! It emits the same columns as the scan it replaces, for a superset of the rows the TOP_N will keep: candidates of the
//! index that the transaction sees, and all rows the transaction itself has inserted. Whenever the index cannot promise
//! that, it runs the scan.
#pragma once

#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class DuckTableEntry;
class IndexEntry;
struct SharedIndex;

//! Which index answers, and for how many rows.
struct IndexSearch {
	//! Names of the operators in plans: one answer, or one for each query vector.
	static constexpr const char *SCAN = "HNSW_INDEX_SCAN";
	static constexpr const char *JOIN = "HNSW_INDEX_JOIN";

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
	//! A further order decides between rows that tie with the last one wanted.
	bool ties = false;
	//! Rows that the index does not rank are dropped above.
	bool ranked_only = false;
	//! So are pairs without a distance: a query vector that is NULL need not be looked for.
	bool measured_only = false;
	//! One of the pages of an answer: it has the search width of all of them.
	bool paged = false;
	//! The index had seen every row of its table when the query was planned.
	bool covers = false;
	//! The nearest rows are wanted of all pairs with query vectors, by an ORDER BY.
	bool one_answer = false;
	//! Which rows qualify depends on the probe: several probes cannot be answered together.
	bool one_probe = false;

	//! From now on it is one of several pages.
	void TakePages();
	//! What to ask `index` for, with the settings of the session.
	vss::SearchRequest Request(ClientContext &context, const SharedIndex &index) const;
};

//! A plan that yields the rows of a table that qualify.
struct RowFilter {
	unique_ptr<LogicalOperator> plan;
	//! The column of `plan` that holds row ids. An id may come more than once.
	idx_t row_id_column = 0;
};

//! HNSW_INDEX_SCAN in a logical plan. Without a child the query vector is a constant of the execution (literal,
//! parameter, variable …). With one, the probes, it is an expression over their columns, and each row is emitted once, whichever probe it
//! is a candidate for. `expressions[0]` is the query vector. With a filter there is another child, before that one.
class LogicalHNSWScan : public LogicalExtensionOperator {
public:
	LogicalHNSWScan(unique_ptr<LogicalGet> get, IndexSearch search, unique_ptr<Expression> query,
	                unique_ptr<LogicalOperator> probes);

	//! Only rows whose ids `filter` yields are emitted. It becomes the first child.
	void SetFilter(ClientContext &context, RowFilter filter);

	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	vector<ColumnBinding> GetColumnBindings() override;
	vector<TableIndex> GetTableIndex() const override;
	idx_t EstimateCardinality(ClientContext &context) override;
	optional_ptr<const string> GetTypeBindingVerificationIdentifier() const noexcept override;
	string GetName() const override {
		return IndexSearch::SCAN;
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
	//! The child with the query vectors, if there is one.
	optional_ptr<LogicalOperator> Probes() const;

	unique_ptr<LogicalGet> get;
	IndexSearch search;
	//! The column of the first child that holds the ids of the rows that qualify; invalid if all do.
	optional_idx row_id_column;
};

//! What EXPLAIN shows of a search.
InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search);

} // namespace duckdb
