#include "execution/logical_range.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "execution/physical_range.hpp"

namespace duckdb {

LogicalHNSWRange::LogicalHNSWRange(unique_ptr<LogicalGet> stand_in, IndexSearch search_p, unique_ptr<Expression> query,
                                   vector<unique_ptr<Expression>> predicates_p, vector<DistanceBound> bounds_p)
    : LogicalHNSWSearch(std::move(stand_in), std::move(search_p), std::move(query), nullptr),
      predicates(std::move(predicates_p)), bounds(std::move(bounds_p)) {
}

InsertionOrderPreservingMap<string> LogicalHNSWRange::ParamsToString() const {
	return RangeParameters(Table(), search, bounds);
}

PhysicalOperator &LogicalHNSWRange::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	ResolveOperatorTypes();
	auto &get = Get();
	auto bindings = get.GetColumnBindings();
	auto checked_ids = ScannedColumns(get);
	auto checked_types = types;
	vector<ProjectionIndex> more;
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
				more.push_back(binding.column_index);
				checked_ids.push_back(Table().GetStorageIndex(get.GetColumnIndex(binding)));
				checked_types.push_back(child->GetReturnType());
			}
			child = make_uniq<BoundReferenceExpression>(child->GetReturnType(), position);
		});
	}
	auto predicate = BoundConjunctionExpression::Create(ExpressionType::CONJUNCTION_AND, std::move(predicates));
	if (checks_scan) {
		get.projection_ids.insert(get.projection_ids.end(), more.begin(), more.end());
	}
	auto inputs = Inputs(planner);
	inputs.column_ids.resize(types.size());
	auto &physical = planner.Make<PhysicalHNSWRange>(std::move(inputs)).Cast<PhysicalHNSWRange>();
	physical.checks_scan = checks_scan;
	physical.checked_ids = std::move(checked_ids);
	physical.checked_types = std::move(checked_types);
	physical.predicate = std::move(predicate);
	physical.bounds = std::move(bounds);
	PlanChildren(planner, physical);
	return physical;
}

} // namespace duckdb
