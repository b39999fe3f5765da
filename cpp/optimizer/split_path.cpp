//! Takes a path apart: what selects rows becomes a plan of its own.
#include "optimizer/scan_path.hpp"

#include "duckdb/optimizer/column_binding_replacer.hpp"
#include "duckdb/optimizer/join_filter_pushdown_optimizer.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_deep_copy.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "execution/positions.hpp"
#include "optimizer/row_id_plan.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Plans that are run twice
//---------------------------------------------------------------------------------------------------------------------

OrRefusal<LogicalOperator> ScanPath::CopyProbes(Binder &binder, idx_t probes, const Expression &query,
                                                bool only_one) const {
	reference<LogicalOperator> source(*steps[probes].op.get()->children[1 - steps[probes].child]);
	for (bool found = true; found;) {
		// joins with other tables can only drop some of the vectors, or repeat them
		found = false;
		auto children = IsInnerJoin(source) ? source.get().children.size() : 0;
		for (idx_t i = 0; i < children && !found; i++) {
			found = HasBindingsOf(*source.get().children[i], query);
			source = found ? *source.get().children[i] : source.get();
		}
	}
	auto &side = source.get();
	auto cardinality = side.EstimateCardinality(binder.context);
	if (!IsRepeatable(side) || (only_one && cardinality > 1)) {
		return Refusal(PlanNotes::Stage::PLAN, "there are several query vectors, each for some of the rows, or they "
		                                       "differ when read again");
	}
	vector<unique_ptr<Expression>> select_list;
	select_list.push_back(query.Copy());
	unique_ptr<LogicalOperator> projection =
	    make_uniq<LogicalProjection>(binder.GenerateTableIndex(), std::move(select_list));
	auto copy = CopyPlan(binder.context, side);
	if (!copy) {
		return copy;
	}
	projection->children.push_back(std::move(copy.found));
	projection->SetEstimatedCardinality(cardinality);
	return LogicalOperatorDeepCopy(binder, nullptr).DeepCopy(projection);
}

//---------------------------------------------------------------------------------------------------------------------
// Splitting
//---------------------------------------------------------------------------------------------------------------------

bool ScanPath::IsTaken(const Expression &predicate, const LogicalOperator &op) const {
	auto resolved = matcher.Resolve(predicate.Copy());
	if (matcher.IsBound(match, *resolved)) {
		return true;
	}
	if (guards_restrict || !matcher.IsGuard(match, *resolved)) {
		return false;
	}
	if (!top.IsValid()) {
		return true;
	}
	// A guard beside filters stays with them, as they may fail without it: `v IS NOT NULL AND f(v)`. And a distance is
	// not computed twice.
	auto can_throw = [](const unique_ptr<Expression> &expr) { return expr->CanThrow(); };
	return Contains(*resolved, *match.distance) &&
	       std::none_of(op.expressions.begin(), op.expressions.end(), can_throw);
}

bool ScanPath::HasPredicate(const std::function<bool(const Expression &, const LogicalOperator &)> &is_one) const {
	for (auto &step : steps) {
		auto &op = *step.op.get();
		if (op.type == LogicalOperatorType::LOGICAL_FILTER) {
			for (auto &expr : op.expressions) {
				if (is_one(*expr, op)) {
					return true;
				}
			}
		}
	}
	for (auto &entry : match.get.table_filters) {
		auto predicate = AsPredicate(match.get, entry.Filter(), entry.GetIndex());
		if (predicate && is_one(*predicate, match.get)) {
			return true;
		}
	}
	return false;
}

bool ScanPath::HasBounds(bool guards) const {
	return HasPredicate([&](const Expression &expr, const LogicalOperator &op) {
		return guards ? IsTaken(expr, op) : matcher.IsBound(match, *matcher.Resolve(expr.Copy()));
	});
}

bool ScanPath::NaNPassesBound() const {
	return HasPredicate([&](const Expression &expr, const LogicalOperator &) {
		auto resolved = matcher.Resolve(expr.Copy());
		return matcher.IsBound(match, *resolved) && matcher.NaNPasses(*resolved);
	});
}

vector<unique_ptr<Expression>> ScanPath::TakeBounds(LogicalOperator &op, bool &ranked_only) const {
	vector<unique_ptr<Expression>> bounds;
	auto take = [&](unique_ptr<Expression> predicate) {
		ranked_only = ranked_only || matcher.IsGuard(match, *matcher.Resolve(predicate->Copy()));
		bounds.push_back(std::move(predicate));
	};
	if (op.type == LogicalOperatorType::LOGICAL_FILTER) {
		vector<bool> taken;
		for (auto &expr : op.expressions) {
			taken.push_back(IsTaken(*expr, op));
		}
		vector<unique_ptr<Expression>> others;
		for (idx_t i = 0; i < op.expressions.size(); i++) {
			if (taken[i]) {
				take(std::move(op.expressions[i]));
			} else {
				others.push_back(std::move(op.expressions[i]));
			}
		}
		op.expressions = std::move(others);
	} else if (op.type == LogicalOperatorType::LOGICAL_GET) {
		auto &get = op.Cast<LogicalGet>();
		vector<ProjectionIndex> columns;
		for (auto &entry : get.table_filters) {
			auto predicate = AsPredicate(get, entry.Filter(), entry.GetIndex());
			if (predicate && IsTaken(*predicate, op)) {
				take(std::move(predicate));
				columns.push_back(entry.GetIndex());
			}
		}
		for (auto &column : columns) {
			get.table_filters.RemoveFilterByColumnIndex(column);
		}
	}
	return bounds;
}

//! What Split() returns.
static unique_ptr<SplitPath> Pieces(unique_ptr<LogicalOperator> &slot, unique_ptr<LogicalGet> get, RowFilter filter,
                                    vector<unique_ptr<Expression>> bounds, bool ranked_only) {
	return unique_ptr<SplitPath>(
	    new SplitPath {slot, std::move(get), std::move(filter), std::move(bounds), ranked_only});
}

OrRefusal<PairConditions> ScanPath::ConditionsOfPairs(vector<unique_ptr<Expression>> conditions,
                                                      LogicalOperator &probes) const {
	auto result = make_uniq<PairConditions>();
	for (auto &condition : conditions) {
		auto resolved = matcher.Resolve(std::move(condition));
		bool nested = false;
		ExpressionIterator::EnumerateExpression(resolved, [&](unique_ptr<Expression> &child) {
			if (child->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
				return;
			}
			auto &binding = child->Cast<BoundColumnRefExpression>().Binding();
			if (binding.table_index != match.get.table_index) {
				return;
			}
			nested = nested || child->GetReturnType().IsNested();
			auto position = PositionOrAdd(result->keys, binding.column_index);
			child = make_uniq<BoundReferenceExpression>(child->GetReturnType(), position);
		});
		if (nested) {
			return Refusal(PlanNotes::Stage::PLAN,
			               "a condition beside the distance compares lists, arrays or structs of the table");
		}
		if (!HasBindingsOf(probes, *resolved)) {
			return Refusal(PlanNotes::Stage::PLAN, "a condition on the query vectors' rows is over another table, too");
		}
		result->conditions.push_back(std::move(resolved));
	}
	return result;
}

OrRefusal<SplitPath> ScanPath::Split(Binder &binder, const vector<ProjectionIndex> &keys) {
	if (!top.IsValid()) {
		RowFilter filter;
		if (!keys.empty()) {
			auto plan = WithoutFilters(match.get, {});
			plan->table_index = binder.GenerateTableIndex();
			filter = YieldRowIds(std::move(plan), {}, keys);
		}
		return SplitAtScan(std::move(filter));
	}
	if (CanMove()) {
		bool ranked_only = false;
		auto &filter = steps[top.GetIndex()].op.get();
		vector<idx_t> path;
		for (idx_t i = top.GetIndex(); i + 1 < steps.size(); i++) {
			path.push_back(steps[i].child);
		}
		auto get = WithoutFilters(match.get, filter->GetColumnBindings());
		vector<unique_ptr<Expression>> bounds;
		for (idx_t i = top.GetIndex(); i < steps.size(); i++) {
			for (auto &bound : TakeBounds(*steps[i].op.get(), ranked_only)) {
				bounds.push_back(std::move(bound));
			}
		}
		Renumber(binder, *filter, match.get);
		auto qualifying = YieldRowIds(std::move(filter), path, keys);
		return Pieces(filter, std::move(get), std::move(qualifying), std::move(bounds), ranked_only);
	}
	auto filter = CopyFilter(binder, top.GetIndex(), keys, {});
	if (!filter) {
		return filter.refusal;
	}
	return SplitAtScan(std::move(*filter));
}

idx_t ScanPath::StepOfGroups(vector<unique_ptr<Expression>> &groups) const {
	auto last = top.IsValid() ? top.GetIndex() : steps.size() - 1;
	for (idx_t step = 0; step < last; step++) {
		auto &op = *steps[step].op.get();
		auto columns = steps[step + 1].op.get()->GetColumnBindings();
		vector<unique_ptr<Expression>> below;
		bool possible = true;
		for (auto &group : groups) {
			below.push_back(group->Copy());
			ResolveIn(below.back(), op);
			ExpressionIterator::VisitExpression<BoundColumnRefExpression>(
			    *below.back(), [&](const BoundColumnRefExpression &ref) {
				    possible = possible && std::find(columns.begin(), columns.end(), ref.Binding()) != columns.end();
			    });
		}
		if (!possible) {
			return step;
		}
		groups = std::move(below);
	}
	return last;
}

//! Replaces the aggregate whose groups have the table index `group_index` by a projection. It yields the groups for
//! each row, and placeholders for the aggregates.
static void Ungroup(unique_ptr<LogicalOperator> &op, TableIndex group_index, idx_t aggregates) {
	for (auto &child : op->children) {
		Ungroup(child, group_index, aggregates);
	}
	if (op->type != LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY ||
	    op->Cast<LogicalAggregate>().group_index != group_index) {
		return;
	}
	auto columns = std::move(op->Cast<LogicalAggregate>().groups);
	for (idx_t i = 0; i < aggregates; i++) {
		columns.push_back(make_uniq<BoundConstantExpression>(Value::BOOLEAN(false)));
	}
	auto projection = make_uniq<LogicalProjection>(group_index, std::move(columns));
	projection->children = std::move(op->children);
	op = std::move(projection);
}

OrRefusal<LogicalOperator> ScanPath::CopyFrom(ClientContext &context, LogicalOperator &source) const {
	// the states are left out of the copy: their arguments may be parameters, and nobody reads them
	auto aggregate = partial;
	vector<unique_ptr<Expression>> states;
	if (aggregate) {
		std::swap(states, aggregate->expressions);
	}
	OrRefusal<LogicalOperator> copy(Refusal(
	    PlanNotes::Stage::PLAN, "a part of the query would have to be run twice, and may differ the second time"));
	if (IsRepeatable(source)) {
		copy = CopyPlan(context, source);
	}
	if (!aggregate) {
		return copy;
	}
	std::swap(states, aggregate->expressions);
	if (copy) {
		auto groups = aggregate->groups.size();
		auto count = aggregate->expressions.size();
		Ungroup(copy.found, aggregate->group_index, count);
		ColumnBindingReplacer replacer;
		for (idx_t i = 0; i < count; i++) {
			replacer.replacement_bindings.emplace_back(
			    ColumnBinding(aggregate->aggregate_index, ProjectionIndex(i)),
			    ColumnBinding(aggregate->group_index, ProjectionIndex(groups + i)));
		}
		replacer.VisitOperator(*copy);
	}
	return copy;
}

//! Has the joins in `plan`, a copy, tell the scans below which rows have partners, while they run: a copy lacks what
//! DuckDB has prepared for that.
static void PushJoinFilters(Binder &binder, LogicalOperator &plan) {
	if (!Optimizer::OptimizerDisabled(binder.context, OptimizerType::JOIN_FILTER_PUSHDOWN)) {
		Optimizer optimizer(binder, binder.context);
		JoinFilterPushdownOptimizer(optimizer).VisitOperator(plan);
	}
}

OrRefusal<RowFilter> ScanPath::CopyFilter(Binder &binder, idx_t first, const vector<ProjectionIndex> &keys,
                                          vector<unique_ptr<Expression>> groups) const {
	auto copy = CopyFrom(binder.context, *steps[first].op.get());
	if (!copy) {
		return copy.refusal;
	}
	vector<idx_t> path;
	reference<LogicalOperator> op(*copy);
	bool ranked_only = false;
	TakeBounds(op, ranked_only);
	for (idx_t i = first; i + 1 < steps.size(); i++) {
		path.push_back(steps[i].child);
		op = *op.get().children[path.back()];
		TakeBounds(op, ranked_only);
	}
	auto plan = std::move(copy.found);
	auto has_groups = !groups.empty();
	if (has_groups) {
		auto projection = make_uniq<LogicalProjection>(binder.GenerateTableIndex(), std::move(groups));
		projection->children.push_back(std::move(plan));
		plan = std::move(projection);
		path.insert(path.begin(), 0);
	}
	plan = LogicalOperatorDeepCopy(binder, nullptr).DeepCopy(plan);
	auto result = make_uniq<RowFilter>(YieldRowIds(std::move(plan), path, keys, has_groups));
	PushJoinFilters(binder, *result->plan);
	return result;
}

unique_ptr<SplitPath> ScanPath::SplitAtScan(RowFilter filter) {
	auto &scan = steps.back().op.get();
	auto get = WithoutFilters(match.get, scan->GetColumnBindings());
	bool ranked_only = false;
	auto bounds = TakeBounds(*scan, ranked_only);
	return Pieces(scan, std::move(get), std::move(filter), std::move(bounds), ranked_only);
}

OrRefusal<SplitPath> ScanPath::SplitWithGroups(Binder &binder, const vector<unique_ptr<Expression>> &groups) {
	vector<unique_ptr<Expression>> made;
	for (auto &group : groups) {
		made.push_back(group->Copy());
	}
	auto step = StepOfGroups(made);
	auto filter = CopyFilter(binder, step, {}, std::move(made));
	if (!filter) {
		return filter.refusal;
	}
	return SplitAtScan(std::move(*filter));
}

} // namespace duckdb
