#include "optimizer/nearest.hpp"

#include "duckdb/planner/expression/bound_aggregate_expression.hpp"
#include "duckdb/planner/expression/bound_between_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_operator_expression.hpp"
#include "duckdb/planner/expression/bound_window_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_distinct.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_limit.hpp"
#include "duckdb/planner/operator/logical_order.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/operator/logical_top_n.hpp"
#include "duckdb/planner/operator/logical_window.hpp"
#include "optimizer/order_key.hpp"

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

static Refusal Refuse(string reason) {
	return Refusal(PlanNotes::Stage::LIMIT, std::move(reason));
}

//! `op` is none of these operators.
static OrRefusal<Nearest> Nothing() {
	return unique_ptr<Nearest>();
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

//! The aggregate whose state is the column `state` of `op`; null if the column is no such state. `partial`: the
//! operator that computes it.
static optional_ptr<const BoundAggregateExpression> FindState(LogicalOperator &op, const Expression &state,
                                                              optional_ptr<LogicalAggregate> &partial) {
	if (state.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
		return nullptr;
	}
	auto &column = state.Cast<BoundColumnRefExpression>().Binding();
	if (op.type == LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY) {
		auto &aggregate = op.Cast<LogicalAggregate>();
		if (aggregate.aggregate_index != column.table_index || aggregate.grouping_sets.size() > 1) {
			return nullptr;
		}
		partial = aggregate;
		return op.expressions[column.column_index]->Cast<BoundAggregateExpression>();
	}
	if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
		auto own = op.Cast<LogicalProjection>().table_index == column.table_index;
		return own ? FindState(*op.children[0], *op.expressions[column.column_index], partial) : nullptr;
	}
	for (auto &child : op.children) {
		if (auto found = FindState(*child, state, partial)) {
			return found;
		}
	}
	return nullptr;
}

//! The aggregate that `expr`, an aggregate of `op`, stands for. Where DuckDB groups before it joins, `expr` combines
//! states: then it is the aggregate that these states are of. How often each state is combined does not matter for
//! aggregates that keep rows.
static const BoundAggregateExpression &AggregateOf(const LogicalAggregate &op, const Expression &expr,
                                                   optional_ptr<LogicalAggregate> &partial) {
	auto &aggregate = expr.Cast<BoundAggregateExpression>();
	if (aggregate.Function().GetName() != "combine_aggr") {
		return aggregate;
	}
	auto found = FindState(*op.children[0], *aggregate.GetChildren()[0], partial);
	return found ? *found : aggregate;
}

static OrRefusal<Nearest> FindInAggregate(LogicalAggregate &op) {
	if (op.expressions.empty() || op.grouping_sets.size() > 1) {
		return Nothing();
	}
	auto result = make_uniq<Nearest>(op.children[0]);
	result->groups = CopyAll(op.groups);
	for (auto &expr : op.expressions) {
		optional_ptr<LogicalAggregate> partial;
		auto &aggregate = AggregateOf(op, *expr, partial);
		if (expr != op.expressions[0] && partial != result->partial) {
			return Refuse("the aggregates are of different tables");
		}
		result->partial = partial;
		auto &name = aggregate.Function().GetName().GetIdentifierName();
		auto keeping = FindKeeping(name);
		if (name == "first" && op.groups.empty()) {
			return Nothing(); // a scalar subquery: the operator that keeps its nearest row is below
		}
		if (!keeping) {
			return Refuse(StringUtil::Format("the aggregate '%s' needs every row", name));
		}
		if (aggregate.IsDistinct() || aggregate.GetOrderBys()) {
			return Refuse(StringUtil::Format("'%s' has DISTINCT or ORDER BY", name));
		}
		auto &filter = aggregate.GetFilter();
		if (expr == op.expressions[0] && filter) {
			result->filters.push_back(filter->Copy());
		} else if (!Expression::Equals(filter, op.expressions[0]->Cast<BoundAggregateExpression>().GetFilter())) {
			return Refuse("the aggregates have different FILTERs");
		}
		if (filter && !op.groups.empty()) {
			return Refuse("an aggregate has a FILTER, and a group without rows must stay");
		}
		auto &children = aggregate.GetChildren();
		auto key = keeping->arguments;
		auto k = children.size() == key + 1 ? 1 : PositiveConstant(*children.back());
		if (k == 0) {
			return Refuse(StringUtil::Format("the number of rows of '%s' is not constant", name));
		}
		result->k = MaxValue(result->k, k);
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

//! The greatest rank that passes `condition`, which is over the columns of `window`; 0 if it does not limit a rank.
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

//! The rows with the least ranks, if `window` computes only ranks, all by one order.
static OrRefusal<Nearest> FindRanks(LogicalWindow &window) {
	auto &first = window.expressions[0]->Cast<BoundWindowExpression>();
	auto ties = first.OrderBy().size() > 1;
	for (auto &expr : window.expressions) {
		ties = ties || expr->GetExpressionType() == ExpressionType::WINDOW_RANK;
		// the rank of a kept row does not depend on the rows that are dropped; other window functions may
		auto ranks = expr->GetExpressionType() == ExpressionType::WINDOW_ROW_NUMBER ||
		             expr->GetExpressionType() == ExpressionType::WINDOW_RANK;
		auto &other = expr->Cast<BoundWindowExpression>();
		auto same_order = other.OrderBy().size() == first.OrderBy().size() && other.ArgOrders().empty() &&
		                  Expression::ListEquals(other.Partitions(), first.Partitions());
		for (idx_t i = 0; same_order && i < first.OrderBy().size(); i++) {
			same_order = other.OrderBy()[i].Equals(first.OrderBy()[i]);
		}
		if (!ranks || !same_order) {
			return Refuse("a window function needs every row");
		}
	}
	if (first.OrderBy().empty()) {
		return Refuse("the window has no ORDER BY");
	}
	auto result = make_uniq<Nearest>(window.children[0]);
	result->groups = CopyAll(first.Partitions());
	result->orders.push_back(first.OrderBy()[0].Copy());
	result->ties = ties;
	return result;
}

static OrRefusal<Nearest> FindInWindow(LogicalFilter &filter) {
	if (filter.children[0]->type != LogicalOperatorType::LOGICAL_WINDOW) {
		return Nothing();
	}
	auto &window = filter.children[0]->Cast<LogicalWindow>();
	idx_t k = NumericLimits<idx_t>::Maximum();
	bool only_ranks = true;
	for (auto &condition : filter.expressions) {
		auto limit = GreatestRank(*condition, window.window_index);
		only_ranks = only_ranks && limit > 0;
		k = limit > 0 ? MinValue(k, limit) : k;
	}
	if (k == NumericLimits<idx_t>::Maximum()) {
		return Nothing();
	}
	auto result = FindRanks(window);
	if (result) {
		result->k = k;
		result->all_nearest = only_ranks;
	}
	return result;
}

//---------------------------------------------------------------------------------------------------------------------
// DISTINCT ON
//---------------------------------------------------------------------------------------------------------------------

static OrRefusal<Nearest> FindInDistinct(LogicalDistinct &op) {
	if (op.distinct_type != DistinctType::DISTINCT_ON || !op.order_by) {
		return Nothing();
	}
	auto is_target = [&](const BoundOrderByNode &order) {
		return std::any_of(op.distinct_targets.begin(), op.distinct_targets.end(),
		                   [&](const unique_ptr<Expression> &target) { return target->Equals(*order.expression); });
	};
	auto result = make_uniq<Nearest>(op.children[0]);
	result->groups = CopyAll(op.distinct_targets);
	result->k = 1;
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
	return result->orders.empty() ? Nothing() : std::move(result);
}

//! What the operators that may lie below an ORDER BY keep; ORDER BYs themselves are not among them.
static OrRefusal<Nearest> FindBelowOrder(LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_DISTINCT:
		return FindInDistinct(op.Cast<LogicalDistinct>());
	case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
		return FindInAggregate(op.Cast<LogicalAggregate>());
	case LogicalOperatorType::LOGICAL_FILTER:
		return FindInWindow(op.Cast<LogicalFilter>());
	default:
		return Nothing();
	}
}

//---------------------------------------------------------------------------------------------------------------------
// ORDER BY … LIMIT
//---------------------------------------------------------------------------------------------------------------------

static idx_t SaturatingSum(idx_t left, idx_t right) {
	return left + MinValue<idx_t>(right, NumericLimits<idx_t>::Maximum() - left);
}

//! The field that `expr`, a struct_extract, takes out of `row`, which is a struct_pack below the projections at
//! `below`.
static unique_ptr<Expression> FieldOf(unique_ptr<Expression> row, reference<LogicalOperator> below,
                                      const Expression &name) {
	while (below.get().type == LogicalOperatorType::LOGICAL_PROJECTION) {
		ResolveIn(row, below);
		below = *below.get().children[0];
	}
	if (row->GetExpressionClass() != ExpressionClass::BOUND_FUNCTION ||
	    row->Cast<BoundFunctionExpression>().Function().GetName() != "struct_pack" ||
	    name.GetExpressionClass() != ExpressionClass::BOUND_CONSTANT) {
		return nullptr;
	}
	auto field = name.Cast<BoundConstantExpression>().GetValue().ToString();
	auto &fields = StructType::GetChildTypes(row->GetReturnType());
	for (idx_t i = 0; i < fields.size(); i++) {
		if (fields[i].first == field) {
			return row->Cast<BoundFunctionExpression>().GetChildren()[i]->Copy();
		}
	}
	return nullptr;
}

//! `expr`, over the columns of `op`, as an expression over the input of `op`, for the row that the aggregate keeps. It
//! is the key itself for `min(key)`, and a field of the row for `min_by(struct_pack(…), key)`, which is how DuckDB
//! plans `row_number() = 1`. Null if no row is kept.
static unique_ptr<Expression> OfKeptRow(const LogicalAggregate &op, const Expression &expr) {
	if (expr.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
		auto &column = expr.Cast<BoundColumnRefExpression>().Binding();
		if (column.table_index != op.aggregate_index) {
			return column.table_index == op.group_index ? op.groups[column.column_index]->Copy() : nullptr;
		}
		optional_ptr<LogicalAggregate> partial;
		auto &aggregate = AggregateOf(op, *op.expressions[column.column_index], partial);
		auto keeping = FindKeeping(aggregate.Function().GetName().GetIdentifierName());
		auto one = keeping && aggregate.GetChildren().size() == keeping->arguments + 1;
		return one ? aggregate.GetChildren()[0]->Copy() : nullptr;
	}
	if (IsCall(expr, "finalize", 1)) {
		return OfKeptRow(op, *expr.Cast<BoundFunctionExpression>().GetChildren()[0]);
	}
	if (IsCall(expr, "struct_extract", 2)) {
		auto &children = expr.Cast<BoundFunctionExpression>().GetChildren();
		auto row = OfKeptRow(op, *children[0]);
		return row ? FieldOf(std::move(row), *op.children[0], *children[1]) : nullptr;
	}
	auto result = expr.Copy();
	bool possible = true;
	ExpressionIterator::EnumerateChildren(*result, [&](unique_ptr<Expression> &child) {
		auto kept = OfKeptRow(op, *child);
		possible = possible && kept;
		if (kept) {
			child = std::move(kept);
		}
	});
	return possible ? std::move(result) : nullptr;
}

//! Whether `op` is a filter, but none that limits ranks.
static bool IsFilterOfRows(const LogicalOperator &op) {
	return op.type == LogicalOperatorType::LOGICAL_FILTER &&
	       op.children[0]->type != LogicalOperatorType::LOGICAL_WINDOW;
}

//! The groups with the nearest rows, below an ORDER BY: `GROUP BY doc ORDER BY min(distance)`. If a search has found
//! all rows up to some distance, and they are of as many groups as are wanted, then these are the best groups, and the
//! nearest row of each is among the rows. A HAVING that keeps the better groups may stand between.
static unique_ptr<Nearest> FindBestGroups(ClientContext &context, LogicalOperator &op,
                                          const vector<BoundOrderByNode> &orders) {
	auto key = orders[0].expression->Copy();
	vector<unique_ptr<Expression>> having;
	reference<LogicalOperator> below(*op.children[0]);
	while (below.get().type == LogicalOperatorType::LOGICAL_PROJECTION ||
	       below.get().type == LogicalOperatorType::LOGICAL_ORDER_BY || IsFilterOfRows(below)) {
		if (below.get().type == LogicalOperatorType::LOGICAL_PROJECTION) {
			ResolveIn(key, below.get());
			for (auto &condition : having) {
				ResolveIn(condition, below.get());
			}
		} else if (below.get().type == LogicalOperatorType::LOGICAL_FILTER) {
			for (auto &condition : below.get().expressions) {
				having.push_back(condition->Copy());
			}
		}
		below = *below.get().children[0];
	}
	auto found = FindBelowOrder(below);
	if (!found || !found->all_nearest || found->groups.empty() || found->k != 1 ||
	    orders[0].null_order == OrderByNullType::NULLS_FIRST) {
		return nullptr;
	}
	OrderKeyShape shape(orders[0].type == OrderType::DESCENDING);
	auto outer = PeelOrderKey(context, *key, shape).Copy();
	if (below.get().type == LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY) {
		auto &aggregate = below.get().Cast<LogicalAggregate>();
		outer = OfKeptRow(aggregate, *outer);
		auto possible = outer != nullptr;
		for (auto &condition : having) {
			condition = OfKeptRow(aggregate, *condition);
			possible = possible && condition;
		}
		if (!possible) {
			return nullptr;
		}
	}
	auto &order = found->orders[0];
	auto inner = order.expression->Copy();
	ResolveBelow(outer, *found->input.get());
	ResolveBelow(inner, *found->input.get());
	OrderKeyShape inner_shape(order.type == OrderType::DESCENDING);
	auto &distance = PeelOrderKey(context, *outer, shape);
	auto further_keys = orders.size() > 1;
	if (!distance.Equals(PeelOrderKey(context, *inner, inner_shape)) || shape.descending != inner_shape.descending ||
	    (shape.rounds && further_keys) || shape.IsGuarded()) {
		return nullptr;
	}
	// NaN is the greatest number to DuckDB, of whatever it was made. So `ORDER BY 1 - max(similarity)` puts groups last
	// of which any row has NaN, and a search for near rows finds them first.
	auto ascends = order.type == OrderType::ASCENDING;
	auto groups_ascend = orders[0].type == OrderType::ASCENDING;
	// Nor may one aggregate of a group be NaN because of a row that another one ignores.
	auto all_alike = std::all_of(found->orders.begin(), found->orders.end(),
	                             [&](const BoundOrderByNode &other) { return other.type == order.type; });
	if ((groups_ascend && !ascends) || !all_alike) {
		return nullptr;
	}
	found->undefined_first = ascends && !groups_ascend;
	found->conditions = std::move(having);
	found->best_groups = true;
	found->ties = found->ties || further_keys;
	return std::move(found.found);
}

//! An ORDER BY of rows that show their ranks. It orders by the same keys as the ranks, or by the ranks: `SELECT id,
//! row_number() OVER (ORDER BY distance) …`.
static unique_ptr<Nearest> FindBelowRanks(LogicalOperator &op, const vector<BoundOrderByNode> &orders) {
	auto key = orders[0].expression->Copy();
	auto &below = ResolveBelow(key, *op.children[0]);
	if (below.type != LogicalOperatorType::LOGICAL_WINDOW) {
		return nullptr;
	}
	auto &window = below.Cast<LogicalWindow>();
	auto found = FindRanks(window);
	if (!found || !found->groups.empty()) {
		return nullptr;
	}
	auto &order = found->orders[0];
	auto by_rank = IsRank(*key, window.window_index) && orders[0].type == OrderType::ASCENDING;
	if (!by_rank &&
	    !(key->Equals(*order.expression) && orders[0].type == order.type && orders[0].null_order == order.null_order)) {
		return nullptr;
	}
	found->ties = found->ties || orders.size() > 1;
	return std::move(found.found);
}

//! Whether `order` does not tell the rows apart for which `conditions` hold. To these it adds `x IS NOT NULL` if `order`
//! is `x IS NULL`, or otherwise puts other rows last.
static bool IsSettled(LogicalOperator &op, const BoundOrderByNode &order, vector<unique_ptr<Expression>> &conditions) {
	auto key = order.expression->Copy();
	ResolveBelow(key, *op.children[0]);
	if (key->IsFoldable()) {
		return true;
	}
	auto descending = order.type == OrderType::DESCENDING;
	auto type = descending ? ExpressionType::OPERATOR_IS_NOT_NULL : ExpressionType::OPERATOR_IS_NULL;
	auto argument = OperatorArgument(*key, type);
	if (!argument) {
		return false;
	}
	auto not_null = make_uniq<BoundOperatorExpression>(ExpressionType::OPERATOR_IS_NOT_NULL, LogicalType::BOOLEAN);
	not_null->GetChildrenMutable().push_back(argument->Copy());
	conditions.push_back(std::move(not_null));
	return true;
}

static unique_ptr<Nearest> FindInOrder(ClientContext &context, LogicalOperator &op,
                                       const vector<BoundOrderByNode> &orders, idx_t limit, idx_t offset) {
	auto result = FindBestGroups(context, op, orders);
	if (!result) {
		result = FindBelowRanks(op, orders);
	}
	if (!result) {
		result = make_uniq<Nearest>(op.children[0]);
		// `ORDER BY v IS NULL, distance`
		idx_t first = 0;
		while (first + 1 < orders.size() && IsSettled(op, orders[first], result->conditions)) {
			first++;
		}
		result->orders.push_back(orders[first].Copy());
		result->ties = orders.size() > first + 1;
	}
	result->k = SaturatingSum(limit, offset);
	result->ordered = true;
	return result;
}

//! LIMIT → PROJECTION … → ORDER BY, which is how DuckDB plans large limits.
static OrRefusal<Nearest> FindInLimit(ClientContext &context, LogicalLimit &limit) {
	auto unset_offset = limit.offset_val.Type() == LimitNodeType::UNSET;
	if (limit.limit_val.Type() != LimitNodeType::CONSTANT_VALUE ||
	    (!unset_offset && limit.offset_val.Type() != LimitNodeType::CONSTANT_VALUE)) {
		return Nothing();
	}
	reference<LogicalOperator> below(*limit.children[0]);
	while (below.get().type == LogicalOperatorType::LOGICAL_PROJECTION) {
		below = *below.get().children[0];
	}
	if (below.get().type != LogicalOperatorType::LOGICAL_ORDER_BY) {
		return Nothing();
	}
	auto &order = below.get().Cast<LogicalOrder>();
	auto offset = unset_offset ? 0 : limit.offset_val.GetConstantValue();
	return FindInOrder(context, order, order.orders, limit.limit_val.GetConstantValue(), offset);
}

OrRefusal<Nearest> FindNearest(ClientContext &context, LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_TOP_N: {
		auto &top_n = op.Cast<LogicalTopN>();
		return FindInOrder(context, op, top_n.orders, top_n.limit, top_n.offset);
	}
	case LogicalOperatorType::LOGICAL_LIMIT:
		return FindInLimit(context, op.Cast<LogicalLimit>());
	default:
		auto found = FindBelowOrder(op);
		if (found && found->partial) {
			return Refuse("the rows nearest to a query vector are wanted for each of several groups");
		}
		return found;
	}
}

} // namespace duckdb
