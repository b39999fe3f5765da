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

class SearchRecord;

//! Which index answers, and for how many rows.
struct IndexSearch {
	//! Names of the operators in plans: one answer, or one for each query vector.
	static constexpr const char *SCAN = "HNSW_INDEX_SCAN";
	static constexpr const char *JOIN = "HNSW_INDEX_JOIN";

	shared_ptr<IndexEntry> entry;
	//! For EXPLAIN.
	string index_name;
	//! The metric by which the query ranks: the index's, or another one as long as all vectors of the index are about
	//! equally long.
	vss::Metric metric;
	vss::Metric index_metric;
	//! Elements of the indexed `FLOAT[n]`.
	idx_t dimensions;
	//! Rows that are needed, or groups if only the best are wanted: limit + offset.
	idx_t k;
	//! Search width (ef) and strategy, as planned. Both are decided again when the search runs. The strategy is `Auto`
	//! if the index will have seen all rows of its table only then.
	idx_t ef;
	vss::Strategy strategy;
	//! What it costs to read rows of the table.
	vss::ReadCosts costs {};
	//! A further order decides between rows that tie with the last one wanted.
	bool ties = false;
	//! The index holds the vectors with fewer digits than the table.
	bool narrows = false;
	//! The distances are computed in DOUBLE: the index also holds the query vector with fewer digits.
	bool narrows_query = false;
	//! The order puts rows whose distance is NaN behind all others.
	bool undefined_last = true;
	//! Operators above drop rows that the index does not rank.
	bool ranked_only = false;
	//! Operators above drop pairs without a distance: a query vector that is NULL needs no search.
	bool measured_only = false;
	//! The answer is one of several pages, which all have the same search width.
	bool paged = false;
	//! The index had seen every row of its table when the query was planned.
	bool covers = false;
	//! The index has to be compared with its table before it is searched.
	bool compare = false;
	//! An ORDER BY wants the nearest rows of all pairs with query vectors together.
	bool one_answer = false;
	//! `k` counts groups of rows.
	bool best_groups = false;
	//! Groups of which no row has a distance come first.
	bool undefined_groups_first = false;
	//! Where searches are recorded, if they are measured.
	shared_ptr<SearchRecord> record = nullptr;
	//! Which rows qualify depends on the probe, so several probes cannot be answered together.
	bool one_probe = false;

	//! What the operator for many query vectors is called.
	const char *JoinName() const {
		return one_answer ? SCAN : JOIN;
	}
	//! From now on only about `qualifying` rows qualify.
	void TakeFilter(idx_t qualifying);
	//! From now on the answer is one of several pages.
	void TakePages();
	//! What to ask `index` for, with the settings of the session.
	vss::SearchRequest Request(ClientContext &context, const SharedIndex &index) const;
	//! Searches. `rows`: those that qualify; null for all that `visibility` sees. Throws what the host's callbacks have
	//! thrown.
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
	//! Over `keys`, by their positions, and columns of the rows with query vectors. Without any, all rows qualify for
	//! all query vectors.
	vector<unique_ptr<Expression>> conditions;
};

//! What EXPLAIN shows of a search.
InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search);
//! The same for a search for all rows that pass some bounds.
InsertionOrderPreservingMap<string> RangeParameters(DuckTableEntry &table, const IndexSearch &search,
                                                    const vector<DistanceBound> &bounds);

//! The columns that a search has to fetch in place of the scan.
vector<StorageIndex> ScannedColumns(LogicalGet &get);
//! The scan that stands in for a search: where the index cannot answer, or where scanning yields the rows that were
//! found sooner than looking them up.
struct TableScanPlan {
	PhysicalOperator &scan;
	//! The rows that the scan yields: all of the table, until somebody says which.
	shared_ptr<WantedRows> wanted;

	//! Begins the scan for these rows: see WantedRows::Set.
	unique_ptr<GlobalSourceState> Begin(ClientContext &context, optional_ptr<const vss::RowSet> stored,
	                                    optional_ptr<const vss::RowSet> own) const;
};

//! Plans that scan.
TableScanPlan PlanTableScan(LogicalGet &get, PhysicalPlanGenerator &planner);

} // namespace duckdb
