#include "optimizer/lifted_join.hpp"

#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/operator/logical_any_join.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_cross_product.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"

namespace duckdb {

bool LiftedJoin::Take(const LogicalOperator &op, const DistanceMatcher &matcher, const DistanceMatch &match) {
	vector<unique_ptr<Expression>> others;
	if (op.type == LogicalOperatorType::LOGICAL_ANY_JOIN) {
		auto &join = op.Cast<LogicalAnyJoin>();
		if (join.join_type != JoinType::INNER) {
			return false;
		}
		others.push_back(join.condition->Copy());
	} else if (op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN) {
		auto &join = op.Cast<LogicalComparisonJoin>();
		if (join.join_type != JoinType::INNER || join.filter_pushdown) {
			return false;
		}
		for (auto &condition : join.conditions) {
			if (!condition.IsComparison()) {
				others.push_back(condition.GetJoinExpression().Copy());
				continue;
			}
			auto type = condition.GetComparisonType();
			if (type != ExpressionType::COMPARE_NOTEQUAL && type != ExpressionType::COMPARE_DISTINCT_FROM) {
				return false;
			}
			conditions.push_back(
			    BoundComparisonExpression::Create(type, condition.GetLHS().Copy(), condition.GetRHS().Copy()));
		}
	} else {
		return false;
	}
	LogicalFilter::SplitPredicates(others);
	for (auto &other : others) {
		if (!matcher.IsGuard(match, *matcher.Resolve(other->Copy()))) {
			return false;
		}
		guards.push_back(std::move(other));
	}
	return true;
}

LiftedJoin::LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher,
                             const DistanceMatch &match)
    : slot(below) {
	while (slot.get()->type == LogicalOperatorType::LOGICAL_PROJECTION) {
		slot = slot.get()->children[0];
	}
	if (!Take(*slot.get(), matcher, match)) {
		conditions.clear();
		guards.clear();
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
	for (auto &guard : guards) {
		filter->expressions.push_back(std::move(guard));
	}
	filter->children.push_back(std::move(slot.get()));
	slot.get() = std::move(filter);
	join.reset();
}

} // namespace duckdb
