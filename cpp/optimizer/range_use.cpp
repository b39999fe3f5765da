#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_delete.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/operator/logical_insert.hpp"
#include "duckdb/planner/operator/logical_merge_into.hpp"
#include "duckdb/planner/operator/logical_update.hpp"
#include "optimizer/order_key.hpp"
#include "optimizer/range.hpp"

namespace duckdb {

//! About how many values a column of a scan has; 0 if DuckDB does not know.
static idx_t DistinctValues(ClientContext &context, LogicalGet &get, const ColumnBinding &binding) {
	auto &column = get.GetColumnIndex(binding);
	if (column.IsVirtualColumn() || column.HasChildren()) {
		return 0;
	}
	auto statistics = get.GetTable()->GetStatistics(context, column.GetPrimaryIndex());
	return statistics ? statistics->GetDistinctCount() : 0;
}

bool RangeUse::HasFewPartners(ClientContext &context, LogicalGet &get) const {
	//! A scan takes about so many times as long as an index to measure a row.
	constexpr idx_t GAIN = 8;
	if (!get.dynamic_filters) {
		return false;
	}
	// One of the sides of a join is a column of the scan, and the other one has rows for few of its values.
	auto finds_few = [&](const Expression &side, const LogicalOperator &partners) {
		auto &expr =
		    BoundCastExpression::IsCast(side) ? BoundCastExpression::Child(side.Cast<BoundFunctionExpression>()) : side;
		if (expr.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF || !partners.has_estimated_cardinality) {
			return false;
		}
		auto &binding = expr.Cast<BoundColumnRefExpression>().Binding();
		return binding.table_index == get.table_index &&
		       partners.estimated_cardinality * GAIN <= DistinctValues(context, get, binding);
	};
	for (auto &join_ref : joins) {
		auto &join = join_ref.get();
		auto drops_left = join.join_type == JoinType::INNER || join.join_type == JoinType::SEMI;
		auto drops_right = join.join_type == JoinType::INNER || join.join_type == JoinType::RIGHT_SEMI;
		for (auto &condition : join.conditions) {
			if (!condition.IsComparison() || condition.GetComparisonType() != ExpressionType::COMPARE_EQUAL) {
				continue;
			}
			if ((drops_left && finds_few(condition.GetLHS(), *join.children[1])) ||
			    (drops_right && finds_few(condition.GetRHS(), *join.children[0]))) {
				return true;
			}
		}
	}
	return false;
}

RangeUse RangeUse::Below(const LogicalOperator &op) const {
	RangeUse result;
	result.changed = changed;
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_INSERT:
		result.changed = op.Cast<LogicalInsert>().table;
		break;
	case LogicalOperatorType::LOGICAL_UPDATE:
		result.changed = op.Cast<LogicalUpdate>().table;
		break;
	case LogicalOperatorType::LOGICAL_DELETE:
		result.changed = op.Cast<LogicalDelete>().table;
		break;
	case LogicalOperatorType::LOGICAL_MERGE_INTO:
		result.changed = op.Cast<LogicalMergeInto>().table;
		break;
	case LogicalOperatorType::LOGICAL_LIMIT:
		result.may_stop = true;
		break;
	case LogicalOperatorType::LOGICAL_PROJECTION:
	case LogicalOperatorType::LOGICAL_FILTER:
		result.may_stop = may_stop;
		result.joins = joins;
		break;
	case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
		result.joins = joins;
		result.joins.push_back(op.Cast<LogicalComparisonJoin>());
		break;
	case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY: {
		auto &aggregate = op.Cast<LogicalAggregate>();
		auto reads_nothing = [](const unique_ptr<Expression> &expr) { return ReferencedTables(*expr).empty(); };
		result.counts_only = std::all_of(op.expressions.begin(), op.expressions.end(), reads_nothing) &&
		                     std::all_of(aggregate.groups.begin(), aggregate.groups.end(), reads_nothing);
		break;
	}
	default:
		break;
	}
	return result;
}

} // namespace duckdb
