#include "execution/logical_join.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/column_binding_resolver.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "execution/pair_filter.hpp"
#include "execution/physical_join.hpp"

namespace duckdb {

LogicalHNSWJoin::LogicalHNSWJoin(unique_ptr<LogicalOperator> table_p, IndexSearch search_p,
                                 unique_ptr<Expression> query, unique_ptr<LogicalOperator> probes, bool table_first_p)
    : LogicalHNSWSearch(std::move(table_p), std::move(search_p), std::move(query), std::move(probes)),
      table_first(table_first_p) {
	SetEstimatedCardinality(search.k * MaxValue<idx_t>(Probes()->estimated_cardinality, 1));
}

void LogicalHNSWJoin::SetFilter(ClientContext &context, RowFilter filter, vector<unique_ptr<Expression>> conditions) {
	pair_conditions = std::move(conditions);
	search.TakeFilter(filter.plan->EstimateCardinality(context));
	LogicalHNSWSearch::SetFilter(std::move(filter));
}

void LogicalHNSWJoin::SetConditions(vector<unique_ptr<Expression>> conditions_p) {
	conditions = std::move(conditions_p);
}

void LogicalHNSWJoin::SetBounds(vector<DistanceBound> bounds_p) {
	bounds = std::move(bounds_p);
}

template <class T>
static vector<T> InOrder(bool table_first, vector<T> table, vector<T> probes) {
	auto &first = table_first ? table : probes;
	auto &second = table_first ? probes : table;
	first.insert(first.end(), second.begin(), second.end());
	return std::move(first);
}

vector<ColumnBinding> LogicalHNSWJoin::GetColumnBindings() {
	return InOrder(table_first, table->GetColumnBindings(), Probes()->GetColumnBindings());
}

void LogicalHNSWJoin::ResolveTypes() {
	table->ResolveOperatorTypes();
	types = InOrder(table_first, table->types, Probes()->types);
}

InsertionOrderPreservingMap<string> LogicalHNSWJoin::ParamsToString() const {
	return bounds.empty() ? LogicalHNSWSearch::ParamsToString() : RangeParameters(Table(), search, bounds);
}

//! Replaces the columns `bindings` in `expr` by their positions, from `first` on.
static void RefersByPosition(unique_ptr<Expression> &expr, const vector<ColumnBinding> &bindings, idx_t first) {
	ExpressionIterator::EnumerateExpression(expr, [&](unique_ptr<Expression> &child) {
		if (child->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
			auto &binding = child->Cast<BoundColumnRefExpression>().Binding();
			auto position = std::find(bindings.begin(), bindings.end(), binding) - bindings.begin();
			child =
			    make_uniq<BoundReferenceExpression>(child->GetReturnType(), first + UnsafeNumericCast<idx_t>(position));
		}
	});
}

PhysicalOperator &LogicalHNSWJoin::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	ResolveOperatorTypes();
	for (auto &condition : conditions) {
		RefersByPosition(condition, GetColumnBindings(), 0);
	}
	for (auto &condition : pair_conditions) {
		RefersByPosition(condition, Probes()->GetColumnBindings(), key_columns.size());
	}
	// this side of the plan is no child of the operator, so DuckDB does not turn its column bindings into positions
	ColumnBindingResolver resolver;
	resolver.VisitOperator(*table);
	vector<vector<unique_ptr<Expression>>> projections;
	for (auto op = table.get(); op != &Get(); op = op->children[0].get()) {
		projections.insert(projections.begin(), std::move(op->expressions));
	}
	auto &join = planner.Make<PhysicalHNSWJoin>(Inputs(planner), std::move(projections), table_first);
	auto &physical = join.Cast<PhysicalHNSWJoin>();
	physical.conditions = std::move(conditions);
	physical.bounds = std::move(bounds);
	PlanChildren(planner, physical);
	if (!pair_conditions.empty()) {
		physical.pairs = make_uniq<PairFilter>(std::move(pair_conditions), key_columns.size());
		for (auto &side : physical.pairs->row_sides) {
			physical.filter->group_keys.push_back(side->Copy());
		}
	}
	return physical;
}

} // namespace duckdb
