//! The part of the optimizer rule that serves `Nearest`. It matches the distance with an index, finds the path from the
//! operator to the scan of the index's table, and puts a search in the place of the scan.
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_operator_expression.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "execution/logical_join.hpp"
#include "execution/logical_scan.hpp"
#include "host/settings.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/nearest.hpp"
#include "optimizer/lifted_join.hpp"
#include "optimizer/prepare.hpp"
#include "optimizer/scan_path.hpp"

namespace duckdb {

//! For each query vector, DuckDB joins and compares as many rows faster than a search begins.
static constexpr idx_t FEW_ROWS = 8;

static Refusal Refuse(string reason) {
	return Refusal(PlanNotes::Stage::PLAN, std::move(reason));
}

static void CollectScans(LogicalOperator &op, vector<reference<LogicalGet>> &scans) {
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		scans.push_back(op.Cast<LogicalGet>());
	}
	for (auto &child : op.children) {
		CollectScans(*child, scans);
	}
}

//! The one search that serves all orders of `nearest`.
static OrRefusal<DistanceMatch> MatchAll(const DistanceMatcher &matcher, const Nearest &nearest) {
	unique_ptr<DistanceMatch> result;
	auto refuse = [&](string reason) {
		auto refusal = Refuse(std::move(reason));
		refusal.index = result->search.index_name;
		return refusal;
	};
	for (auto &order : nearest.orders) {
		auto match = matcher.Match(order, nearest.k);
		if (!match) {
			return match;
		}
		if (result && (result->search.entry != match->search.entry || result->search.metric != match->search.metric ||
		               !result->query->Equals(*match->query))) {
			return refuse("the aggregates are over different distances");
		}
		// NaN is the greatest number to DuckDB
		match->search.undefined_last = order.type == OrderType::ASCENDING && !nearest.undefined_first &&
		                               (!result || result->search.undefined_last);
		result = std::move(match.found);
	}
	if (nearest.ties && result->rounds) {
		return refuse("further keys decide between rows that are not at the same distance, as the first one rounds it: "
		              "let the first key be the distance itself");
	}
	for (auto &condition : nearest.conditions) {
		if (!matcher.KeepsFirst(*result, *matcher.Resolve(condition->Copy()))) {
			return refuse("HAVING, or the first order key, does not keep the nearest rows before others");
		}
	}
	for (auto &counted : nearest.counted) {
		if (!matcher.NeverNull(*counted, result->get)) {
			return refuse(counted->GetName() + " can be NULL, and rows where it is do not count");
		}
	}
	result->search.ties = nearest.ties || result->search.narrows;
	result->search.undefined_groups_first = nearest.undefined_first;
	return result;
}

//! Whether `expr`, resolved, is the same for all rows that have the same query vector and pass `conditions`.
static bool IsOfProbe(const DistanceMatcher &matcher, const Expression &expr, LogicalOperator &probes,
                      const vector<unique_ptr<Expression>> &conditions) {
	if (HasBindingsOf(probes, expr)) {
		return true;
	}
	return std::any_of(conditions.begin(), conditions.end(), [&](const unique_ptr<Expression> &condition) {
		if (condition->GetExpressionType() != ExpressionType::COMPARE_EQUAL ||
		    !BoundComparisonExpression::IsComparison(*condition)) {
			return false;
		}
		auto &equality = condition->Cast<BoundFunctionExpression>();
		auto left = matcher.Resolve(BoundComparisonExpression::Left(equality).Copy());
		auto right = matcher.Resolve(BoundComparisonExpression::Right(equality).Copy());
		return (left->Equals(expr) && HasBindingsOf(probes, *right)) ||
		       (right->Equals(expr) && HasBindingsOf(probes, *left));
	});
}

//! Whether all rows that have the same query vector and pass `conditions` are in one group. `probes` yields the query
//! vectors; null if there is only one.
static bool GroupsByProbe(const DistanceMatcher &matcher, const Nearest &nearest, optional_ptr<LogicalOperator> probes,
                          const vector<unique_ptr<Expression>> &conditions) {
	for (auto &group : nearest.groups) {
		auto resolved = matcher.Resolve(group->Copy());
		if (resolved->IsVolatile() ||
		    !(probes ? IsOfProbe(matcher, *resolved, *probes, conditions) : ReferencedTables(*resolved).empty())) {
			return false;
		}
	}
	return true;
}

//! One scan below one operator, and how it is replaced.
class Serving {
public:
	Serving(Binder &binder, Nearest &nearest, DistanceMatcher &matcher, DistanceMatch &match)
	    : binder(binder), nearest(nearest), matcher(matcher), match(match) {
	}

	//! Puts a search in the place of the scan. If refused, nothing is changed.
	Refusal Serve();

private:
	//! Serves by HNSW_INDEX_JOIN, in the place of a cross product of the scan with query vectors.
	Refusal ServeByJoin();
	//! Serves by HNSW_INDEX_SCAN. If a plan yields the query vectors, the search gets a copy of it, and the operators
	//! above pair the rows again.
	Refusal ServeByScan();
	OrRefusal<ScanPath> FindPath();
	//! A group as an expression over the columns of tables.
	unique_ptr<Expression> Resolved(const Expression &group) const;
	//! The groups as expressions over the columns of the scan; none if a group is over other columns, too.
	vector<unique_ptr<Expression>> GroupsOfScan() const;
	//! The step of the cross product with the query vectors. `guarded`: guards must not be lifted.
	optional_idx FindProduct(ScanPath &path, bool guarded) const;
	void PutScan(SplitPath split, unique_ptr<LogicalOperator> probes, vector<unique_ptr<Expression>> best_groups);
	//! `inequalities`: conditions that hold for nearly all pairs.
	void PutJoin(SplitPath split, unique_ptr<LogicalOperator> &product, idx_t table_child,
	             vector<unique_ptr<Expression>> inequalities, PairConditions pairs, const ScanPath &path);

	Binder &binder;
	Nearest &nearest;
	DistanceMatcher &matcher;
	DistanceMatch &match;
};

OrRefusal<ScanPath> Serving::FindPath() {
	auto path = ScanPath::Of(nearest.input.get(), matcher, match, nearest.partial);
	if (path && path->HasFilter() && !PrefilterEnabled(binder.context)) {
		return Refuse("the query has a filter, and hnsw_prefilter is false");
	}
	if (path && path->NaNPassesBound()) {
		match.search.undefined_last = false;
	}
	return path;
}

optional_idx Serving::FindProduct(ScanPath &path, bool guarded) const {
	// if a guard cannot be checked above the product, a second attempt leaves it below, as a filter
	for (auto restrict : {guarded, true}) {
		path.LetGuardsRestrict(restrict);
		auto product = path.Product();
		if (product.IsValid() && path.CanLiftGuards(path.TableOf(product.GetIndex()))) {
			return product;
		}
	}
	return optional_idx();
}

//! The value that `expr` makes shorter; null if it does not, or if different values could give the same.
static optional_ptr<const Expression> Lengthened(const Expression &expr) {
	if (expr.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return nullptr;
	}
	auto &function = expr.Cast<BoundFunctionExpression>();
	if (BoundCastExpression::IsCast(expr)) {
		auto &child = BoundCastExpression::Child(function);
		auto integral = child.GetReturnType().IsIntegral() && expr.GetReturnType().IsIntegral();
		return integral && !BoundCastExpression::IsTryCast(function) ? optional_ptr<const Expression>(child) : nullptr;
	}
	auto compresses = StringUtil::StartsWith(function.Function().GetName().GetIdentifierName(), "__internal_compress_");
	return compresses ? function.GetChildren()[0].get() : nullptr;
}

unique_ptr<Expression> Serving::Resolved(const Expression &group) const {
	auto result = matcher.Resolve(group.Copy());
	// DuckDB makes groups shorter by what it knows of the values that qualify. The rows that a search finds may have
	// others.
	while (auto longer = Lengthened(*result)) {
		result = longer->Copy();
	}
	return result;
}

vector<unique_ptr<Expression>> Serving::GroupsOfScan() const {
	vector<unique_ptr<Expression>> result;
	for (auto &group : nearest.groups) {
		auto resolved = Resolved(*group);
		for (auto &table : ReferencedTables(*resolved)) {
			if (table != match.get.table_index.index) {
				return {};
			}
		}
		result.push_back(std::move(resolved));
	}
	return result;
}

void Serving::PutScan(SplitPath split, unique_ptr<LogicalOperator> probes, vector<unique_ptr<Expression>> best_groups) {
	match.search.ranked_only = split.ranked_only;
	auto search = make_uniq<LogicalHNSWScan>(std::move(split.get), std::move(match.search), std::move(match.query),
	                                         std::move(probes));
	search->SetBestGroups(std::move(best_groups));
	if (split.filter.plan) {
		search->SetFilter(binder.context, std::move(split.filter));
	}
	auto &slot = split.slot.get();
	slot = std::move(search);
	if (!split.bounds.empty()) {
		auto filter = make_uniq<LogicalFilter>();
		filter->expressions = std::move(split.bounds);
		filter->children.push_back(std::move(slot));
		slot = std::move(filter);
	}
}

void Serving::PutJoin(SplitPath split, unique_ptr<LogicalOperator> &product, idx_t table_child,
                      vector<unique_ptr<Expression>> inequalities, PairConditions pairs, const ScanPath &path) {
	auto bounds = make_uniq<LogicalFilter>();
	for (auto &bound : split.bounds) {
		bounds->expressions.push_back(path.Lift(std::move(bound), *product->children[table_child]));
	}
	auto join = make_uniq<LogicalHNSWJoin>(std::move(product->children[table_child]), std::move(match.search),
	                                       std::move(match.query), std::move(product->children[1 - table_child]),
	                                       table_child == 0);
	join->SetConditions(std::move(inequalities));
	if (split.filter.plan) {
		join->SetFilter(binder.context, std::move(split.filter), std::move(pairs.conditions));
	}
	product = std::move(join);
	if (!bounds->expressions.empty()) {
		bounds->children.push_back(std::move(product));
		product = std::move(bounds);
	}
}

Refusal Serving::ServeByJoin() {
	LiftedJoin lifted(nearest.input, matcher, match);
	auto path = FindPath();
	if (!path) {
		return path.refusal;
	}
	if (lifted.NaNPassesBound()) {
		match.search.undefined_last = false;
	}
	auto inequalities = lifted.Conditions();
	// a condition may fail for rows that a guard keeps away
	auto can_throw = [](const unique_ptr<Expression> &condition) { return condition->CanThrow(); };
	auto step = FindProduct(*path, std::any_of(inequalities.begin(), inequalities.end(), can_throw));
	if (!step.IsValid()) {
		return Refuse("not every query vector is compared with the same rows of the table");
	}
	idx_t table_child = 0;
	reference<unique_ptr<LogicalOperator>> product(path->At(step.GetIndex(), table_child));
	auto &probes = *product.get()->children[1 - table_child];
	if (!GroupsByProbe(matcher, nearest, probes, inequalities)) {
		return Refuse("the rows nearest to a query vector are wanted for each of several groups");
	}
	PairConditions pairs;
	if (lifted.IsSelective()) {
		auto rows = lifted.RowsPerProbe(probes.EstimateCardinality(binder.context));
		if (rows.IsValid() && rows.GetIndex() < MaxValue(nearest.k, FEW_ROWS)) {
			return Refuse("few rows pass the conditions for each query vector: all of these are compared as fast");
		}
	}
	auto directly = path->IsDirectlyBelow(step.GetIndex());
	if (lifted.IsSelective() || !directly) {
		auto found = path->ConditionsOfPairs(std::move(inequalities), probes);
		if (!found) {
			return found.refusal;
		}
		pairs = std::move(*found);
		inequalities.clear();
	}
	auto split = path->Split(binder, pairs.keys);
	if (!split) {
		return split.refusal;
	}
	match.search.one_answer = nearest.ordered;
	PlanNotes::AddUse(*match.get.GetTable(), match.search, match.search.JoinName());
	match.search.measured_only = lifted.IsMeasured();
	match.search.ranked_only = lifted.IsGuarded() || split->ranked_only;
	split->slot.get() = std::move(split->get);
	if (!directly) {
		product = path->Descend(step.GetIndex(), split->slot);
		split->slot = product.get()->children[0];
		table_child = 0;
	}
	PutJoin(std::move(*split), product, table_child, std::move(inequalities), std::move(pairs), *path);
	lifted.Keep();
	return Refusal();
}

Refusal Serving::ServeByScan() {
	auto path = FindPath();
	if (!path) {
		return path.refusal;
	}
	vector<unique_ptr<Expression>> best_groups;
	auto joined_groups = false;
	if (nearest.best_groups) {
		best_groups = GroupsOfScan();
		joined_groups = best_groups.empty();
		for (auto &group : nearest.groups) {
			auto resolved = Resolved(*group);
			if (resolved->IsVolatile()) {
				return Refuse("what makes the groups changes from row to row");
			}
			// groups of the scan are made for rows that the search has found, for which guards hold
			if (resolved->CanThrow() && path->HasBounds(joined_groups)) {
				return Refuse("what makes the groups may fail for rows that do not qualify");
			}
			if (nearest.partial && ReferencedTables(*resolved).count(nearest.partial->aggregate_index.index) > 0) {
				return Refuse("what makes the groups is aggregated of all rows");
			}
		}
		match.search.best_groups = true;
	} else if (!GroupsByProbe(matcher, nearest, nullptr, {})) {
		return Refuse("the rows nearest to a query vector are wanted for each of several groups");
	}
	unique_ptr<LogicalOperator> probes;
	if (!ReferencedTables(*match.query).empty()) {
		auto step = path->FindProbes(*match.query);
		if (!step.IsValid()) {
			return Refuse("the query vector is computed from several tables");
		}
		// the tables joined for the groups may make it depend on the query vector, too
		match.search.one_probe = joined_groups || path->FiltersByProbe(step.GetIndex());
		auto copy = path->CopyProbes(binder, step.GetIndex(), *match.query, match.search.one_probe);
		if (!copy) {
			return copy.refusal;
		}
		probes = std::move(copy.found);
	}
	auto split = joined_groups ? path->SplitWithGroups(binder, nearest.groups) : path->Split(binder, {});
	if (!split) {
		return split.refusal;
	}
	if (probes) {
		match.query = make_uniq<BoundColumnRefExpression>(
		    match.query->GetReturnType(), ColumnBinding(probes->GetTableIndex()[0], ProjectionIndex(0)));
	}
	PlanNotes::AddUse(*match.get.GetTable(), match.search, IndexSearch::SCAN);
	PutScan(std::move(*split), std::move(probes), std::move(best_groups));
	return Refusal();
}

Refusal Serving::Serve() {
	auto refusal = RefuseGet(match.get);
	if (refusal) {
		return refusal;
	}
	if (nearest.ordered && IsPaged(binder.context, match.get)) {
		match.search.TakePages();
	}
	if (nearest.best_groups || ReferencedTables(*match.query).empty()) {
		return ServeByScan();
	}
	refusal = ServeByJoin();
	// The nearest of a union are among the nearest of its parts. So without groups, a scan for the rows near to any
	// query vector will do.
	return refusal && nearest.groups.empty() ? ServeByScan() : refusal;
}

//! Whether `scan`, below `op`, only fills a CTE whose rows are read elsewhere.
static bool IsInCTE(LogicalOperator &op, const LogicalGet &scan, bool in_cte = false) {
	if (&op == &scan) {
		return in_cte;
	}
	for (idx_t child = 0; child < op.children.size(); child++) {
		auto fills = op.type == LogicalOperatorType::LOGICAL_MATERIALIZED_CTE && child == 0;
		if (IsInCTE(*op.children[child], scan, in_cte || fills)) {
			return true;
		}
	}
	return false;
}

static Refusal ServeFrom(Binder &binder, Nearest &nearest, LogicalGet &scan) {
	DistanceMatcher matcher(binder.context, *nearest.input.get(), scan);
	auto match = MatchAll(matcher, nearest);
	if (!match && IsInCTE(*nearest.input.get(), scan)) {
		return Refusal(
		    PlanNotes::Stage::KEY,
		    "DuckDB reads the table into a CTE first; it does so where a CTE is MATERIALIZED or read twice, for "
		    "unnest of a column, and for a correlated subquery other than an EXISTS or IN by equalities with columns "
		    "of the table");
	}
	if (!match) {
		return match.refusal;
	}
	auto index = match->search.index_name;
	auto refusal = Serving(binder, nearest, matcher, *match).Serve();
	refusal.index = index;
	return refusal;
}

//! Whether a search was put below the operator.
static bool Serve(Binder &binder, Nearest &nearest) {
	vector<reference<LogicalGet>> scans;
	CollectScans(*nearest.input.get(), scans);
	for (auto &scan : scans) {
		auto refusal = ServeFrom(binder, nearest, scan);
		if (!refusal) {
			return true;
		}
		auto table = scan.get().GetTable();
		if (table) {
			PlanNotes::Add(*table, refusal.index, refusal.stage, refusal.reason);
		}
	}
	return false;
}

//! Drops rows that the operator does not count below it, so that the search does not find them either.
static void AddFilter(Nearest &nearest) {
	auto &input = nearest.input.get();
	auto filter = make_uniq<LogicalFilter>();
	for (auto &expr : nearest.filters) {
		filter->expressions.push_back(expr->Copy());
	}
	filter->children.push_back(std::move(input));
	input = std::move(filter);
}

//! The operator counts rows where an expression is not NULL: turns that into a filter. False if there is not just one
//! such expression, or if a group without rows would have to stay.
static bool FilterCounted(Nearest &nearest) {
	if (!nearest.groups.empty() || nearest.counted.size() != nearest.orders.size()) {
		return false;
	}
	for (auto &counted : nearest.counted) {
		if (!counted->Equals(*nearest.counted[0])) {
			return false;
		}
	}
	auto not_null = make_uniq<BoundOperatorExpression>(ExpressionType::OPERATOR_IS_NOT_NULL, LogicalType::BOOLEAN);
	not_null->GetChildrenMutable().push_back(std::move(nearest.counted[0]));
	nearest.filters.push_back(std::move(not_null));
	nearest.counted.clear();
	return true;
}

void ServeNearest(Binder &binder, LogicalOperator &op) {
	auto found = FindNearest(binder.context, op);
	if (!found) {
		if (found.refusal) {
			PlanNotes::AddBelow(op, found.refusal.stage, found.refusal.reason);
		}
		return;
	}
	auto &nearest = *found;
	do {
		auto filtered = !nearest.filters.empty();
		if (filtered) {
			AddFilter(nearest);
		}
		if (Serve(binder, nearest)) {
			return;
		}
		if (filtered) {
			auto &input = nearest.input.get();
			input = std::move(input->children[0]);
		}
	} while (FilterCounted(nearest));
}

} // namespace duckdb
