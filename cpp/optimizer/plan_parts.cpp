#include "optimizer/plan_parts.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/filter/expression_filter.hpp"
#include "duckdb/planner/logical_operator_deep_copy.hpp"
#include "duckdb/planner/operator/logical_any_join.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_join.hpp"
#include "optimizer/order_key.hpp"

namespace duckdb {

static Effect JoinEffect(JoinType type, idx_t child) {
	switch (type) {
	case JoinType::INNER:
		return Effect::RESTRICTS;
	case JoinType::LEFT:
	case JoinType::SINGLE:
	case JoinType::MARK:
		return child == 0 ? Effect::KEEPS : Effect::CHANGES;
	case JoinType::RIGHT:
		return child == 1 ? Effect::KEEPS : Effect::CHANGES;
	case JoinType::SEMI:
	case JoinType::ANTI:
		return child == 0 ? Effect::RESTRICTS : Effect::CHANGES;
	case JoinType::RIGHT_SEMI:
	case JoinType::RIGHT_ANTI:
		return child == 1 ? Effect::RESTRICTS : Effect::CHANGES;
	default:
		return Effect::CHANGES;
	}
}

Effect EffectOf(LogicalOperator &op, idx_t child) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_PROJECTION:
		return Effect::KEEPS;
	case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
		// If the other side is empty, no row gets through; then it does not matter which rows a search finds.
		return Effect::KEEPS;
	case LogicalOperatorType::LOGICAL_FILTER:
		return Effect::RESTRICTS;
	case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
	case LogicalOperatorType::LOGICAL_ANY_JOIN:
	case LogicalOperatorType::LOGICAL_DELIM_JOIN:
		return JoinEffect(op.Cast<LogicalJoin>().join_type, child);
	default:
		return Effect::CHANGES;
	}
}

bool IsOuterJoin(const LogicalOperator &op) {
	if (op.type != LogicalOperatorType::LOGICAL_COMPARISON_JOIN && op.type != LogicalOperatorType::LOGICAL_ANY_JOIN) {
		return false;
	}
	auto type = op.Cast<LogicalJoin>().join_type;
	return type == JoinType::LEFT || type == JoinType::RIGHT || type == JoinType::OUTER;
}

bool PassesRows(LogicalOperator &op, idx_t child) {
	return EffectOf(op, child) != Effect::CHANGES;
}

unique_ptr<Expression> AsPredicate(const LogicalGet &get, const TableFilter &filter, ProjectionIndex column) {
	if (filter.filter_type != TableFilterType::EXPRESSION_FILTER) {
		return nullptr;
	}
	auto result = filter.Cast<ExpressionFilter>().expr->Copy();
	ExpressionIterator::EnumerateExpression(result, [&](unique_ptr<Expression> &child) {
		if (child->GetExpressionClass() == ExpressionClass::BOUND_REF) {
			child = make_uniq<BoundColumnRefExpression>(child->GetReturnType(), ColumnBinding(get.table_index, column));
		}
	});
	return result;
}

Refusal RefuseGet(const LogicalGet &get) {
	auto refuse = [](string reason) { return Refusal(PlanNotes::Stage::PLAN, std::move(reason)); };
	if (get.extra_info.sample_options) {
		return refuse("the table is sampled");
	}
	if (get.row_group_order_options || !get.scan_partition_indices.empty()) {
		return refuse("the scan is pruned for another order");
	}
	if (get.has_pushed_projection || get.ordinality_idx.IsValid() || !get.children.empty()) {
		return refuse("the scan does more than read columns");
	}
	for (auto &column : get.GetColumnIds()) {
		StorageIndex storage_index;
		auto row_id = column.IsVirtualColumn() && column.IsRowIdColumn();
		if (!row_id && (column.IsVirtualColumn() || !get.TryGetStorageIndex(column, storage_index))) {
			return refuse("the query uses a virtual column other than rowid");
		}
	}
	return Refusal();
}

void PutFilter(unique_ptr<LogicalFilter> filter, unique_ptr<LogicalOperator> &slot,
               const vector<ColumnBinding> &columns) {
	auto bindings = slot->GetColumnBindings();
	if (bindings != columns) {
		for (auto &column : columns) {
			auto position = std::find(bindings.begin(), bindings.end(), column) - bindings.begin();
			filter->projection_map.emplace_back(UnsafeNumericCast<idx_t>(position));
		}
	} else if (filter->expressions.empty()) {
		return;
	}
	filter->children.push_back(std::move(slot));
	slot = std::move(filter);
}

optional_ptr<LogicalGet> ScanBelow(LogicalOperator &op) {
	reference<LogicalOperator> current(op);
	while (current.get().type == LogicalOperatorType::LOGICAL_PROJECTION ||
	       current.get().type == LogicalOperatorType::LOGICAL_FILTER) {
		current = *current.get().children[0];
	}
	if (current.get().type != LogicalOperatorType::LOGICAL_GET) {
		return nullptr;
	}
	auto &get = current.get().Cast<LogicalGet>();
	auto table = get.GetTable();
	return table && table->IsDuckTable() ? &get : nullptr;
}

bool IsInnerJoin(const LogicalOperator &op) {
	auto join =
	    op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN || op.type == LogicalOperatorType::LOGICAL_ANY_JOIN;
	return op.type == LogicalOperatorType::LOGICAL_CROSS_PRODUCT ||
	       (join && op.Cast<LogicalJoin>().join_type == JoinType::INNER);
}

vector<JoinPart> JoinPartsOf(LogicalOperator &join) {
	vector<JoinPart> result;
	if (join.type == LogicalOperatorType::LOGICAL_ANY_JOIN) {
		result.push_back({join.Cast<LogicalAnyJoin>().condition->Copy(), false});
	} else if (join.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN) {
		for (auto &condition : join.Cast<LogicalComparisonJoin>().conditions) {
			if (condition.IsComparison()) {
				result.push_back(
				    {BoundComparisonExpression::Create(condition.GetComparisonType(), condition.GetLHS().Copy(),
				                                       condition.GetRHS().Copy()),
				     true});
			} else {
				result.push_back({condition.GetJoinExpression().Copy(), false});
			}
		}
	}
	return result;
}

bool HasBindingsOf(LogicalOperator &op, const Expression &expr) {
	unordered_set<idx_t> tables;
	for (auto &binding : op.GetColumnBindings()) {
		tables.insert(binding.table_index.index);
	}
	for (auto &table : ReferencedTables(expr)) {
		if (tables.find(table) == tables.end()) {
			return false;
		}
	}
	return true;
}

unique_ptr<LogicalGet> WithoutFilters(const LogicalGet &get, const vector<ColumnBinding> &bindings) {
	auto result = make_uniq<LogicalGet>(get.table_index, get.function, get.bind_data->Copy(), get.returned_types,
	                                    get.names, get.virtual_columns);
	result->GetMutableColumnIds() = get.GetColumnIds();
	result->parameters = get.parameters;
	result->named_parameters = get.named_parameters;
	for (auto &binding : bindings) {
		result->projection_ids.push_back(binding.column_index);
	}
	return result;
}

void Renumber(Binder &binder, LogicalOperator &plan, LogicalGet &scan) {
	unordered_map<TableIndex, TableIndex> replacements {{scan.table_index, binder.GenerateTableIndex()}};
	scan.table_index = replacements.begin()->second;
	TableBindingReplacer(replacements, nullptr).VisitOperator(plan);
}

} // namespace duckdb
