#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/column_binding_map.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/operator/logical_join.hpp"
#include "duckdb/planner/operator/logical_cross_product.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "execution/logical_join.hpp"
#include "host/settings.hpp"
#include "index/hnsw_index.hpp"
#include "optimizer/range.hpp"
#include "optimizer/range_parts.hpp"
#include "optimizer/scan_path.hpp"

namespace duckdb {

static Refusal Refuse(const DistanceMatch &match, string reason) {
	Refusal result(PlanNotes::Stage::PLAN, std::move(reason));
	result.index = match.search.index_name;
	return result;
}

//! A join, and the scan of a table with an index below one of its sides.
class PairsPlan {
public:
	PairsPlan(Binder &binder_p, unique_ptr<LogicalOperator> &slot_p, LogicalGet &get, const RangeUse &use_p)
	    : binder(binder_p), slot(slot_p), use(use_p), matcher(binder.context, *slot, get) {
	}

	//! Puts a search in the place of the join. If refused, nothing is changed.
	Refusal Serve();

private:
	//! Takes the conditions of the join apart. False if DuckDB can look up its partners by equal values.
	bool TakeConditions();
	//! Finds the distance that a condition bounds, and the index for it. False if there is none; `refusal` may say why.
	bool Match(Refusal &refusal);
	//! Puts the search in the place of `slot`, which is a cross product by now.
	Refusal PutJoin();

	Binder &binder;
	unique_ptr<LogicalOperator> &slot;
	const RangeUse &use;
	DistanceMatcher matcher;
	unique_ptr<DistanceMatch> match;
	vector<unique_ptr<Expression>> conditions;
	vector<DistanceBound> bounds;
	//! A value of one side has to lie between two of the other: DuckDB's IE join meets no other pairs.
	bool has_band = false;
};

static column_binding_set_t ColumnsOf(const Expression &expr) {
	column_binding_set_t result;
	ExpressionIterator::VisitExpression<BoundColumnRefExpression>(
	    expr, [&](const BoundColumnRefExpression &column) { result.insert(column.Binding()); });
	return result;
}

bool PairsPlan::TakeConditions() {
	// the columns that are compared
	vector<column_binding_set_t> less;
	vector<column_binding_set_t> greater;
	for (auto &part : JoinPartsOf(*slot)) {
		switch (part.compares_sides ? part.condition->GetExpressionType() : ExpressionType::INVALID) {
		case ExpressionType::COMPARE_EQUAL:
		case ExpressionType::COMPARE_NOT_DISTINCT_FROM:
			return false;
		case ExpressionType::COMPARE_LESSTHAN:
		case ExpressionType::COMPARE_LESSTHANOREQUALTO:
			less.push_back(ColumnsOf(*part.condition));
			break;
		case ExpressionType::COMPARE_GREATERTHAN:
		case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
			greater.push_back(ColumnsOf(*part.condition));
			break;
		default:
			break;
		}
		conditions.push_back(std::move(part.condition));
	}
	LogicalFilter::SplitPredicates(conditions);
	has_band = std::any_of(less.begin(), less.end(), [&](const column_binding_set_t &columns) {
		return std::find(greater.begin(), greater.end(), columns) != greater.end();
	});
	return true;
}

bool PairsPlan::Match(Refusal &refusal) {
	vector<unique_ptr<Expression>> parts;
	for (auto &condition : conditions) {
		AddParts(*matcher.Resolve(condition->Copy()), parts);
	}
	match = MatchFirstBound(matcher, parts, refusal);
	if (!match) {
		return false;
	}
	for (auto &part : parts) {
		auto side = matcher.SideOf(*match, *part);
		if (side != BoundSide::NONE) {
			bounds.push_back(MakeBound(*match, *part, side));
		}
	}
	return !bounds.empty();
}

Refusal PairsPlan::PutJoin() {
	auto path = ScanPath::Of(slot, matcher, *match);
	if (!path) {
		return path.refusal;
	}
	if (path->HasFilter() && !PrefilterEnabled(binder.context)) {
		return Refuse(*match, "the query has a filter, and hnsw_prefilter is false");
	}
	// guards below stay filters: without a limit, they cannot make it hard to find enough rows
	path->LetGuardsRestrict(true);
	auto step = path->Product();
	if (!step.IsValid() || step.GetIndex() != 0 || !path->IsDirectlyBelow(0)) {
		return Refuse(*match, "not every query vector is compared with the same rows of the table");
	}
	auto split = path->Split(binder, {});
	if (!split) {
		return split.refusal;
	}
	auto &search = match->search;
	search.strategy = search.covers ? vss::Strategy::Exact : search.compare ? vss::Strategy::Auto : vss::Strategy::Scan;
	PlanNotes::AddUse(*match->get.GetTable(), search, IndexSearch::JOIN);
	split->slot.get() = std::move(split->get);
	idx_t table_child = 0;
	path->At(0, table_child);
	for (auto &bound : split->bounds) {
		conditions.push_back(path->Lift(std::move(bound), *slot->children[table_child]));
	}
	auto join =
	    make_uniq<LogicalHNSWJoin>(std::move(slot->children[table_child]), std::move(search), std::move(match->query),
	                               std::move(slot->children[1 - table_child]), table_child == 0);
	join->SetBounds(std::move(bounds));
	if (split->filter.plan) {
		join->SetFilter(binder.context, std::move(split->filter), {});
	}
	slot = std::move(join);
	return Refusal();
}

Refusal PairsPlan::Serve() {
	Refusal refusal;
	if (!TakeConditions() || !Match(refusal)) {
		return refusal;
	}
	if (slot->Cast<LogicalJoin>().join_type != JoinType::INNER) {
		return Refuse(*match, "only inner joins on a distance are searched for");
	}
	auto pays = SearchStrategy(binder.context) == vss::Strategy::Exact;
	if (has_band && !pays) {
		return Refuse(*match,
		              "the join has two more bounds on the same columns: DuckDB compares the pairs between these only");
	}
	if (!pays && use.HasFewPartners(binder.context, match->get)) {
		return Refuse(*match, RangeUse::FEW_PARTNERS);
	}
	if (ReferencedTables(*match->query).empty()) {
		return Refuse(*match, "the query vector is the same for all pairs: let the condition stand in WHERE");
	}
	if (use.changed && use.changed == match->get.GetTable()) {
		// pairs are read while the first of them are written, so a row could be read after it was changed
		return Refuse(*match, "the statement changes the table that it looks for pairs in");
	}
	HNSWIndex::Visit(*match->search.entry, [&](const HNSWIndex &index) { pays = pays || index.Core().pairs_pay(); });
	if (!pays) {
		return Refuse(*match, "so few vectors are compared as fast");
	}
	refusal = RefuseGet(match->get);
	if (!refusal) {
		refusal = RefuseBounds(*match);
	}
	if (refusal) {
		refusal.index = match->search.index_name;
		return refusal;
	}
	auto columns = slot->GetColumnBindings();
	auto cardinality = slot->EstimateCardinality(binder.context);
	// a product of the same sides for now: the join comes back if there can be no search
	auto join = std::move(slot);
	slot = make_uniq<LogicalCrossProduct>(std::move(join->children[0]), std::move(join->children[1]));
	refusal = PutJoin();
	if (refusal) {
		join->children = std::move(slot->children);
		slot = std::move(join);
		return refusal;
	}
	slot->SetEstimatedCardinality(cardinality);
	auto filter = make_uniq<LogicalFilter>();
	filter->expressions = std::move(conditions);
	filter->SetEstimatedCardinality(cardinality);
	PutFilter(std::move(filter), slot, columns);
	return Refusal();
}

void ServePairs(Binder &binder, unique_ptr<LogicalOperator> &slot, const RangeUse &use) {
	if (slot->type != LogicalOperatorType::LOGICAL_ANY_JOIN &&
	    slot->type != LogicalOperatorType::LOGICAL_COMPARISON_JOIN) {
		return;
	}
	vector<reference<LogicalGet>> scans;
	for (auto &child : slot->children) {
		auto scan = ScanBelow(*child);
		if (scan) {
			scans.push_back(*scan);
		}
	}
	for (auto &scan : scans) {
		auto refusal = PairsPlan(binder, slot, scan, use).Serve();
		auto is_join = slot->type == LogicalOperatorType::LOGICAL_ANY_JOIN ||
		               slot->type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN;
		if (!is_join) {
			return;
		}
		if (refusal) {
			PlanNotes::Add(*scan.get().GetTable(), refusal.index, refusal.stage, refusal.reason);
		}
	}
}

} // namespace duckdb
