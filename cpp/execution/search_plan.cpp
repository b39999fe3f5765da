#include "execution/search_plan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/constants.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/table_filter_set.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "execution/measured_query.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "host/settings.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

void IndexSearch::TakeFilter(idx_t qualifying) {
	if (covers && strategy != vss::Strategy::Scan) {
		HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) {
			strategy = index.Core().filtered_strategy(k, ef, qualifying, costs);
		});
	}
}

void IndexSearch::TakePages() {
	paged = true;
	if (covers) {
		HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) {
			ef = index.Core().ef_of_pages(ef);
			strategy = index.Core().strategy(k, ef, costs);
		});
	}
}

vss::SearchRequest IndexSearch::Request(ClientContext &context, const SharedIndex &index) const {
	vss::SearchRequest request;
	request.k = k;
	request.ef = SearchWidth(context, *index.core, index.options, k);
	request.rescore = Rescore(context);
	if (paged) {
		// which rows are among the nearest must not depend on the page
		request.ef = index.core->ef_of_pages(request.ef);
		request.rescore = MaxValue(request.rescore, vss::default_rescore());
	}
	request.ties = ties;
	request.narrows = narrows;
	request.narrows_query = narrows_query;
	request.metric = metric;
	request.undefined_last = undefined_last;
	request.ranked_only = ranked_only;
	request.costs = costs;
	request.strategy = SearchStrategy(context);
	return request;
}

vss::SearchAnswer IndexSearch::Run(const vss::IndexHandle &core, rust::Slice<const float> query,
                                   const vss::SearchRequest &request, const vss::RowSet *rows,
                                   const vss::HostVisibility &visibility) const {
	auto answer = Translate([&] { return core.search(query, request, rows, visibility); });
	visibility.Rethrow();
	if (record) {
		auto measured = Translate([&] { return core.recall_of(query, request, rows, visibility); });
		visibility.Rethrow();
		record->Add(request.ef, measured);
	}
	return answer;
}

//! The parameters that do not depend on how many rows are wanted.
static InsertionOrderPreservingMap<string> IndexParameters(DuckTableEntry &table, const IndexSearch &search) {
	InsertionOrderPreservingMap<string> result;
	result["Table"] = table.name.GetIdentifierName();
	result["HNSW Index"] = search.index_name;
	result["Metric"] = string(vss::metric_name(search.metric));
	if (search.index_metric != search.metric) {
		result["Metric"] +=
		    StringUtil::Format(" (index: %s, vectors of one length)", string(vss::metric_name(search.index_metric)));
	}
	return result;
}

InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search) {
	auto result = IndexParameters(table, search);
	result[search.best_groups ? "Groups" : "K"] = to_string(search.k);
	result["Search Width"] = to_string(search.ef);
	result["Strategy"] = string(vss::strategy_name(search.strategy));
	return result;
}

InsertionOrderPreservingMap<string> RangeParameters(DuckTableEntry &table, const IndexSearch &search,
                                                    const vector<DistanceBound> &bounds) {
	auto result = IndexParameters(table, search);
	vector<string> texts;
	for (auto &bound : bounds) {
		texts.push_back(bound.over_distance->ToString());
	}
	result["Range"] = StringUtil::Join(texts, " AND ");
	result["Strategy"] = string(vss::strategy_name(search.strategy));
	return result;
}

vector<StorageIndex> ScannedColumns(LogicalGet &get) {
	auto &table = get.GetTable()->Cast<DuckTableEntry>();
	vector<StorageIndex> result;
	for (auto &binding : get.GetColumnBindings()) {
		result.push_back(table.GetStorageIndex(get.GetColumnIndex(binding)));
	}
	return result;
}

unique_ptr<GlobalSourceState> TableScanPlan::Begin(ClientContext &context, optional_ptr<const vss::RowSet> stored,
                                                   optional_ptr<const vss::RowSet> own) const {
	wanted->Set(stored, own);
	return scan.GetGlobalSourceState(context);
}

TableScanPlan PlanTableScan(LogicalGet &get, PhysicalPlanGenerator &planner) {
	auto wanted = make_shared_ptr<WantedRows>();
	get.ResolveOperatorTypes();
	if (get.projection_ids.empty()) {
		for (auto column : ProjectionIndex::GetIndexes(get.GetColumnIds().size())) {
			get.projection_ids.push_back(column);
		}
	}
	// read for the filter on row ids only
	auto row_id = get.AddColumnId(COLUMN_IDENTIFIER_ROW_ID);
	if (!get.dynamic_filters) {
		get.dynamic_filters = make_shared_ptr<DynamicTableFilterSet>();
	}
	auto filters = get.dynamic_filters;
	get.ResolveOperatorTypes();
	auto &scan = planner.CreatePlan(static_cast<LogicalOperator &>(get));
	filters->PushFilter(scan, row_id, MakeFilter(wanted));
	return {scan, std::move(wanted)};
}

} // namespace duckdb
