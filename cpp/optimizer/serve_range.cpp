#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/filter/expression_filter.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "execution/logical_range.hpp"
#include "host/settings.hpp"
#include "index/hnsw_index.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/range.hpp"
#include "optimizer/range_parts.hpp"
#include "optimizer/row_id_plan.hpp"
#include "optimizer/plan_parts.hpp"

namespace duckdb {

static Refusal Refuse(string reason) {
	return Refusal(PlanNotes::Stage::PLAN, std::move(reason));
}

//! A filter, if there is one, and the scan below.
class RangePlan {
public:
	RangePlan(Binder &binder_p, unique_ptr<LogicalOperator> &slot_p, const RangeUse &use_p)
	    : binder(binder_p), slot(slot_p), use(use_p), get(Scan()->Cast<LogicalGet>()),
	      matcher(binder.context, *slot, get) {
	}

	//! Puts a search in the place of both. If refused, nothing is changed.
	Refusal Serve();

private:
	//! The slot of the scan.
	unique_ptr<LogicalOperator> &Scan() {
		return slot->type == LogicalOperatorType::LOGICAL_FILTER ? slot->children[0] : slot;
	}
	//! Finds the distance that the predicates bound from above, and the index for it. False if there is none; `refusal`
	//! may say why.
	bool Match(Refusal &refusal);
	//! Sorts the parts of the filter's predicates, and of the scan's filter on the column of the vectors. False with a
	//! refusal if one cannot be handled.
	bool SortParts(Refusal &refusal);
	bool IsWorthwhile() const;
	//! The columns that are read above.
	vector<ColumnBinding> Emitted() const;
	//! The original scan, yielding these columns. It checks all bounds, unless something has to be checked before them.
	unique_ptr<LogicalGet> StandIn(const vector<ColumnBinding> &emitted) const;
	//! Turns the original scan into a plan of the rows that pass its other filters; without a plan if it has none.
	RowFilter Others();

	Binder &binder;
	unique_ptr<LogicalOperator> &slot;
	const RangeUse &use;
	LogicalGet &get;
	DistanceMatcher matcher;
	unique_ptr<DistanceMatch> match;
	//! The column of the vectors.
	ProjectionIndex searched;
	//! What the search decides: bounds, the guards beside them, and predicates that have to be checked before one of
	//! these.
	vector<unique_ptr<Expression>> predicates;
	//! There are predicates of the last kind, which are also in `rest`.
	bool checks_rest = false;
	vector<DistanceBound> bounds;
	//! The other predicates of the filter, and of the scan's filter on that column.
	vector<unique_ptr<Expression>> rest;
};

//! The predicates of a filter or a scan, in parts.
static vector<unique_ptr<Expression>> PartsOf(const LogicalOperator &op) {
	vector<unique_ptr<Expression>> result;
	if (op.type == LogicalOperatorType::LOGICAL_FILTER) {
		for (auto &expr : op.expressions) {
			AddParts(*expr, result);
		}
		return result;
	}
	auto &get = op.Cast<LogicalGet>();
	for (auto &entry : get.table_filters) {
		auto predicate = AsPredicate(get, entry.Filter(), entry.GetIndex());
		if (predicate) {
			AddParts(*predicate, result);
		}
	}
	return result;
}

bool RangePlan::Match(Refusal &refusal) {
	auto parts = PartsOf(get);
	if (slot.get() != &get) {
		for (auto &part : PartsOf(*slot)) {
			parts.push_back(std::move(part));
		}
	}
	match = MatchFirstBound(matcher, parts, refusal);
	if (!match) {
		return false;
	}
	if (!ReferencedTables(*match->query).empty()) {
		refusal = Refuse("the query vector comes from another table");
		return false;
	}
	refusal = RefuseBounds(*match);
	if (refusal) {
		return false;
	}
	bool one_column = true;
	ExpressionIterator::VisitExpression<BoundColumnRefExpression>(
	    *match->key, [&](const BoundColumnRefExpression &column) {
		    one_column = one_column && (!searched.IsValid() || searched == column.Binding().column_index);
		    searched = column.Binding().column_index;
	    });
	if (!one_column) {
		refusal = Refuse("the vectors are made of several columns");
	}
	return one_column;
}

bool RangePlan::SortParts(Refusal &refusal) {
	// in the order in which DuckDB evaluates them: a distance may fail for rows that a condition before it drops
	vector<unique_ptr<Expression>> parts;
	auto filter = get.table_filters.TryGetFilterByColumnIndex(searched);
	if (filter) {
		auto predicate = AsPredicate(get, *filter, searched);
		if (!predicate || ExpressionFilter::IsOptionalExpression(*predicate)) {
			refusal = Refuse("the scan has a filter of DuckDB's own on the vectors");
			return false;
		}
		AddParts(*predicate, parts);
	}
	if (slot.get() != &get) {
		for (auto &part : PartsOf(*slot)) {
			parts.push_back(std::move(part));
		}
	}
	vector<unique_ptr<Expression>> before;
	for (auto &part : parts) {
		auto side = matcher.SideOf(*match, *part);
		if (side != BoundSide::NONE) {
			bounds.push_back(MakeBound(*match, *part, side));
		} else if (!matcher.IsGuard(*match, *part)) {
			before.push_back(part->Copy());
			rest.push_back(std::move(part));
			continue;
		}
		checks_rest = checks_rest || !before.empty();
		for (auto &condition : before) {
			if (condition->IsVolatile()) {
				refusal = Refuse("a condition before the distance may have another value each time");
				return false;
			}
			predicates.push_back(std::move(condition));
		}
		before.clear();
		predicates.push_back(std::move(part));
	}
	return true;
}

bool RangePlan::IsWorthwhile() const {
	if (SearchStrategy(binder.context) == vss::Strategy::Exact) {
		return true;
	}
	bool result = true;
	HNSWIndex::Visit(*match->search.entry, [&](const HNSWIndex &index) { result = index.Core().range_pays(); });
	return result;
}

vector<ColumnBinding> RangePlan::Emitted() const {
	vector<ColumnBinding> result;
	if (!use.counts_only) {
		result = slot->GetColumnBindings();
	}
	for (auto &predicate : rest) {
		ExpressionIterator::VisitExpression<BoundColumnRefExpression>(
		    *predicate, [&](const BoundColumnRefExpression &column) {
			    if (std::find(result.begin(), result.end(), column.Binding()) == result.end()) {
				    result.push_back(column.Binding());
			    }
		    });
	}
	return result;
}

unique_ptr<LogicalGet> RangePlan::StandIn(const vector<ColumnBinding> &emitted) const {
	auto result = WithoutFilters(get, emitted);
	result->table_filters = std::move(*get.table_filters.Copy());
	if (checks_rest) {
		return result;
	}
	auto filtered = get.table_filters.TryGetFilterByColumnIndex(searched);
	// the scan need not check these twice
	vector<unique_ptr<Expression>> checked;
	if (filtered) {
		AddParts(*AsPredicate(get, *filtered, searched), checked);
	}
	for (auto &predicate : predicates) {
		auto is_same = [&](const unique_ptr<Expression> &other) { return other->Equals(*predicate); };
		if (std::any_of(checked.begin(), checked.end(), is_same)) {
			continue;
		}
		auto filter = predicate->Copy();
		BoundColumnRefExpression column(get.GetColumnType(get.GetColumnIds()[searched]),
		                                ColumnBinding(get.table_index, searched));
		PutReference(filter, column, "");
		result->table_filters.PushFilter(searched, make_uniq<ExpressionFilter>(std::move(filter)));
	}
	return result;
}

RowFilter RangePlan::Others() {
	auto &scan = Scan();
	get.table_filters.RemoveFilterByColumnIndex(searched);
	if (!get.table_filters.HasFilters() && !get.table_filters.HasMultiColumnFilters()) {
		return RowFilter();
	}
	Renumber(binder, *scan, get);
	return YieldRowIds(std::move(scan), {}, {});
}

Refusal RangePlan::Serve() {
	Refusal refusal;
	if (!Match(refusal)) {
		return refusal;
	}
	refusal = RefuseGet(get);
	if (refusal || !SortParts(refusal)) {
		refusal.index = match->search.index_name;
		return refusal;
	}
	auto refuse = [&](string reason) {
		auto result = Refuse(std::move(reason));
		result.index = match->search.index_name;
		return result;
	};
	if (!PrefilterEnabled(binder.context)) {
		return refuse("the query has a filter, and hnsw_prefilter is false");
	}
	if (use.may_stop) {
		return refuse("a LIMIT without an ORDER BY is met sooner by a scan");
	}
	if (use.HasFewPartners(binder.context, get)) {
		return refuse(RangeUse::FEW_PARTNERS);
	}
	if (!IsWorthwhile()) {
		return refuse("so few and short vectors are scanned as fast");
	}
	auto columns = slot->GetColumnBindings();
	auto emitted = Emitted();
	auto cardinality = slot->EstimateCardinality(binder.context);
	if (emitted.empty()) {
		// operators above count rows, so there must be a column
		emitted.emplace_back(get.table_index, get.AddColumnId(COLUMN_IDENTIFIER_ROW_ID));
	}
	auto &search = match->search;
	search.strategy = search.covers ? vss::Strategy::Exact : search.compare ? vss::Strategy::Auto : vss::Strategy::Scan;
	PlanNotes::AddUse(*get.GetTable(), search, IndexSearch::SCAN);
	auto stand_in = StandIn(emitted);
	auto others = Others();
	auto range = make_uniq<LogicalHNSWRange>(std::move(stand_in), std::move(search), std::move(match->query),
	                                         std::move(predicates), std::move(bounds));
	range->checks_scan = checks_rest;
	range->SetEstimatedCardinality(cardinality);
	if (others.plan) {
		range->SetFilter(std::move(others));
	}
	slot = std::move(range);
	auto filter = make_uniq<LogicalFilter>();
	filter->expressions = std::move(rest);
	filter->SetEstimatedCardinality(cardinality);
	PutFilter(std::move(filter), slot, use.counts_only ? slot->GetColumnBindings() : columns);
	return Refusal();
}

void ServeRange(Binder &binder, unique_ptr<LogicalOperator> &slot, const RangeUse &use) {
	auto has_filter = slot->type == LogicalOperatorType::LOGICAL_FILTER;
	auto &scan = has_filter ? slot->children[0] : slot;
	if (scan->type != LogicalOperatorType::LOGICAL_GET) {
		return;
	}
	auto table = scan->Cast<LogicalGet>().GetTable();
	if (!table || !table->IsDuckTable() || (!has_filter && !scan->Cast<LogicalGet>().table_filters.HasFilters())) {
		return;
	}
	auto refusal = RangePlan(binder, slot, use).Serve();
	if (refusal) {
		PlanNotes::Add(*table, refusal.index, refusal.stage, refusal.reason);
	}
}

} // namespace duckdb
