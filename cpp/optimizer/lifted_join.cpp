#include "optimizer/lifted_join.hpp"

#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_cross_product.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "optimizer/row_id_plan.hpp"
#include "optimizer/plan_parts.hpp"

namespace duckdb {

//! Whether `condition` holds for nearly all pairs.
static bool IsInequality(const Expression &condition) {
	auto type = condition.GetExpressionType();
	return BoundComparisonExpression::IsComparison(condition) &&
	       (type == ExpressionType::COMPARE_NOTEQUAL || type == ExpressionType::COMPARE_DISTINCT_FROM);
}

static bool IsBelow(const LogicalOperator &op, const LogicalOperator &part) {
	return &op == &part || std::any_of(op.children.begin(), op.children.end(),
	                                   [&](const unique_ptr<LogicalOperator> &child) { return IsBelow(*child, part); });
}

//! Whether a column in `expr` comes from `op`.
static bool HasColumnOf(LogicalOperator &op, const Expression &expr) {
	auto tables = ReferencedTables(expr);
	auto bindings = op.GetColumnBindings();
	return std::any_of(bindings.begin(), bindings.end(), [&](const ColumnBinding &binding) {
		return tables.find(binding.table_index.index) != tables.end();
	});
}

//! The columns of the child that `op` passes on; empty if it passes on all.
static vector<ProjectionIndex> ProjectionMapOf(LogicalOperator &op, idx_t child) {
	auto map = LogicalOperatorVisitor::GetProjectionMap(op, child);
	return map ? *map : vector<ProjectionIndex>();
}

LiftedJoin::LiftedJoin(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher_p,
                       const DistanceMatch &match_p)
    : matcher(matcher_p), match(match_p), top(below), slot(below) {
	while (top.get()->type == LogicalOperatorType::LOGICAL_PROJECTION) {
		top = top.get()->children[0];
	}
	if (Find()) {
		Lift();
	}
}

bool LiftedJoin::Find() {
	slot = top;
	while (true) {
		auto &op = *slot.get();
		table_child = op.children.size() == 1 || IsBelow(*op.children[0], match.get) ? 0 : 1;
		if (IsInnerJoin(op) && HasBindingsOf(*op.children[1 - table_child], *match.query)) {
			break;
		}
		if (op.type == LogicalOperatorType::LOGICAL_PROJECTION || !PassesRows(op, table_child) ||
		    !HasBindingsOf(*op.children[table_child], *match.query)) {
			return false;
		}
		above.push_back({op, table_child, ProjectionMapOf(op, table_child)});
		slot = op.children[table_child];
	}
	auto &probes = *slot.get()->children[1 - table_child];
	auto is_product = probes.type == LogicalOperatorType::LOGICAL_CROSS_PRODUCT;
	for (idx_t child = 0; is_product && child < 2; child++) {
		if (HasBindingsOf(*probes.children[child], *match.query)) {
			probe_child = child;
		}
	}
	if (!TakeConditions()) {
		return false;
	}
	if (others.empty()) {
		probe_child = optional_idx();
	}
	auto &lifted = probe_child.IsValid() ? *probes.children[probe_child.GetIndex()] : probes;
	for (auto &entry : above) {
		bool over_probes = false;
		LogicalOperatorVisitor::EnumerateExpressions(
		    entry.op, [&](unique_ptr<Expression> *expr) { over_probes = over_probes || HasColumnOf(lifted, **expr); });
		if (over_probes) {
			return false;
		}
	}
	return !above.empty() || slot.get()->type != LogicalOperatorType::LOGICAL_CROSS_PRODUCT;
}

bool LiftedJoin::TakeConditions() {
	auto &op = *slot.get();
	vector<unique_ptr<Expression>> comparisons;
	vector<unique_ptr<Expression>> rest;
	for (auto &part : JoinPartsOf(op)) {
		(part.compares_sides ? comparisons : rest).push_back(std::move(part.condition));
	}
	auto &probes = *op.children[1 - table_child];
	// `for_all`: the condition is computed for all pairs anyway
	auto take = [&](unique_ptr<Expression> &condition, bool for_all) {
		auto resolved = matcher.Resolve(condition->Copy());
		auto &kind = matcher.IsGuard(match, *resolved)   ? guards
		             : matcher.IsBound(match, *resolved) ? bounds
		                                                 : conditions;
		if (&kind == &conditions && (resolved->IsVolatile() || (resolved->CanThrow() && !for_all))) {
			return false;
		}
		measured = measured || (&kind == &guards && Contains(*resolved, *match.distance));
		nan_passes = nan_passes || (&kind == &bounds && matcher.NaNPasses(*resolved));
		selective = selective || (&kind == &conditions && !IsInequality(*condition));
		kind.push_back(std::move(condition));
		return true;
	};
	auto has_probe = [&](const Expression &condition) {
		return !probe_child.IsValid() || HasColumnOf(*probes.children[probe_child.GetIndex()], condition);
	};
	for (auto &comparison : comparisons) {
		if (!has_probe(*comparison)) {
			others.push_back(std::move(comparison));
		} else if (!take(comparison, true)) {
			return false;
		}
	}
	// In a comparison of two sides, each side is computed for all its rows; other conditions only for pairs that reach
	// them.
	LogicalFilter::SplitPredicates(rest);
	return std::all_of(rest.begin(), rest.end(), [&](unique_ptr<Expression> &condition) {
		return has_probe(*condition) && take(condition, false);
	});
}

void LiftedJoin::Lift() {
	columns = top.get()->GetColumnBindings();
	vector<vector<ColumnBinding>> before;
	for (auto &entry : above) {
		before.push_back(entry.op.get().children[entry.child]->GetColumnBindings());
	}
	join = std::move(slot.get());
	auto table = std::move(join->children[table_child]);
	auto probes = std::move(join->children[1 - table_child]);
	if (probe_child.IsValid()) {
		product = std::move(probes);
		probes = std::move(product->children[probe_child.GetIndex()]);
		auto third = std::move(product->children[1 - probe_child.GetIndex()]);
		auto rest = make_uniq<LogicalComparisonJoin>(JoinType::INNER);
		for (auto &other : others) {
			auto &comparison = other->Cast<BoundFunctionExpression>();
			rest->conditions.emplace_back(BoundComparisonExpression::Left(comparison).Copy(),
			                              BoundComparisonExpression::Right(comparison).Copy(),
			                              comparison.GetExpressionType());
		}
		rest->children.push_back(std::move(table_child == 0 ? table : third));
		rest->children.push_back(std::move(table_child == 0 ? third : table));
		slot.get() = std::move(rest);
	} else {
		slot.get() = std::move(table);
	}
	// the conditions are above now: what is below must pass their columns on
	vector<ColumnBinding> needed;
	for (auto kind : {&conditions, &guards, &bounds}) {
		for (auto &condition : *kind) {
			ExpressionIterator::VisitExpression<BoundColumnRefExpression>(
			    *condition, [&](const BoundColumnRefExpression &ref) { needed.push_back(ref.Binding()); });
		}
	}
	for (idx_t i = above.size(); i-- > 0;) {
		auto &op = above[i].op.get();
		auto map = LogicalOperatorVisitor::GetProjectionMap(op, above[i].child);
		if (map && !map->empty()) {
			RemapColumns(*map, before[i], op.children[above[i].child]->GetColumnBindings(), needed);
		}
	}
	top.get() = make_uniq<LogicalCrossProduct>(std::move(top.get()), std::move(probes));
}

LiftedJoin::~LiftedJoin() {
	if (!join) {
		return;
	}
	auto lifted = std::move(top.get());
	auto probes = std::move(lifted->children[1]);
	top.get() = std::move(lifted->children[0]);
	auto table = std::move(slot.get());
	if (product) {
		auto rest = std::move(table);
		table = std::move(rest->children[table_child]);
		product->children[probe_child.GetIndex()] = std::move(probes);
		product->children[1 - probe_child.GetIndex()] = std::move(rest->children[1 - table_child]);
		probes = std::move(product);
	}
	join->children[table_child] = std::move(table);
	join->children[1 - table_child] = std::move(probes);
	slot.get() = std::move(join);
	for (auto &entry : above) {
		auto map = LogicalOperatorVisitor::GetProjectionMap(entry.op, entry.child);
		if (map) {
			*map = std::move(entry.map);
		}
	}
}

optional_idx LiftedJoin::RowsPerProbe(idx_t probes) const {
	// DuckDB takes several conditions for independent
	if (!join || !join->has_estimated_cardinality || conditions.size() > 1) {
		return optional_idx();
	}
	return join->estimated_cardinality / MaxValue<idx_t>(probes, 1);
}

vector<unique_ptr<Expression>> LiftedJoin::Conditions() const {
	vector<unique_ptr<Expression>> result;
	for (auto &condition : conditions) {
		result.push_back(condition->Copy());
	}
	return join ? std::move(result) : vector<unique_ptr<Expression>>();
}

void LiftedJoin::Keep() {
	if (!join) {
		return;
	}
	auto filter = make_uniq<LogicalFilter>();
	for (auto kind : {&conditions, &guards, &bounds}) {
		for (auto &condition : *kind) {
			filter->expressions.push_back(std::move(condition));
		}
	}
	join.reset();
	PutFilter(std::move(filter), top, columns);
}

} // namespace duckdb
