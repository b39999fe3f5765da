#include "optimizer/row_id_plan.hpp"

#include "duckdb/planner/column_binding_map.hpp"
#include "duckdb/planner/expression/bound_aggregate_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/filter/expression_filter.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_distinct.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "execution/positions.hpp"

namespace duckdb {

//! Whether `expr` may have another value each time. DuckDB guards scalar subqueries with `error`, which counts as
//! volatile only so that it is not evaluated early.
static bool IsVolatile(const Expression &expr) {
	if (!expr.IsVolatile()) {
		return false;
	}
	if (expr.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION &&
	    expr.Cast<BoundFunctionExpression>().Function().GetName() == "error") {
		return false;
	}
	bool explained = false;
	bool result = false;
	ExpressionIterator::EnumerateChildren(expr, [&](const Expression &child) {
		explained = explained || child.IsVolatile();
		result = result || IsVolatile(child);
	});
	return result || !explained;
}

bool IsVolatile(const LogicalOperator &op) {
	bool result = false;
	LogicalOperatorVisitor::EnumerateExpressions(
	    op, [&](const unique_ptr<Expression> *expr) { result = result || IsVolatile(**expr); });
	return result;
}

//! Whether `op` calls `error`, and so may fail for some of the rows below.
static bool Checks(const LogicalOperator &op) {
	bool result = false;
	std::function<void(const Expression &)> visit = [&](const Expression &expr) {
		result = result || (expr.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION &&
		                    expr.Cast<BoundFunctionExpression>().Function().GetName() == "error");
		ExpressionIterator::EnumerateChildren(expr, visit);
	};
	LogicalOperatorVisitor::EnumerateExpressions(const_cast<LogicalOperator &>(op),
	                                             [&](unique_ptr<Expression> *expr) { visit(**expr); });
	return result;
}

//! Whether an aggregate gives the same result whatever the order of its input. `checked`: operators above fail for some
//! of its results.
static bool IsRepeatableAggregate(const LogicalAggregate &op, bool checked) {
	auto is = [&](idx_t i, const char *name) {
		return op.expressions[i]->GetExpressionClass() == ExpressionClass::BOUND_AGGREGATE &&
		       op.expressions[i]->Cast<BoundAggregateExpression>().Function().GetName() == name;
	};
	// a scalar subquery: the first of its rows and their number, which operators above check to be one
	auto is_scalar_subquery =
	    checked && op.groups.empty() && op.expressions.size() == 2 && is(0, "first") && is(1, "count_star");
	for (auto &expr : op.expressions) {
		auto &function = expr->Cast<BoundAggregateExpression>().Function();
		if (function.GetOrderDependent() == AggregateOrderDependent::ORDER_DEPENDENT && !is_scalar_subquery) {
			return false;
		}
	}
	return true;
}

static bool HasParameter(const LogicalOperator &op) {
	bool result = false;
	LogicalOperatorVisitor::EnumerateExpressions(
	    op, [&](const unique_ptr<Expression> *expr) { result = result || (*expr)->HasParameter(); });
	return result;
}

//! `checked`: see IsRepeatableAggregate.
static bool IsRepeatable(const LogicalOperator &op, bool checked) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_GET:
		if (op.Cast<LogicalGet>().extra_info.sample_options) {
			return false;
		}
		break;
	case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
		if (!IsRepeatableAggregate(op.Cast<LogicalAggregate>(), checked)) {
			return false;
		}
		break;
	case LogicalOperatorType::LOGICAL_DISTINCT:
		if (op.Cast<LogicalDistinct>().distinct_type != DistinctType::DISTINCT) {
			return false;
		}
		break;
	case LogicalOperatorType::LOGICAL_PROJECTION:
	case LogicalOperatorType::LOGICAL_FILTER:
	case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
	case LogicalOperatorType::LOGICAL_ANY_JOIN:
	case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
	case LogicalOperatorType::LOGICAL_EXPRESSION_GET:
	case LogicalOperatorType::LOGICAL_CHUNK_GET:
	case LogicalOperatorType::LOGICAL_DUMMY_SCAN:
	case LogicalOperatorType::LOGICAL_EMPTY_RESULT:
	case LogicalOperatorType::LOGICAL_CTE_REF:
	case LogicalOperatorType::LOGICAL_UNION:
	case LogicalOperatorType::LOGICAL_EXCEPT:
	case LogicalOperatorType::LOGICAL_INTERSECT:
	case LogicalOperatorType::LOGICAL_ORDER_BY:
	case LogicalOperatorType::LOGICAL_UNNEST:
		break;
	default:
		return false;
	}
	auto is_projection = op.type == LogicalOperatorType::LOGICAL_PROJECTION;
	auto checks = is_projection && (checked || Checks(op));
	for (auto &child : op.children) {
		if (!IsRepeatable(*child, checks)) {
			return false;
		}
	}
	return !IsVolatile(op) && !HasParameter(op);
}

bool IsRepeatable(const LogicalOperator &op) {
	return IsRepeatable(op, false);
}

OrRefusal<LogicalOperator> CopyPlan(ClientContext &context, const LogicalOperator &op) {
	try {
		return op.Copy(context);
	} catch (const NotImplementedException &ex) {
		// only an attempt tells that an operator, or what a function is bound to, cannot be copied
		return Refusal(PlanNotes::Stage::PLAN, ErrorData(ex).RawMessage());
	}
}

static void AddReferences(LogicalOperator &op, column_binding_set_t &needed) {
	LogicalOperatorVisitor::EnumerateExpressions(op, [&](unique_ptr<Expression> *expr) {
		ExpressionIterator::VisitExpression<BoundColumnRefExpression>(
		    **expr, [&](const BoundColumnRefExpression &ref) { needed.insert(ref.Binding()); });
	});
}

//! Replaces columns of a scan that are neither in `needed` nor used by its own filters by the row id, which costs
//! nothing to read.
static void PruneScan(LogicalGet &get, const column_binding_set_t &needed) {
	unordered_set<idx_t> filtered;
	for (auto &entry : get.table_filters) {
		filtered.insert(entry.GetIndex().GetIndex());
	}
	for (auto &filter : get.table_filters.GetMultiColumnFilters()) {
		for (auto &column : filter->Cast<ExpressionFilter>().column_indexes) {
			filtered.insert(column.GetIndex());
		}
	}
	auto &columns = get.GetMutableColumnIds();
	for (idx_t i = 0; i < columns.size(); i++) {
		if (filtered.count(i) == 0 && needed.count(ColumnBinding(get.table_index, ProjectionIndex(i))) == 0) {
			columns[i] = ColumnIndex(COLUMN_IDENTIFIER_ROW_ID);
		}
	}
}

//! From now on no join above `plan` tells the scan in it, while they run, which rows have partners: the join knows
//! columns of the scan by positions, where other columns may be now. Joins in `plan` still do.
static void KeepOwnFilters(LogicalOperator &plan, LogicalGet &get) {
	auto before = std::move(get.dynamic_filters);
	if (!before) {
		return;
	}
	std::function<void(LogicalOperator &)> visit = [&](LogicalOperator &op) {
		auto is_join = op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN;
		if (is_join && op.Cast<LogicalComparisonJoin>().filter_pushdown) {
			for (auto &target : op.Cast<LogicalComparisonJoin>().filter_pushdown->probe_info) {
				if (target.dynamic_filters == before) {
					get.dynamic_filters =
					    get.dynamic_filters ? get.dynamic_filters : make_shared_ptr<DynamicTableFilterSet>();
					target.dynamic_filters = get.dynamic_filters;
				}
			}
		}
		for (auto &child : op.children) {
			visit(*child);
		}
	};
	visit(plan);
}

//! The position of `column` in `columns`; their number if it is not among them.
static idx_t PositionOf(const vector<ColumnBinding> &columns, const ColumnBinding &column) {
	return UnsafeNumericCast<idx_t>(std::find(columns.begin(), columns.end(), column) - columns.begin());
}

void RemapColumns(vector<ProjectionIndex> &map, const vector<ColumnBinding> &before, const vector<ColumnBinding> &after,
                  const vector<ColumnBinding> &more) {
	vector<ProjectionIndex> result;
	auto add = [&](const ColumnBinding &column) {
		auto position = PositionOf(after, column);
		if (position < after.size()) {
			PositionOrAdd(result, ProjectionIndex(position));
		}
	};
	for (auto &column : map) {
		add(before[column]);
	}
	for (auto &column : more) {
		add(column);
	}
	map = std::move(result);
}

RowFilter YieldRowIds(unique_ptr<LogicalOperator> plan, const vector<idx_t> &path, const vector<ProjectionIndex> &keys,
                      bool and_columns) {
	vector<reference<LogicalOperator>> ops {*plan};
	for (auto child : path) {
		ops.push_back(*ops.back().get().children[child]);
	}
	column_binding_set_t needed;
	vector<ColumnBinding> own_columns;
	if (and_columns) {
		own_columns = plan->GetColumnBindings();
		needed.insert(own_columns.begin(), own_columns.end());
	}
	for (idx_t i = 0; i < path.size(); i++) {
		auto &op = ops[i].get();
		if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
			auto table = op.Cast<LogicalProjection>().table_index;
			for (idx_t col = 0; col < op.expressions.size(); col++) {
				if (needed.count(ColumnBinding(table, ProjectionIndex(col))) == 0) {
					op.expressions[col] = make_uniq<BoundConstantExpression>(Value::BOOLEAN(false));
				}
			}
		}
		AddReferences(op, needed);
	}
	vector<vector<ColumnBinding>> bindings;
	for (auto &op : ops) {
		bindings.push_back(op.get().GetColumnBindings());
	}
	auto &get = ops.back().get().Cast<LogicalGet>();
	// the columns that each operator has to yield, as they come from the operator below
	vector<ColumnBinding> yielded;
	vector<LogicalType> types;
	for (auto &key : keys) {
		yielded.emplace_back(get.table_index, key);
		types.push_back(get.GetColumnType(get.GetColumnIds()[key]));
		needed.insert(yielded.back());
	}
	PruneScan(get, needed);
	KeepOwnFilters(*plan, get);
	yielded.emplace_back(get.table_index, get.AddColumnId(COLUMN_IDENTIFIER_ROW_ID));
	types.push_back(LogicalType::ROW_TYPE);
	if (path.empty()) {
		get.projection_ids.clear();
	}
	if (path.empty() || !get.projection_ids.empty()) {
		for (auto &binding : yielded) {
			PositionOrAdd(get.projection_ids, binding.column_index);
		}
	}
	for (idx_t i = path.size(); i-- > 0;) {
		auto &op = ops[i].get();
		if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
			for (idx_t col = 0; col < yielded.size(); col++) {
				op.expressions.push_back(make_uniq<BoundColumnRefExpression>(types[col], yielded[col]));
				yielded[col] =
				    ColumnBinding(op.Cast<LogicalProjection>().table_index, ProjectionIndex(op.expressions.size() - 1));
			}
			continue;
		}
		auto map = LogicalOperatorVisitor::GetProjectionMap(op, path[i]);
		// some joins cannot leave out columns: an operator without a map must not get one
		if (map && (!map->empty() || (i == 0 && op.type == LogicalOperatorType::LOGICAL_FILTER))) {
			if (i == 0) {
				map->clear();
			}
			// columns to be yielded stand before those that a join below adds to its rows
			RemapColumns(*map, bindings[i + 1], ops[i + 1].get().GetColumnBindings(), yielded);
		}
	}
	RowFilter result;
	auto columns = plan->GetColumnBindings();
	yielded.insert(yielded.begin(), own_columns.begin(), own_columns.end());
	for (auto &binding : yielded) {
		result.key_columns.push_back(PositionOf(columns, binding));
	}
	result.row_id_column = result.key_columns.back();
	result.key_columns.pop_back();
	result.plan = std::move(plan);
	return result;
}

} // namespace duckdb
