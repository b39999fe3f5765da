#include "optimizer/scan_path.hpp"

#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_cross_product.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_join.hpp"
#include "optimizer/row_id_plan.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// The path
//---------------------------------------------------------------------------------------------------------------------

OrRefusal<ScanPath> ScanPath::Of(unique_ptr<LogicalOperator> &below, const DistanceMatcher &matcher,
                                 const DistanceMatch &match, optional_ptr<LogicalAggregate> partial) {
	unique_ptr<ScanPath> path(new ScanPath(matcher, match, partial));
	Refusal refusal;
	if (!path->Collect(below, refusal)) {
		return Refusal(PlanNotes::Stage::PLAN, "the vectors do not come from a scan of their table");
	}
	if (refusal) {
		return refusal;
	}
	std::reverse(path->steps.begin(), path->steps.end());
	if (path->UsesAggregates()) {
		return Refusal(PlanNotes::Stage::PLAN, "a condition compares what is aggregated of all rows");
	}
	path->FindTop();
	return path;
}

bool ScanPath::UsesAggregates() const {
	bool result = false;
	for (idx_t i = 0; partial && steps[i].op.get().get() != partial.get(); i++) {
		auto &op = *steps[i].op.get();
		if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
			continue; // operators above resolve what they use of it
		}
		LogicalOperatorVisitor::EnumerateExpressions(op, [&](unique_ptr<Expression> *expr) {
			auto tables = ReferencedTables(*matcher.Resolve((*expr)->Copy()));
			result = result || tables.count(partial->aggregate_index.index) > 0;
		});
	}
	return result;
}

void ScanPath::FindTop() {
	top = optional_idx();
	for (idx_t i = 0; i < steps.size() && !top.IsValid(); i++) {
		if (Restricts(steps[i])) {
			top = i;
		}
	}
}

bool ScanPath::Collect(unique_ptr<LogicalOperator> &op, Refusal &refusal) {
	if (op.get() == &match.get) {
		steps.push_back({op, 0});
		return true;
	}
	for (idx_t child = 0; child < op->children.size(); child++) {
		if (!Collect(op->children[child], refusal)) {
			continue;
		}
		steps.push_back({op, child});
		if (refusal) {
			return true;
		}
		if (EffectOf(*op, child) == Effect::CHANGES && op.get() != partial.get()) {
			refusal =
			    Refusal(PlanNotes::Stage::PLAN,
			            IsOuterJoin(*op) ? "an outer join keeps rows of another table that have no partner in this one"
			                             : StringUtil::Format("%s between the ORDER BY and the table", op->GetName()));
		} else if (IsVolatile(*op)) {
			refusal = Refusal(PlanNotes::Stage::PLAN, "an expression below the ORDER BY changes from row to row");
		}
		return true;
	}
	return false;
}

bool ScanPath::IsBound(const Expression &predicate) const {
	auto resolved = matcher.Resolve(predicate.Copy());
	return matcher.IsBound(match, *resolved) || (!guards_restrict && matcher.IsGuard(match, *resolved));
}

unique_ptr<Expression> ScanPath::Lift(unique_ptr<Expression> expr, LogicalOperator &op) const {
	bool possible = true;
	auto bindings = op.GetColumnBindings();
	ExpressionIterator::EnumerateExpression(expr, [&](unique_ptr<Expression> &child) {
		if (child->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
			return;
		}
		for (auto &binding : bindings) {
			auto lifted = make_uniq<BoundColumnRefExpression>(child->GetReturnType(), binding);
			if (matcher.Resolve(lifted->Copy())->Equals(*child)) {
				child = std::move(lifted);
				return;
			}
		}
		possible = false;
	});
	return possible ? std::move(expr) : nullptr;
}

bool ScanPath::CanLiftGuards(LogicalOperator &op) const {
	for (auto &entry : match.get.table_filters) {
		auto predicate = AsPredicate(match.get, entry.Filter(), entry.GetIndex());
		if (predicate && IsBound(*predicate) && !Lift(std::move(predicate), op)) {
			return false;
		}
	}
	return true;
}

void ScanPath::LetGuardsRestrict(bool restrict) {
	guards_restrict = restrict;
	FindTop();
}

bool ScanPath::Restricts(const Step &step) const {
	auto &op = *step.op.get();
	if (op.type == LogicalOperatorType::LOGICAL_FILTER) {
		for (auto &expr : op.expressions) {
			if (!IsBound(*expr)) {
				return true;
			}
		}
		return false;
	}
	if (op.type != LogicalOperatorType::LOGICAL_GET) {
		return EffectOf(op, step.child) == Effect::RESTRICTS;
	}
	auto &get = op.Cast<LogicalGet>();
	for (auto &entry : get.table_filters) {
		auto predicate = AsPredicate(get, entry.Filter(), entry.GetIndex());
		if (!predicate || !IsBound(*predicate)) {
			return true;
		}
	}
	return get.table_filters.HasMultiColumnFilters();
}

bool ScanPath::HasFilter() const {
	for (auto &step : steps) {
		auto &op = *step.op.get();
		if (Restricts(step) || (op.type == LogicalOperatorType::LOGICAL_FILTER && !op.expressions.empty())) {
			return true;
		}
	}
	return match.get.table_filters.HasFilters();
}

bool ScanPath::CanMove() const {
	for (idx_t i = top.GetIndex(); i + 1 < steps.size(); i++) {
		auto &op = *steps[i].op.get();
		auto join = op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN ||
		            op.type == LogicalOperatorType::LOGICAL_ANY_JOIN ||
		            op.type == LogicalOperatorType::LOGICAL_DELIM_JOIN;
		auto drops_only =
		    op.type == LogicalOperatorType::LOGICAL_FILTER ||
		    (join && op.Cast<LogicalJoin>().join_type != JoinType::INNER &&
		     (op.Cast<LogicalJoin>().join_type == JoinType::MARK || EffectOf(op, steps[i].child) == Effect::RESTRICTS));
		if (!drops_only) {
			return false;
		}
	}
	for (auto &binding : steps[top.GetIndex()].op.get()->GetColumnBindings()) {
		if (binding.table_index != match.get.table_index) {
			return false;
		}
	}
	return true;
}

//---------------------------------------------------------------------------------------------------------------------
// Query vectors
//---------------------------------------------------------------------------------------------------------------------

idx_t ScanPath::Slot() const {
	return top.IsValid() && CanMove() ? top.GetIndex() : steps.size() - 1;
}

optional_idx ScanPath::Product() const {
	for (idx_t step = Slot(); step-- > 0;) {
		auto &op = *steps[step].op.get();
		if (op.type == LogicalOperatorType::LOGICAL_CROSS_PRODUCT &&
		    HasBindingsOf(*op.children[1 - steps[step].child], *match.query)) {
			auto nothing_above = !top.IsValid() || top.GetIndex() > step;
			return nothing_above && (IsDirectlyBelow(step) || CanDescend(step)) ? optional_idx(step) : optional_idx();
		}
	}
	return optional_idx();
}

bool ScanPath::IsDirectlyBelow(idx_t product) const {
	for (auto step = product + 1; step < Slot(); step++) {
		if (steps[step].op.get()->type != LogicalOperatorType::LOGICAL_PROJECTION) {
			return false;
		}
	}
	return true;
}

bool ScanPath::CanDescend(idx_t product) const {
	for (auto step = product + 1; step + 1 < steps.size(); step++) {
		auto type = steps[step].op.get()->type;
		if (type != LogicalOperatorType::LOGICAL_FILTER && type != LogicalOperatorType::LOGICAL_CROSS_PRODUCT &&
		    type != LogicalOperatorType::LOGICAL_ANY_JOIN && type != LogicalOperatorType::LOGICAL_COMPARISON_JOIN) {
			return false;
		}
	}
	return Slot() + 1 == steps.size();
}

LogicalOperator &ScanPath::TableOf(idx_t product) const {
	return IsDirectlyBelow(product) ? *steps[product].op.get()->children[steps[product].child] : *steps.back().op.get();
}

unique_ptr<LogicalOperator> &ScanPath::Descend(idx_t product, unique_ptr<LogicalOperator> &scan) {
	vector<vector<ColumnBinding>> before;
	for (auto step = product + 1; step + 1 < steps.size(); step++) {
		before.push_back(steps[step].op.get()->children[steps[step].child]->GetColumnBindings());
	}
	auto &slot = steps[product].op.get();
	auto columns = slot->GetColumnBindings();
	auto op = std::move(slot);
	auto probes = std::move(op->children[1 - steps[product].child]);
	auto added = probes->GetColumnBindings();
	vector<reference<LogicalOperator>> between;
	slot = std::move(op->children[steps[product].child]);
	reference<LogicalOperator> current(*slot);
	for (auto step = product + 1; step + 1 < steps.size(); step++) {
		between.push_back(current);
		current = *current.get().children[steps[step].child];
	}
	scan = make_uniq<LogicalCrossProduct>(std::move(scan), std::move(probes));
	for (idx_t i = between.size(); i-- > 0;) {
		auto child = steps[product + 1 + i].child;
		auto map = LogicalOperatorVisitor::GetProjectionMap(between[i], child);
		if (!map || map->empty()) {
			continue;
		}
		RemapColumns(*map, before[i], between[i].get().children[child]->GetColumnBindings(), added);
	}
	PutFilter(make_uniq<LogicalFilter>(), slot, columns);
	return scan;
}

optional_idx ScanPath::FindProbes(const Expression &query) const {
	for (idx_t i = 0; i < steps.size(); i++) {
		auto &op = *steps[i].op.get();
		if (IsInnerJoin(op) && HasBindingsOf(*op.children[1 - steps[i].child], query)) {
			return i;
		}
	}
	return optional_idx();
}

bool ScanPath::FiltersByProbe(idx_t probes) const {
	return top.IsValid() && top.GetIndex() <= probes;
}

} // namespace duckdb
