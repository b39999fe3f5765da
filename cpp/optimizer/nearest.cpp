#include "optimizer/nearest.hpp"

#include "duckdb/planner/expression/bound_aggregate_expression.hpp"
#include "duckdb/planner/expression/bound_between_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_window_expression.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_distinct.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_window.hpp"

namespace duckdb {

//! The value of a constant integer above 0; 0 for anything else.
static idx_t PositiveConstant(const Expression &expr) {
	if (expr.GetExpressionClass() != ExpressionClass::BOUND_CONSTANT) {
		return 0;
	}
	auto &value = expr.Cast<BoundConstantExpression>().GetValue();
	if (value.IsNull() || value.type() != LogicalType::BIGINT || BigIntValue::Get(value) < 0) {
		return 0;
	}
	return UnsafeNumericCast<idx_t>(BigIntValue::Get(value));
}

static vector<unique_ptr<Expression>> CopyAll(const vector<unique_ptr<Expression>> &expressions) {
	vector<unique_ptr<Expression>> result;
	for (auto &expr : expressions) {
		result.push_back(expr->Copy());
	}
	return result;
}

static unique_ptr<Nearest> Refuse(string &refusal, const string &reason) {
	refusal = reason;
	return nullptr;
}

//---------------------------------------------------------------------------------------------------------------------
// Aggregates
//---------------------------------------------------------------------------------------------------------------------

//! An aggregate that keeps the rows with the least or the greatest keys.
struct KeepingAggregate {
	const char *name;
	OrderType order;
	//! Arguments before the key: none for min(key), one for min_by(argument, key).
	idx_t arguments;
	//! Skips rows whose argument is NULL.
	bool skips_null;
};

static const KeepingAggregate KEEPING_AGGREGATES[] = {
    {"min", OrderType::ASCENDING, 0, false},
    {"max", OrderType::DESCENDING, 0, false},
    {"min_by", OrderType::ASCENDING, 1, true},
    {"max_by", OrderType::DESCENDING, 1, true},
    {"arg_min", OrderType::ASCENDING, 1, true},
    {"arg_max", OrderType::DESCENDING, 1, true},
    {"argmin", OrderType::ASCENDING, 1, true},
    {"argmax", OrderType::DESCENDING, 1, true},
    {"arg_min_null", OrderType::ASCENDING, 1, false},
    {"arg_max_null", OrderType::DESCENDING, 1, false},
    {"arg_min_nulls_last", OrderType::ASCENDING, 1, false},
    {"arg_max_nulls_last", OrderType::DESCENDING, 1, false},
};

static optional_ptr<const KeepingAggregate> FindKeeping(const string &name) {
	for (auto &candidate : KEEPING_AGGREGATES) {
		if (name == candidate.name) {
			return candidate;
		}
	}
	return nullptr;
}

static unique_ptr<Nearest> FindInAggregate(LogicalAggregate &op, string &refusal) {
	if (op.expressions.empty() || op.grouping_sets.size() > 1) {
		return nullptr;
	}
	auto result = make_uniq<Nearest>(op.children[0]);
	result->groups = CopyAll(op.groups);
	for (auto &expr : op.expressions) {
		auto &aggregate = expr->Cast<BoundAggregateExpression>();
		auto &name = aggregate.Function().GetName().GetIdentifierName();
		auto keeping = FindKeeping(name);
		if (name == "first" && op.groups.empty()) {
			return nullptr; // a scalar subquery: what keeps its nearest row is below
		}
		if (!keeping) {
			return Refuse(refusal, StringUtil::Format("the aggregate '%s' needs every row", name));
		}
		if (aggregate.IsDistinct() || aggregate.GetOrderBys()) {
			return Refuse(refusal, StringUtil::Format("'%s' has DISTINCT or ORDER BY", name));
		}
		auto &filter = aggregate.GetFilter();
		if (expr == op.expressions[0] && filter) {
			result->filters.push_back(filter->Copy());
		} else if (!Expression::Equals(filter, op.expressions[0]->Cast<BoundAggregateExpression>().GetFilter())) {
			return Refuse(refusal, "the aggregates have different FILTERs");
		}
		if (filter && !op.groups.empty()) {
			return Refuse(refusal, "an aggregate has a FILTER, and a group without rows must stay");
		}
		auto &children = aggregate.GetChildren();
		auto key = keeping->arguments;
		auto wanted = children.size() == key + 1 ? 1 : PositiveConstant(*children.back());
		if (wanted == 0) {
			return Refuse(refusal, StringUtil::Format("the number of rows of '%s' is not constant", name));
		}
		result->wanted = MaxValue(result->wanted, wanted);
		result->orders.emplace_back(keeping->order, OrderByNullType::NULLS_LAST, children[key]->Copy());
		if (keeping->skips_null) {
			result->counted.push_back(children[0]->Copy());
		}
	}
	return result;
}

//---------------------------------------------------------------------------------------------------------------------
// Windows
//---------------------------------------------------------------------------------------------------------------------

//! Whether `expr` is a column of `window`: a rank.
static bool IsRank(const Expression &expr, TableIndex window) {
	return expr.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF &&
	       expr.Cast<BoundColumnRefExpression>().Binding().table_index == window;
}

//! The greatest rank that `condition`, over the columns of `window`, lets pass; 0 if it does not limit one.
static idx_t GreatestRank(const Expression &condition, TableIndex window) {
	if (condition.GetExpressionType() == ExpressionType::COMPARE_BETWEEN) {
		auto &between = condition.Cast<BoundFunctionExpression>();
		return IsRank(BoundBetweenExpression::Input(between), window)
		           ? PositiveConstant(BoundBetweenExpression::UpperBound(between))
		           : 0;
	}
	if (!BoundComparisonExpression::IsComparison(condition)) {
		return 0;
	}
	auto &comparison = condition.Cast<BoundFunctionExpression>();
	if (!IsRank(BoundComparisonExpression::Left(comparison), window)) {
		return 0;
	}
	switch (condition.GetExpressionType()) {
	case ExpressionType::COMPARE_LESSTHANOREQUALTO:
	case ExpressionType::COMPARE_LESSTHAN:
	case ExpressionType::COMPARE_EQUAL:
		return PositiveConstant(BoundComparisonExpression::Right(comparison));
	default:
		return 0;
	}
}

static unique_ptr<Nearest> FindInWindow(LogicalFilter &filter, string &refusal) {
	if (filter.children[0]->type != LogicalOperatorType::LOGICAL_WINDOW) {
		return nullptr;
	}
	auto &window = filter.children[0]->Cast<LogicalWindow>();
	auto &first = window.expressions[0]->Cast<BoundWindowExpression>();
	idx_t wanted = NumericLimits<idx_t>::Maximum();
	for (auto &condition : filter.expressions) {
		auto limit = GreatestRank(*condition, window.window_index);
		wanted = limit > 0 ? MinValue(wanted, limit) : wanted;
	}
	if (wanted == NumericLimits<idx_t>::Maximum()) {
		return nullptr;
	}
	auto ties = first.OrderBy().size() > 1;
	for (auto &expr : window.expressions) {
		ties = ties || expr->GetExpressionType() == ExpressionType::WINDOW_RANK;
		// the rank of a kept row is the same without the rows that are dropped; nothing else is
		auto ranks = expr->GetExpressionType() == ExpressionType::WINDOW_ROW_NUMBER ||
		             expr->GetExpressionType() == ExpressionType::WINDOW_RANK;
		auto &other = expr->Cast<BoundWindowExpression>();
		auto same_order = other.OrderBy().size() == first.OrderBy().size() && other.ArgOrders().empty() &&
		                  Expression::ListEquals(other.Partitions(), first.Partitions());
		for (idx_t i = 0; same_order && i < first.OrderBy().size(); i++) {
			same_order = other.OrderBy()[i].Equals(first.OrderBy()[i]);
		}
		if (!ranks || !same_order) {
			return Refuse(refusal, "a window function needs every row");
		}
	}
	if (first.OrderBy().empty()) {
		return Refuse(refusal, "the window has no ORDER BY");
	}
	auto result = make_uniq<Nearest>(window.children[0]);
	result->groups = CopyAll(first.Partitions());
	result->orders.push_back(first.OrderBy()[0].Copy());
	result->wanted = wanted;
	result->ties = ties;
	return result;
}

//---------------------------------------------------------------------------------------------------------------------
// DISTINCT ON
//---------------------------------------------------------------------------------------------------------------------

static unique_ptr<Nearest> FindInDistinct(LogicalDistinct &op) {
	if (op.distinct_type != DistinctType::DISTINCT_ON || !op.order_by) {
		return nullptr;
	}
	auto is_target = [&](const BoundOrderByNode &order) {
		return std::any_of(op.distinct_targets.begin(), op.distinct_targets.end(),
		                   [&](const unique_ptr<Expression> &target) { return target->Equals(*order.expression); });
	};
	auto result = make_uniq<Nearest>(op.children[0]);
	result->groups = CopyAll(op.distinct_targets);
	result->wanted = 1;
	for (auto &order : op.order_by->orders) {
		if (is_target(order)) {
			continue; // the same in all rows of a group
		}
		if (!result->orders.empty()) {
			result->ties = true;
			break;
		}
		result->orders.push_back(order.Copy());
	}
	return result->orders.empty() ? nullptr : std::move(result);
}

unique_ptr<Nearest> FindNearest(LogicalOperator &op, string &refusal) {
	if (op.type == LogicalOperatorType::LOGICAL_DISTINCT) {
		return FindInDistinct(op.Cast<LogicalDistinct>());
	}
	if (op.type == LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY) {
		return FindInAggregate(op.Cast<LogicalAggregate>(), refusal);
	}
	if (op.type == LogicalOperatorType::LOGICAL_FILTER) {
		return FindInWindow(op.Cast<LogicalFilter>(), refusal);
	}
	return nullptr;
}

} // namespace duckdb
