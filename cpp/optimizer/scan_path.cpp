#include "optimizer/scan_path.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/optimizer/column_binding_replacer.hpp"
#include "duckdb/optimizer/join_filter_pushdown_optimizer.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/filter/expression_filter.hpp"
#include "duckdb/planner/logical_operator_deep_copy.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_any_join.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_cross_product.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_join.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "execution/positions.hpp"
#include "optimizer/row_id_plan.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// The path
//---------------------------------------------------------------------------------------------------------------------

//! What an operator does to the rows of one of its children.
enum class Effect {
	//! Every row gets through, once or more often.
	KEEPS,
	//! Rows get through, some of them perhaps not.
	RESTRICTS,
	//! Anything else.
	CHANGES
};

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

static Effect EffectOf(LogicalOperator &op, idx_t child) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_PROJECTION:
		return Effect::KEEPS;
	case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
		// all rows or, if the other side is empty, none: then it does not matter which
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

static bool IsOuterJoin(const LogicalOperator &op) {
	if (op.type != LogicalOperatorType::LOGICAL_COMPARISON_JOIN && op.type != LogicalOperatorType::LOGICAL_ANY_JOIN) {
		return false;
	}
	auto type = op.Cast<LogicalJoin>().join_type;
	return type == JoinType::LEFT || type == JoinType::RIGHT || type == JoinType::OUTER;
}

bool PassesRows(LogicalOperator &op, idx_t child) {
	return EffectOf(op, child) != Effect::CHANGES;
}

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
			continue; // as far as it is used, those above have it
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

//---------------------------------------------------------------------------------------------------------------------
// Plans that are run twice
//---------------------------------------------------------------------------------------------------------------------

OrRefusal<LogicalOperator> ScanPath::CopyProbes(Binder &binder, idx_t probes, const Expression &query,
                                                bool only_one) const {
	reference<LogicalOperator> source(*steps[probes].op.get()->children[1 - steps[probes].child]);
	for (bool found = true; found;) {
		// what the vectors are joined with can only drop some of them
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
	// Beside filters it is one of them, which may not stand without it: `v IS NOT NULL AND f(v)`. A distance is not computed twice.
	auto can_throw = [](const unique_ptr<Expression> &expr) { return expr->CanThrow(); };
	return Contains(*resolved, *match.distance) &&
	       std::none_of(op.expressions.begin(), op.expressions.end(), can_throw);
}

bool ScanPath::HasBounds() const {
	for (auto &step : steps) {
		auto &op = *step.op.get();
		if (op.type == LogicalOperatorType::LOGICAL_FILTER) {
			for (auto &expr : op.expressions) {
				if (IsTaken(*expr, op)) {
					return true;
				}
			}
		}
	}
	for (auto &entry : match.get.table_filters) {
		auto predicate = AsPredicate(match.get, entry.Filter(), entry.GetIndex());
		if (predicate && IsTaken(*predicate, match.get)) {
			return true;
		}
	}
	return false;
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

//! What is put together by Split().
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

//! Puts a projection in the place of the aggregate that has its groups as `group_index`: it yields them for each row, and nothing of use in
//! the place of the aggregates.
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
	// what the states are of may have parameters, and nobody needs it
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

//! Lets joins in `plan`, a copy, tell the scans below while they run which rows have partners: what was made of that has no copy.
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
