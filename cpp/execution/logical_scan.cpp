#include "execution/logical_scan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "index/hnsw_index.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/physical_row_filter.hpp"
#include "execution/physical_scan.hpp"

namespace duckdb {

LogicalHNSWScan::LogicalHNSWScan(unique_ptr<LogicalGet> get_p, IndexSearch search_p, unique_ptr<Expression> query,
                                 unique_ptr<LogicalOperator> probes)
    : get(std::move(get_p)), search(std::move(search_p)) {
	expressions.push_back(std::move(query));
	if (probes) {
		children.push_back(std::move(probes));
	}
	estimated_cardinality = search.k;
	has_estimated_cardinality = true;
}

void LogicalHNSWScan::SetBestGroups(vector<unique_ptr<Expression>> groups) {
	best_groups = std::move(groups);
	search.best_groups = !best_groups.empty();
}

void LogicalHNSWScan::SetFilter(ClientContext &context, RowFilter filter) {
	row_id_column = filter.row_id_column;
	search.TakeFilter(filter.plan->EstimateCardinality(context));
	children.insert(children.begin(), std::move(filter.plan));
}

optional_ptr<LogicalOperator> LogicalHNSWScan::Probes() const {
	idx_t filters = row_id_column.IsValid() ? 1 : 0;
	return children.size() > filters ? children.back().get() : nullptr;
}

vector<ColumnBinding> LogicalHNSWScan::GetColumnBindings() {
	return get->GetColumnBindings();
}

void LogicalHNSWScan::ResolveTypes() {
	get->ResolveOperatorTypes();
	types = get->types;
}

vector<TableIndex> LogicalHNSWScan::GetTableIndex() const {
	return get->GetTableIndex();
}

idx_t LogicalHNSWScan::EstimateCardinality(ClientContext &context) {
	return search.k;
}

optional_ptr<const string> LogicalHNSWScan::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_index_scan";
	return &IDENTIFIER;
}

InsertionOrderPreservingMap<string> LogicalHNSWScan::ParamsToString() const {
	return SearchParameters(get->GetTable()->Cast<DuckTableEntry>(), search);
}

PhysicalOperator &LogicalHNSWScan::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	auto &table = get->GetTable()->Cast<DuckTableEntry>();
	ResolveOperatorTypes();
	auto column_ids = ScannedColumns(*get);
	auto table_scan = PlanTableScan(*get, planner);
	auto &scan = planner.Make<PhysicalHNSWScan>(types, estimated_cardinality, table, std::move(column_ids), search,
	                                            std::move(expressions[0]), std::move(table_scan));
	auto &physical = scan.Cast<PhysicalHNSWScan>();
	physical.comparison = PhysicalComparison::Plan(planner, scan, table, search);
	for (auto &group : best_groups) {
		ExpressionIterator::EnumerateExpression(group, [&](unique_ptr<Expression> &child) {
			if (child->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
				auto &column = get->GetColumnIndex(child->Cast<BoundColumnRefExpression>().Binding());
				child = make_uniq<BoundReferenceExpression>(child->GetReturnType(), physical.group_columns.size());
				physical.group_columns.push_back(table.GetStorageIndex(column));
				physical.group_types.push_back(child->GetReturnType());
			}
		});
		physical.groups.push_back(std::move(group));
	}
	if (row_id_column.IsValid()) {
		auto &filter = planner.Make<PhysicalRowFilter>(planner.CreatePlan(*children[0]), row_id_column.GetIndex(),
		                                               vector<idx_t>());
		physical.filter = filter.Cast<PhysicalRowFilter>();
		physical.children.push_back(filter);
	}
	auto probes = Probes();
	if (probes) {
		auto &plan = planner.CreatePlan(*probes);
		physical.probes = plan;
		physical.children.push_back(plan);
	}
	return scan;
}

} // namespace duckdb
