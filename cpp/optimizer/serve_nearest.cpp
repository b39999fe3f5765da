//! The part of the optimizer rule that serves `Nearest`.
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_operator_expression.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "optimizer/scan_path.hpp"
#include "execution/logical_join.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/nearest.hpp"
#include "optimizer/nearly_product.hpp"
#include "optimizer/rewrite.hpp"
#include "host/settings.hpp"

namespace duckdb {

//! The one search that serves all orders of `nearest`; nothing if there is none, with the reason in `refusal`. `index`:
//! the one that fits.
static unique_ptr<DistanceMatch> MatchAll(DistanceMatcher &matcher, const Nearest &nearest, string &index,
                                          string &refusal) {
	unique_ptr<DistanceMatch> result;
	for (auto &order : nearest.orders) {
		auto match = matcher.Match(order, nearest.wanted);
		if (!match) {
			refusal = matcher.Refusal();
			return nullptr;
		}
		index = match->search.index_name;
		if (result && (result->search.entry != match->search.entry || !result->query->Equals(*match->query))) {
			refusal = "the aggregates are over different distances";
			return nullptr;
		}
		result = std::move(match);
	}
	if (nearest.ties && result->rounds) {
		refusal = "rows at different distances may tie";
		return nullptr;
	}
	for (auto &counted : nearest.counted) {
		if (!matcher.NeverNull(*counted, result->get)) {
			refusal = counted->GetName() + " can be NULL, and rows where it is do not count";
			return nullptr;
		}
	}
	result->search.ties = nearest.ties || result->narrows;
	return result;
}

//! Whether all rows with one query vector are in one group. `probes` yields the query vectors; nothing if there is but one.
static bool GroupsByProbe(const DistanceMatcher &matcher, const Nearest &nearest,
                          optional_ptr<LogicalOperator> probes) {
	for (auto &group : nearest.groups) {
		auto resolved = matcher.Resolve(group->Copy());
		if (resolved->IsVolatile() ||
		    !(probes ? HasBindingsOf(*probes, *resolved) : ReferencedTables(*resolved).empty())) {
			return false;
		}
	}
	return true;
}

static void PutScan(ClientContext &context, DistanceMatch &match, SplitPath split) {
	match.search.ranked_only = split.ranked_only;
	auto search = make_uniq<LogicalHNSWScan>(std::move(split.get), std::move(match.search), std::move(match.query),
	                                         nullptr, true);
	if (split.filter.plan) {
		search->SetFilter(context, std::move(split.filter));
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

//! `product`: of query vectors with what comes from the slot of `split`, which is child `table_child`.
static void PutJoin(ClientContext &context, DistanceMatch &match, SplitPath split, unique_ptr<LogicalOperator> &product,
                    idx_t table_child, vector<unique_ptr<Expression>> conditions, const ScanPath &path) {
	split.slot.get() = std::move(split.get);
	auto bounds = make_uniq<LogicalFilter>();
	for (auto &bound : split.bounds) {
		bounds->expressions.push_back(path.Lift(std::move(bound), *product->children[table_child]));
	}
	auto join = make_uniq<LogicalHNSWJoin>(std::move(product->children[table_child]), std::move(match.search),
	                                       std::move(match.query), std::move(product->children[1 - table_child]),
	                                       table_child == 0);
	join->SetConditions(std::move(conditions));
	if (split.filter.plan) {
		join->SetFilter(context, std::move(split.filter));
	}
	product = std::move(join);
	if (!bounds->expressions.empty()) {
		bounds->children.push_back(std::move(product));
		product = std::move(bounds);
	}
}

//! Puts a search in the place of `scan`; false if it cannot, with the reason in `refusal`. `index`: the one that fits.
static bool ServeFrom(Binder &binder, Nearest &nearest, LogicalGet &scan, string &index, string &refusal) {
	auto &context = binder.context;
	auto &below = nearest.input.get();
	DistanceMatcher matcher(context, *below, scan);
	auto match = MatchAll(matcher, nearest, index, refusal);
	if (!match) {
		return false;
	}
	refusal = RefuseGet(scan);
	if (!refusal.empty()) {
		return false;
	}
	NearlyProduct nearly(below, matcher, *match);
	ScanPath path(below, matcher, *match, refusal);
	if (!refusal.empty()) {
		return false;
	}
	if (path.HasFilter() && !PrefilterEnabled(context)) {
		refusal = "the query has a filter, and hnsw_prefilter is false";
		return false;
	}
	idx_t table_child = 0;
	optional_ptr<unique_ptr<LogicalOperator>> product;
	optional_ptr<LogicalOperator> probes;
	if (!ReferencedTables(*match->query).empty()) {
		product = path.Product(table_child);
		if (!product || !path.CanLiftGuards(*(*product)->children[table_child])) {
			path.LetGuardsRestrict();
			product = path.Product(table_child);
		}
		probes = product ? (*product)->children[1 - table_child].get() : nullptr;
		if (!probes || !HasBindingsOf(*probes, *match->query)) {
			refusal = "not every query vector is compared with the same rows of the table";
			return false;
		}
	}
	if (!product && !nearly.HasNoConditions()) {
		refusal = "a condition compares the rows with those of another table";
		return false;
	}
	if (!GroupsByProbe(matcher, nearest, probes)) {
		refusal = "the rows nearest to a query vector are wanted for each of several groups";
		return false;
	}
	auto &table = *scan.GetTable();
	try {
		auto split = path.Split(binder);
		PlanNotes::AddUse(table, match->search, product ? "HNSW_INDEX_JOIN" : "HNSW_INDEX_SCAN");
		if (product) {
			match->search.measured_only = nearly.IsGuarded();
			match->search.ranked_only = nearly.IsGuarded() || split.ranked_only;
			PutJoin(context, *match, std::move(split), *product, table_child, nearly.Conditions(), path);
			nearly.Keep();
		} else {
			PutScan(context, *match, std::move(split));
		}
	} catch (const NotImplementedException &ex) {
		refusal = ErrorData(ex).RawMessage();
		return false;
	}
	return true;
}

static bool Serve(Binder &binder, Nearest &nearest, string &refusal) {
	vector<reference<LogicalGet>> scans;
	CollectScans(*nearest.input.get(), scans);
	for (auto &scan : scans) {
		string index;
		if (ServeFrom(binder, nearest, scan, index, refusal)) {
			return true;
		}
		if (!index.empty()) {
			PlanNotes::Add(*scan.get().GetTable(), index, PlanNotes::Stage::PLAN, refusal);
		}
	}
	return false;
}

//! Drops rows that the operator does not count before they get to it: then the search does not find them either.
static void AddFilter(Nearest &nearest) {
	auto &input = nearest.input.get();
	auto filter = make_uniq<LogicalFilter>();
	for (auto &expr : nearest.filters) {
		filter->expressions.push_back(expr->Copy());
	}
	filter->children.push_back(std::move(input));
	input = std::move(filter);
}

//! Turns the expression that is counted where it is not NULL into a filter; false if there is not just one, or if a group
//! without rows would have to stay.
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
	string refusal;
	auto nearest = FindNearest(op, refusal);
	if (!nearest) {
		if (!refusal.empty()) {
			PlanNotes::AddBelow(op, PlanNotes::Stage::LIMIT, refusal);
		}
		return;
	}
	do {
		auto filtered = !nearest->filters.empty();
		if (filtered) {
			AddFilter(*nearest);
		}
		if (Serve(binder, *nearest, refusal)) {
			return;
		}
		if (filtered) {
			auto &input = nearest->input.get();
			input = std::move(input->children[0]);
		}
	} while (FilterCounted(*nearest));
}

} // namespace duckdb
