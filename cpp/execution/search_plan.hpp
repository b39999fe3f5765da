//! What is planned for a search, whatever operator runs it.
#pragma once

#include "duckdb/execution/physical_operator_states.hpp"
#include "duckdb/planner/logical_operator.hpp"
#include "execution/distance_bounds.hpp"
#include "execution/wanted_rows.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class DuckTableEntry;
class IndexEntry;
class LogicalGet;
class PhysicalOperator;
class PhysicalPlanGenerator;
class StorageIndex;
struct SharedIndex;

//! Which index answers, and for how many rows.
class SearchRecord;

//! Which index answers, and for how many rows.
struct IndexSearch {
	//! Names of the operators in plans: one answer, or one for each query vector.
	static constexpr const char *SCAN = "HNSW_INDEX_SCAN";
	static constexpr const char *JOIN = "HNSW_INDEX_JOIN";

	shared_ptr<IndexEntry> entry;
	//! For EXPLAIN.
	string index_name;
	//! By what the query ranks: the index's metric, or another one while all its vectors are about as long.
	vss::Metric metric;
	vss::Metric index_metric;
	//! Elements of the indexed `FLOAT[n]`.
	idx_t dimensions;
	//! Rows, or the best of their groups, that are needed: limit + offset.
	idx_t k;
	//! Search width (ef) and strategy, as planned; both are decided again when the search runs. `Auto` if only then the index
	//! will have seen the rows of its table.
	idx_t ef;
	vss::Strategy strategy;
	//! What it costs to read rows of the table.
	vss::ReadCosts costs {};
	//! A further order decides between rows that tie with the last one wanted.
	bool ties = false;
	//! The index has the vectors with fewer digits than the table.
	bool narrows = false;
	//! The order has rows whose distances are NaN behind all others.
	bool undefined_last = true;
	//! Rows that the index does not rank are dropped above.
	bool ranked_only = false;
	//! So are pairs without a distance: a query vector that is NULL need not be looked for.
	bool measured_only = false;
	//! One of the pages of an answer: it has the search width of all of them.
	bool paged = false;
	//! The index had seen every row of its table when the query was planned.
	bool covers = false;
	//! It has to be compared with its table before it is searched.
	bool compare = false;
	//! The nearest rows are wanted of all pairs with query vectors, by an ORDER BY.
	bool one_answer = false;
	//! `k` counts groups of rows.
	bool best_groups = false;
	//! Where the searches are noted, if they are measured.
	shared_ptr<SearchRecord> record = nullptr;
	//! Which rows qualify depends on the probe: several probes cannot be answered together.
	bool one_probe = false;

	//! What the operator for many query vectors is called.
	const char *JoinName() const {
		return one_answer ? SCAN : JOIN;
	}
	//! From now on only some rows, about so many, qualify.
	void TakeFilter(idx_t qualifying);
	//! From now on it is one of several pages.
	void TakePages();
	//! What to ask `index` for, with the settings of the session.
	vss::SearchRequest Request(ClientContext &context, const SharedIndex &index) const;
	//! Searches. `rows`: those that qualify, or null for all that `visibility` sees. Throws what the host's callbacks have thrown.
	vss::SearchAnswer Run(const vss::IndexHandle &core, rust::Slice<const float> query,
	                      const vss::SearchRequest &request, const vss::RowSet *rows,
	                      const vss::HostVisibility &visibility) const;
};

//! A plan that yields the rows of a table that qualify.
struct RowFilter {
	unique_ptr<LogicalOperator> plan;
	//! The column of `plan` that holds row ids. An id may come more than once.
	idx_t row_id_column = 0;
	//! The columns of `plan` that hold what `PairConditions` need of a row.
	vector<idx_t> key_columns;
};

//! Which rows qualify for which query vector.
struct PairConditions {
	//! Columns of the scan of the table.
	vector<ProjectionIndex> keys;
	//! References to `keys`, by their positions, and columns of the rows with the query vectors. None: all rows qualify for all of them.
	vector<unique_ptr<Expression>> conditions;
};

//! What EXPLAIN shows of a search.
InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search);
//! The same of a search for all rows that pass some bounds.
InsertionOrderPreservingMap<string> RangeParameters(DuckTableEntry &table, const IndexSearch &search,
                                                    const vector<DistanceBound> &bounds);

//! The columns that a search has to fetch instead of the scan that it takes the place of.
vector<StorageIndex> ScannedColumns(LogicalGet &get);
//! The scan that stands in where the index cannot answer, or where it yields the rows that were found sooner than looking them up.
struct TableScanPlan {
	PhysicalOperator &scan;
	//! The rows it yields: all of the table, until somebody says which.
	shared_ptr<WantedRows> wanted;

	//! Begins the scan, of these rows: see WantedRows::Set.
	unique_ptr<GlobalSourceState> Begin(ClientContext &context, optional_ptr<const vss::RowSet> stored,
	                                    optional_ptr<const vss::RowSet> own) const;
};

//! Plans that scan.
TableScanPlan PlanTableScan(LogicalGet &get, PhysicalPlanGenerator &planner);

} // namespace duckdb
