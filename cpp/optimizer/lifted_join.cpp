#include "optimizer/lifted_join.hpp"

#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/operator/logical_any_join.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_cross_product.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"

namespace duckdb {

//! Whether `condition` holds for nearly all pairs.
static bool IsInequality(const Expression &condition) {
	auto type = condition.GetExpressionType();
	return BoundComparisonExpression::IsComparison(condition) &&
	       (type == ExpressionType::COMPARE_NOTEQUAL || type == ExpressionType::COMPARE_DISTINCT_FROM);
}

bool LiftedJoin::Take(const LogicalOperator &op, const DistanceMatcher &matcher, const DistanceMatch &match) {
	vector<unique_ptr<Expression>> comparisons;
	vector<unique_ptr<Expression>> others;
	if (op.type == LogicalOperatorType::LOGICAL_ANY_JOIN) {
		auto &join = op.Cast<LogicalAnyJoin>();
		if (join.join_type != JoinType::INNER) {
			return false;
		}
		others.push_back(join.condition->Copy());
	} else if (op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN) {
		auto &join = op.Cast<LogicalComparisonJoin>();
		if (join.join_type != JoinType::INNER) {
			return false;
		}
		for (auto &condition : join.conditions) {
			if (condition.IsComparison()) {
				comparisons.push_back(BoundComparisonExpression::Create(
				    condition.GetComparisonType(), condition.GetLHS().Copy(), condition.GetRHS().Copy()));
			} else {
				others.push_back(condition.GetJoinExpression().Copy());
			}
		}
	} else {
		return false;
	}
	LogicalFilter::SplitPredicates(others);
	auto take = [&](unique_ptr<Expression> &condition) {
		auto resolved = matcher.Resolve(condition->Copy());
		if (resolved->IsVolatile()) {
			return false;
		}
		auto &kind = matcher.IsGuard(match, *resolved)   ? guards
		             : matcher.IsBound(match, *resolved) ? bounds
		                                                 : conditions;
		selective = selective || (&kind == &conditions && !IsInequality(*condition));
		kind.push_back(std::move(condition));
		return true;
	};
	// A comparison is of two sides, each of which is computed for all its rows; anything else for the pairs that get there.
	return std::all_of(comparisons.begin(), comparisons.end(), take) &&
	       std::all_of(others.begin(), others.end(),
	                   [&](unique_ptr<Expression> &condition) { return !condition->CanThrow() && take(condition); });
}

LiftedJoin::LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher, const DistanceMatch &match)
    : slot(below) {
	while (slot.get()->type == LogicalOperatorType::LOGICAL_PROJECTION) {
		slot = slot.get()->children[0];
	}
	if (!Take(*slot.get(), matcher, match)) {
		conditions.clear();
		guards.clear();
		bounds.clear();
		selective = false;
		return;
	}
	join = std::move(slot.get());
	slot.get() = make_uniq<LogicalCrossProduct>(std::move(join->children[0]), std::move(join->children[1]));
}

LiftedJoin::~LiftedJoin() {
	if (join) {
		join->children = std::move(slot.get()->children);
		slot.get() = std::move(join);
	}
}

optional_idx LiftedJoin::RowsPerProbe(idx_t probes) const {
	if (!join || !join->has_estimated_cardinality) {
		return optional_idx();
	}
	return join->estimated_cardinality / MaxValue<idx_t>(probes, 1);
}

vector<unique_ptr<Expression>> LiftedJoin::Conditions() const {
	vector<unique_ptr<Expression>> result;
	for (auto &condition : conditions) {
		result.push_back(condition->Copy());
	}
	return result;
}

void LiftedJoin::Keep() {
	if (!join) {
		return;
	}
	auto filter = make_uniq<LogicalFilter>();
	filter->expressions = Conditions();
	for (auto others : {&guards, &bounds}) {
		for (auto &other : *others) {
			filter->expressions.push_back(std::move(other));
		}
	}
	filter->children.push_back(std::move(slot.get()));
	slot.get() = std::move(filter);
	join.reset();
}

} // namespace duckdb
