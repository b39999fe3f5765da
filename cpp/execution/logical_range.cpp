#include "execution/logical_range.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/physical_range.hpp"
#include "execution/physical_row_filter.hpp"

namespace duckdb {

LogicalHNSWRange::LogicalHNSWRange(unique_ptr<LogicalGet> stand_in, IndexSearch search_p, unique_ptr<Expression> query,
                                   vector<unique_ptr<Expression>> predicates_p, vector<DistanceBound> bounds_p)
    : get(std::move(stand_in)), search(std::move(search_p)), predicates(std::move(predicates_p)),
      bounds(std::move(bounds_p)) {
	expressions.push_back(std::move(query));
}

void LogicalHNSWRange::SetFilter(RowFilter filter) {
	row_id_column = filter.row_id_column;
	children.push_back(std::move(filter.plan));
}

vector<ColumnBinding> LogicalHNSWRange::GetColumnBindings() {
	return get->GetColumnBindings();
}

void LogicalHNSWRange::ResolveTypes() {
	get->ResolveOperatorTypes();
	types = get->types;
}

vector<TableIndex> LogicalHNSWRange::GetTableIndex() const {
	return get->GetTableIndex();
}

idx_t LogicalHNSWRange::EstimateCardinality(ClientContext &context) {
	return estimated_cardinality;
}

optional_ptr<const string> LogicalHNSWRange::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_index_range";
	return &IDENTIFIER;
}

InsertionOrderPreservingMap<string> LogicalHNSWRange::ParamsToString() const {
	return RangeParameters(get->GetTable()->Cast<DuckTableEntry>(), search, bounds);
}

PhysicalOperator &LogicalHNSWRange::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	auto &table = get->GetTable()->Cast<DuckTableEntry>();
	ResolveOperatorTypes();
	auto column_ids = ScannedColumns(*get);
	auto bindings = get->GetColumnBindings();
	auto checked_ids = column_ids;
	auto checked_types = types;
	for (auto &predicate : predicates) {
		ExpressionIterator::EnumerateExpression(predicate, [&](unique_ptr<Expression> &child) {
			if (child->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
				return;
			}
			auto &binding = child->Cast<BoundColumnRefExpression>().Binding();
			auto entry = std::find(bindings.begin(), bindings.end(), binding);
			auto position = UnsafeNumericCast<idx_t>(entry - bindings.begin());
			if (entry == bindings.end()) {
				bindings.push_back(binding);
				checked_ids.push_back(table.GetStorageIndex(get->GetColumnIndex(binding)));
				checked_types.push_back(child->GetReturnType());
			}
			child = make_uniq<BoundReferenceExpression>(child->GetReturnType(), position);
		});
	}
	auto predicate = BoundConjunctionExpression::Create(ExpressionType::CONJUNCTION_AND, std::move(predicates));
	auto table_scan = PlanTableScan(*get, planner);
	auto &range = planner.Make<PhysicalHNSWRange>(types, estimated_cardinality, table, std::move(column_ids), search,
	                                              std::move(expressions[0]), std::move(table_scan));
	auto &physical = range.Cast<PhysicalHNSWRange>();
	physical.checked_ids = std::move(checked_ids);
	physical.checked_types = std::move(checked_types);
	physical.predicate = std::move(predicate);
	physical.bounds = std::move(bounds);
	physical.comparison = PhysicalComparison::Plan(planner, range, table, search);
	if (row_id_column.IsValid()) {
		auto &filter = planner.Make<PhysicalRowFilter>(planner.CreatePlan(*children[0]), row_id_column.GetIndex(),
		                                               vector<idx_t>());
		physical.filter = filter.Cast<PhysicalRowFilter>();
		physical.children.push_back(filter);
	}
	return range;
}

} // namespace duckdb
