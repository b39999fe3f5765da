#include "execution/logical_search.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "execution/physical_search.hpp"
#include "execution/measured_query.hpp"
#include "execution/read_costs.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

LogicalHNSWSearch::LogicalHNSWSearch(unique_ptr<LogicalOperator> table_p, IndexSearch search_p,
                                     unique_ptr<Expression> query, unique_ptr<LogicalOperator> probes)
    : table(std::move(table_p)), search(std::move(search_p)) {
	expressions.push_back(std::move(query));
	if (probes) {
		children.push_back(std::move(probes));
	}
}

shared_ptr<SearchRecord> LogicalHNSWSearch::Record() {
	if (search.record) {
		// a part of a query that is itself measured
		return search.record;
	}
	auto codes = false;
	HNSWIndex::Visit(*search.entry,
	                 [&](const HNSWIndex &index) { codes = index.Options().quantization != vss::Quantization::None; });
	search.record = make_shared_ptr<SearchRecord>(search.index_name, search.k, codes);
	return search.record;
}

void LogicalHNSWSearch::SetFilter(RowFilter filter) {
	row_id_column = filter.row_id_column;
	key_columns = std::move(filter.key_columns);
	children.insert(children.begin(), std::move(filter.plan));
}

LogicalGet &LogicalHNSWSearch::Get() const {
	reference<LogicalOperator> current(*table);
	while (current.get().type != LogicalOperatorType::LOGICAL_GET) {
		current = *current.get().children[0];
	}
	return current.get().Cast<LogicalGet>();
}

DuckTableEntry &LogicalHNSWSearch::Table() const {
	return Get().GetTable()->Cast<DuckTableEntry>();
}

optional_ptr<LogicalOperator> LogicalHNSWSearch::Probes() const {
	idx_t filters = row_id_column.IsValid() ? 1 : 0;
	return children.size() > filters ? children.back().get() : nullptr;
}

vector<ColumnBinding> LogicalHNSWSearch::GetColumnBindings() {
	return table->GetColumnBindings();
}

void LogicalHNSWSearch::ResolveTypes() {
	table->ResolveOperatorTypes();
	types = table->types;
}

vector<TableIndex> LogicalHNSWSearch::GetTableIndex() const {
	return table->GetTableIndex();
}

optional_ptr<const string> LogicalHNSWSearch::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_search";
	return &IDENTIFIER;
}

InsertionOrderPreservingMap<string> LogicalHNSWSearch::ParamsToString() const {
	return SearchParameters(Table(), search);
}

SearchInputs LogicalHNSWSearch::Inputs(PhysicalPlanGenerator &planner) {
	search.costs = CostsOf(Get());
	// before the scan is planned: from then on it also reads the row id
	auto column_ids = ScannedColumns(Get());
	return {types,
	        estimated_cardinality,
	        Table(),
	        std::move(column_ids),
	        search,
	        std::move(expressions[0]),
	        PlanTableScan(Get(), planner)};
}

void LogicalHNSWSearch::PlanChildren(PhysicalPlanGenerator &planner, PhysicalHNSWSearch &physical) {
	physical.comparison = PhysicalComparison::Plan(planner, physical, physical.table, search);
	if (row_id_column.IsValid()) {
		auto &plan = planner.CreatePlan(*children[0]);
		auto &filter = planner.Make<PhysicalRowFilter>(plan, row_id_column.GetIndex(), key_columns);
		physical.filter = filter.Cast<PhysicalRowFilter>();
		physical.children.push_back(filter);
	}
	auto probes = Probes();
	if (probes) {
		physical.probes = planner.CreatePlan(*probes);
		physical.children.push_back(*physical.probes);
	}
}

} // namespace duckdb
