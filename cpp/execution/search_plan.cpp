#include "execution/search_plan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "host/settings.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

void IndexSearch::TakeFilter(idx_t qualifying) {
	if (covers && strategy != vss::Strategy::Scan) {
		HNSWIndex::Visit(
		    *entry, [&](const HNSWIndex &index) { strategy = index.Core().filtered_strategy(wanted, ef, qualifying); });
	}
}

void IndexSearch::TakePages() {
	paged = true;
	if (covers) {
		HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) {
			ef = index.Core().ef_of_pages(ef);
			strategy = index.Core().strategy(wanted, ef);
		});
	}
}

vss::SearchRequest IndexSearch::Request(ClientContext &context, const SharedIndex &index) const {
	vss::SearchRequest request;
	auto session_ef = EfSearch(context);
	request.want = wanted;
	request.ef = session_ef.IsValid() ? session_ef.GetIndex() : index.ef_search;
	request.rescore = Rescore(context);
	if (paged) {
		// which rows are among the nearest must not depend on the page
		request.ef = index.core->ef_of_pages(request.ef);
		request.rescore = MaxValue(request.rescore, vss::default_rescore());
	}
	request.ties = ties;
	request.narrows = narrows;
	request.metric = metric;
	request.ranked_only = ranked_only;
	request.strategy = SearchStrategy(context);
	return request;
}

InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search) {
	InsertionOrderPreservingMap<string> result;
	result["Table"] = table.name.GetIdentifierName();
	result["HNSW Index"] = search.index_name;
	result["Metric"] = string(vss::metric_name(search.metric));
	if (search.index_metric != search.metric) {
		result["Metric"] +=
		    StringUtil::Format(" (index: %s, vectors of one length)", string(vss::metric_name(search.index_metric)));
	}
	result[search.best_groups ? "Groups" : "K"] = to_string(search.wanted);
	result["Search Width"] = to_string(search.ef);
	result["Strategy"] = string(vss::strategy_name(search.strategy));
	return result;
}

} // namespace duckdb
