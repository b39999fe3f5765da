#include "execution/logical_scan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "execution/physical_scan.hpp"

namespace duckdb {

LogicalHNSWScan::LogicalHNSWScan(unique_ptr<LogicalGet> get, IndexSearch search_p, unique_ptr<Expression> query,
                                 unique_ptr<LogicalOperator> probes)
    : LogicalHNSWSearch(std::move(get), std::move(search_p), std::move(query), std::move(probes)) {
	SetEstimatedCardinality(search.k);
}

void LogicalHNSWScan::SetBestGroups(vector<unique_ptr<Expression>> groups) {
	best_groups = std::move(groups);
}

void LogicalHNSWScan::SetFilter(ClientContext &context, RowFilter filter) {
	search.TakeFilter(filter.plan->EstimateCardinality(context));
	LogicalHNSWSearch::SetFilter(std::move(filter));
}

PhysicalOperator &LogicalHNSWScan::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	ResolveOperatorTypes();
	auto &physical = planner.Make<PhysicalHNSWScan>(Inputs(planner)).Cast<PhysicalHNSWScan>();
	for (auto &group : best_groups) {
		ExpressionIterator::EnumerateExpression(group, [&](unique_ptr<Expression> &child) {
			if (child->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
				auto &column = Get().GetColumnIndex(child->Cast<BoundColumnRefExpression>().Binding());
				child = make_uniq<BoundReferenceExpression>(child->GetReturnType(), physical.group_columns.size());
				physical.group_columns.push_back(physical.table.GetStorageIndex(column));
				physical.group_types.push_back(child->GetReturnType());
			}
		});
		physical.groups.push_back(std::move(group));
	}
	PlanChildren(planner, physical);
	return physical;
}

} // namespace duckdb
