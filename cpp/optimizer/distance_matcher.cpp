#include "optimizer/distance_matcher.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/expression_nullability.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "execution/read_costs.hpp"
#include "index/binding.hpp"
#include "index/hnsw_index.hpp"
#include "host/settings.hpp"

namespace duckdb {

DistanceMatcher::DistanceMatcher(ClientContext &context_p, LogicalOperator &below) : context(context_p) {
	Collect(below);
}

DistanceMatcher::DistanceMatcher(ClientContext &context_p, LogicalOperator &below, LogicalGet &scan)
    : context(context_p) {
	CollectPath(below, scan);
}

void DistanceMatcher::Collect(LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
		projections.emplace(op.GetTableIndex()[0].index, op.expressions);
	} else if (op.type == LogicalOperatorType::LOGICAL_GET) {
		auto &get = op.Cast<LogicalGet>();
		gets.emplace(get.table_index.index, get);
	}
	for (auto &child : op.children) {
		Collect(*child);
	}
}

bool DistanceMatcher::CollectPath(LogicalOperator &op, LogicalGet &scan) {
	if (&op == &scan) {
		gets.emplace(scan.table_index.index, scan);
		return true;
	}
	for (auto &child : op.children) {
		if (CollectPath(*child, scan)) {
			auto computed = ProjectionsOf(op);
			projections.insert(computed.begin(), computed.end());
			return true;
		}
	}
	return false;
}

unique_ptr<Expression> DistanceMatcher::Resolve(unique_ptr<Expression> expr) const {
	duckdb::Resolve(expr, projections);
	return expr;
}

bool DistanceMatcher::NeverNull(const Expression &expr, LogicalGet &get) const {
	auto resolved = Resolve(expr.Copy());
	switch (resolved->GetExpressionClass()) {
	case ExpressionClass::BOUND_CONSTANT:
		return !resolved->Cast<BoundConstantExpression>().GetValue().IsNull();
	case ExpressionClass::BOUND_FUNCTION:
		// a struct is not NULL, whatever its fields are
		return resolved->Cast<BoundFunctionExpression>().Function().GetName() == "struct_pack";
	case ExpressionClass::BOUND_COLUMN_REF: {
		auto &binding = resolved->Cast<BoundColumnRefExpression>().Binding();
		if (binding.table_index == get.table_index && get.GetColumnIndex(binding).IsRowIdColumn()) {
			return true;
		}
		return NotNullExpressionAnalyzer(context).IsNotNull(get, *resolved);
	}
	default:
		return false;
	}
}

//! Whether `expr` is the vector that `match` compares, cast or not.
static bool IsKey(const DistanceMatch &match, const Expression &expr) {
	return VectorBase(expr).Equals(VectorBase(*match.key));
}

//! Whether a key of this shape is NULL only for rows that the index does not rank.
static bool GuardsKey(ClientContext &context, const DistanceMatch &match, const OrderKeyShape &shape) {
	auto is_key = [&](const reference<const Expression> &expr) { return IsKey(match, expr.get()); };
	// arithmetic on a finite distance may overflow
	auto is_distance = [&](const reference<const Expression> &expr) {
		OrderKeyShape own(match.descending);
		auto &distance = PeelOrderKey(context, expr, own);
		return distance.Equals(*match.distance) && !own.rounds && GuardsKey(context, match, own);
	};
	return std::all_of(shape.finite.begin(), shape.finite.end(), is_distance) &&
	       std::all_of(shape.not_null.begin(), shape.not_null.end(), is_key) &&
	       std::all_of(shape.not_zero.begin(), shape.not_zero.end(), is_key) &&
	       // without a direction, a vector of zeros still has a length and a place
	       (shape.not_zero.empty() || match.search.metric == vss::Metric::Cosine);
}

OrRefusal<DistanceMatch> DistanceMatcher::Match(const BoundOrderByNode &order, idx_t k) const {
	return Match(order, k, false);
}

OrRefusal<DistanceMatch> DistanceMatcher::Match(const BoundOrderByNode &order, idx_t k, bool own_metric_only) const {
	if (order.null_order == OrderByNullType::NULLS_FIRST) {
		return Refusal(PlanNotes::Stage::KEY, "NULLS FIRST: rows without a vector are not in the index");
	}
	OrderKeyShape shape(order.type == OrderType::DESCENDING);
	auto resolved = Resolve(order.expression->Copy());
	auto &key = PeelOrderKey(context, *resolved, shape);
	if (key.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return Refusal(PlanNotes::Stage::TABLE,
		               HasDistance(key) ? "the order key puts a value in the place of some distances (CASE, coalesce): "
		                                  "order by the distance itself, which puts rows without one last"
		                                : "the query does not order by a vector distance");
	}
	auto &function = key.Cast<BoundFunctionExpression>();
	auto &name = function.Function().GetName().GetIdentifierName();
	auto metric = vss::Metric::L2sq;
	if (!vss::ranking_metric(rust::Str(name), shape.descending, metric) || function.GetChildren().size() != 2) {
		return Refusal(PlanNotes::Stage::TABLE,
		               StringUtil::Format("no metric ranks like the first ORDER BY key, '%s' %s", name,
		                                  shape.descending ? "descending" : "ascending"));
	}
	auto &left = *function.GetChildren()[0];
	auto &right = *function.GetChildren()[1];
	auto match = MatchKey(PeelVectorCast(left), right, metric, k, own_metric_only);
	if (!match) {
		auto other = MatchKey(PeelVectorCast(right), left, metric, k, own_metric_only);
		match.refusal.Merge(std::move(other.refusal));
		match.found = std::move(other.found);
	}
	if (!match) {
		return match;
	}
	match->distance = key.Copy();
	match->descending = shape.descending;
	match->rounds = shape.rounds;
	if (!GuardsKey(context, *match, shape)) {
		Refusal refusal(PlanNotes::Stage::KEY, "the order key is NULL for vectors that have a distance");
		refusal.index = match->search.index_name;
		return refusal;
	}
	return match;
}

bool DistanceMatcher::IsOrderKey(const DistanceMatch &match, const Expression &expr, OrderKeyShape &shape) const {
	return PeelOrderKey(context, expr, shape).Equals(*match.distance) && GuardsKey(context, match, shape);
}

bool DistanceMatcher::IsGuard(const DistanceMatch &match, const Expression &predicate) const {
	OrderKeyShape shape(match.descending);
	if (auto argument = OperatorArgument(predicate, ExpressionType::OPERATOR_IS_NOT_NULL)) {
		return IsKey(match, *argument) || IsOrderKey(match, *argument, shape);
	}
	// the index ranks every row with a finite distance; arithmetic on the distance may overflow
	auto is_distance = [&](const Expression &expr) { return IsOrderKey(match, expr, shape) && !shape.rounds; };
	if (IsCall(predicate, "isfinite", 1)) {
		return is_distance(*predicate.Cast<BoundFunctionExpression>().GetChildren()[0]);
	}
	if (auto argument = OperatorArgument(predicate, ExpressionType::OPERATOR_NOT)) {
		return (IsCall(*argument, "isnan", 1) || IsCall(*argument, "isinf", 1)) &&
		       is_distance(*argument->Cast<BoundFunctionExpression>().GetChildren()[0]);
	}
	if (match.search.metric == vss::Metric::Cosine) {
		auto vector =
		    ComparedWithZero(context, predicate, ExpressionType::COMPARE_NOTEQUAL, ExpressionType::COMPARE_GREATERTHAN);
		if (vector && IsKey(match, *vector)) {
			return true;
		}
	}
	if (predicate.GetExpressionType() == ExpressionType::COMPARE_EQUAL &&
	    BoundComparisonExpression::IsComparison(predicate)) {
		auto &comparison = predicate.Cast<BoundFunctionExpression>();
		auto &left = BoundComparisonExpression::Left(comparison);
		// NaN equals itself
		return left.Equals(BoundComparisonExpression::Right(comparison)) && IsOrderKey(match, left, shape);
	}
	return false;
}

//! A comparison with a value that is the same for all rows.
struct ConstantComparison {
	const Expression &compared;
	//! It holds for smaller values; otherwise for greater ones.
	bool below;
};

//! `expr` as such a comparison. `is_constant`: whether a side is the same for all rows.
static unique_ptr<ConstantComparison> AsConstantComparison(const Expression &expr,
                                                           bool (*is_constant)(const Expression &side)) {
	if (!BoundComparisonExpression::IsComparison(expr)) {
		return nullptr;
	}
	auto &comparison = expr.Cast<BoundFunctionExpression>();
	auto &left = BoundComparisonExpression::Left(comparison);
	auto &right = BoundComparisonExpression::Right(comparison);
	auto type = expr.GetExpressionType();
	auto flipped = is_constant(left);
	if (flipped == is_constant(right)) {
		return nullptr;
	}
	if (flipped) {
		type = FlipComparisonExpression(type);
	}
	auto below = type == ExpressionType::COMPARE_LESSTHAN || type == ExpressionType::COMPARE_LESSTHANOREQUALTO;
	auto above = type == ExpressionType::COMPARE_GREATERTHAN || type == ExpressionType::COMPARE_GREATERTHANOREQUALTO;
	if (!below && !above) {
		return nullptr;
	}
	return unique_ptr<ConstantComparison>(new ConstantComparison {flipped ? right : left, below});
}

static bool IsFoldable(const Expression &side) {
	return side.IsFoldable();
}

//! Parameters included.
static bool IsSameForAllRows(const Expression &side) {
	return ReferencedTables(side).empty() && !side.IsVolatile() && !side.HasSubquery();
}

bool DistanceMatcher::IsBound(const DistanceMatch &match, const Expression &predicate) const {
	auto comparison = AsConstantComparison(predicate, IsFoldable);
	if (!comparison) {
		return false;
	}
	OrderKeyShape shape(match.descending);
	return IsOrderKey(match, comparison->compared, shape) && comparison->below != shape.descending;
}

bool DistanceMatcher::NaNPasses(const Expression &bound) const {
	auto comparison = AsConstantComparison(bound, IsFoldable);
	return comparison && !comparison->below;
}

bool DistanceMatcher::KeepsFirst(const DistanceMatch &match, const Expression &predicate) const {
	OrderKeyShape shape(match.descending);
	auto nan_last = match.search.undefined_last;
	if (auto comparison = AsConstantComparison(predicate, IsFoldable)) {
		return IsBound(match, predicate) && NaNPasses(predicate) != nan_last &&
		       IsOrderKey(match, comparison->compared, shape) && !shape.IsGuarded();
	}
	if (!IsGuard(match, predicate)) {
		return false;
	}
	auto only_null_fails = [&](const Expression &expr) {
		return IsKey(match, expr) || (IsOrderKey(match, expr, shape) && !shape.IsGuarded());
	};
	if (auto argument = OperatorArgument(predicate, ExpressionType::OPERATOR_IS_NOT_NULL)) {
		return only_null_fails(*argument);
	}
	if (BoundComparisonExpression::IsComparison(predicate)) {
		return only_null_fails(BoundComparisonExpression::Left(predicate.Cast<BoundFunctionExpression>()));
	}
	// an inner product may be minus infinity, which comes first
	auto negated = OperatorArgument(predicate, ExpressionType::OPERATOR_NOT);
	return nan_last && match.search.metric != vss::Metric::Ip &&
	       (IsCall(predicate, "isfinite", 1) || (negated && IsCall(*negated, "isnan", 1)));
}

BoundSide DistanceMatcher::SideOf(const DistanceMatch &match, const Expression &comparison) const {
	auto bound = AsConstantComparison(comparison, IsSameForAllRows);
	if (!bound) {
		return BoundSide::NONE;
	}
	OrderKeyShape shape(match.descending);
	// a key that is NULL for some vectors does not depend on the distance alone
	if (!IsOrderKey(match, bound->compared, shape) || shape.IsGuarded()) {
		return BoundSide::NONE;
	}
	return bound->below != shape.descending ? BoundSide::NEAR : BoundSide::FAR;
}

OrRefusal<DistanceMatch> DistanceMatcher::MatchBound(const Expression &comparison) const {
	auto bound = AsConstantComparison(comparison, IsSameForAllRows);
	if (!bound) {
		return Refusal();
	}
	BoundOrderByNode order(bound->below ? OrderType::ASCENDING : OrderType::DESCENDING, OrderByNullType::NULLS_LAST,
	                       bound->compared.Copy());
	return Match(order, 0, true);
}

//! Every HNSW index of the table, bound. Indexes that DuckDB cannot bind now are left out: the table has their rows, and
//! the next query tries again.
static vector<shared_ptr<IndexEntry>> BoundIndexes(ClientContext &context, DataTable &storage) {
	vector<shared_ptr<IndexEntry>> result;
	auto &info = *storage.GetDataTableInfo();
	if (info.GetIndexes().Empty()) {
		return result;
	}
	TryBind(context, info);
	for (auto &&entry : info.GetIndexes().IndexEntries()) {
		if (entry->GetBindState() == IndexBindState::BOUND) {
			result.push_back(entry);
		}
	}
	return result;
}

//! `expr`, over the columns of `get`, in the form in which an index stores its key: by positions in its column list.
//! Null if the list lacks a column.
static unique_ptr<Expression> AsIndexKey(const Expression &expr, const LogicalGet &get, const TableCatalogEntry &table,
                                         const vector<column_t> &index_columns, TableIndex index_table) {
	auto result = expr.Copy();
	bool possible = true;
	ExpressionIterator::EnumerateExpression(result, [&](Expression &child) {
		if (child.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
			return;
		}
		auto &binding = child.Cast<BoundColumnRefExpression>().BindingMutable();
		auto &column = get.GetColumnIndex(binding);
		if (column.IsVirtualColumn() || column.HasChildren() || column.HasType()) {
			possible = false;
			return;
		}
		auto physical = table.GetColumns().LogicalToPhysical(LogicalIndex(column.GetPrimaryIndex()));
		auto position = std::find(index_columns.begin(), index_columns.end(), physical.index);
		if (position == index_columns.end()) {
			possible = false;
			return;
		}
		binding =
		    ColumnBinding(index_table, ProjectionIndex(UnsafeNumericCast<idx_t>(position - index_columns.begin())));
	});
	return possible ? std::move(result) : nullptr;
}

//! Computes what does not depend on a row. DuckDB's optimizers do so in queries, but not in the keys of indexes.
static void Fold(ClientContext &context, unique_ptr<Expression> &expr) {
	Value value;
	if (expr->GetExpressionClass() != ExpressionClass::BOUND_CONSTANT && expr->IsFoldable() && !expr->HasParameter() &&
	    ExpressionExecutor::TryEvaluateScalar(context, *expr, value)) {
		expr = make_uniq<BoundConstantExpression>(std::move(value));
		return;
	}
	ExpressionIterator::EnumerateChildren(*expr, [&](unique_ptr<Expression> &child) { Fold(context, child); });
}

//! Whether `key` computes what the index stores by `stored`. DuckDB's own comparison does not do: it compares the
//! addresses of functions, and an index that was bound from here has those of the extension's copy of DuckDB.
static bool SameKey(const Expression &key, const Expression &stored) {
	if (key.GetExpressionClass() != stored.GetExpressionClass() ||
	    key.GetExpressionType() != stored.GetExpressionType() || key.GetReturnType() != stored.GetReturnType()) {
		return false;
	}
	switch (key.GetExpressionClass()) {
	case ExpressionClass::BOUND_FUNCTION: {
		auto &one = key.Cast<BoundFunctionExpression>();
		auto &other = stored.Cast<BoundFunctionExpression>();
		if (one.Function().GetName() != other.Function().GetName() ||
		    BoundCastExpression::IsCast(key) != BoundCastExpression::IsCast(stored)) {
			return false;
		}
		// Where TRY_CAST fails there is no vector, and a search would not hear of the row. Where CAST fails, each
		// search returns the row.
		if (BoundCastExpression::IsCast(key) && BoundCastExpression::IsTryCast(other) &&
		    !BoundCastExpression::IsTryCast(one)) {
			return false;
		}
		break;
	}
	case ExpressionClass::BOUND_CASE:
	case ExpressionClass::BOUND_OPERATOR:
	case ExpressionClass::BOUND_CONJUNCTION:
		break;
	default:
		return key.Equals(stored);
	}
	vector<const_reference<Expression>> arguments;
	ExpressionIterator::EnumerateChildren(key, [&](const Expression &child) { arguments.push_back(child); });
	idx_t count = 0;
	bool same = true;
	ExpressionIterator::EnumerateChildren(stored, [&](const Expression &child) {
		same = same && count < arguments.size() && SameKey(arguments[count], child);
		count++;
	});
	return same && count == arguments.size();
}

//! Whether an index over `stored` ranks the vectors `key`, because `stored` is their cast to FLOAT[n]. For lists of
//! another length the cast fails: the index does not rank them, and each search returns them.
static bool RanksCast(const Expression &key, const Expression &stored) {
	return IsNumbers(key.GetReturnType()) && BoundCastExpression::IsCast(stored) &&
	       SameKey(VectorBase(key), VectorBase(stored));
}

static LogicalTypeId ElementOf(const LogicalType &type) {
	return (type.id() == LogicalTypeId::LIST ? ListType::GetChildType(type) : ArrayType::GetChildType(type)).id();
}

//! Whether FLOAT[n] may lose digits of vectors of the type `stored`. It loses none of small integers: for these,
//! whether their distances are computed with more digits, as `compared`.
static bool Narrows(const LogicalType &stored, const LogicalType &compared) {
	if (!IsNumbers(stored)) {
		return false;
	}
	switch (ElementOf(stored)) {
	case LogicalTypeId::FLOAT:
		return false;
	case LogicalTypeId::TINYINT:
	case LogicalTypeId::SMALLINT:
	case LogicalTypeId::UTINYINT:
	case LogicalTypeId::USMALLINT:
		return !IsNumbers(compared) || ElementOf(compared) != LogicalTypeId::FLOAT;
	default:
		return true;
	}
}

//! The table index that stands for the indexed table in an index's stored key.
static TableIndex IndexTable(const Expression &stored_key) {
	TableIndex result;
	auto copy = stored_key.Copy();
	ExpressionIterator::EnumerateExpression(copy, [&](Expression &child) {
		if (child.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
			result = child.Cast<BoundColumnRefExpression>().Binding().table_index;
		}
	});
	return result;
}

bool IsKeyOf(ClientContext &context, const HNSWIndex &index, const Expression &key, const LogicalGet &get,
             const DuckTableEntry &table) {
	auto stored_key = index.CopyUnboundExpression(0);
	auto as_key = AsIndexKey(key, get, table, index.GetColumnIds(), IndexTable(*stored_key));
	if (!as_key) {
		return false;
	}
	Fold(context, stored_key);
	Fold(context, as_key);
	return SameKey(*as_key, *stored_key) || RanksCast(*as_key, *stored_key);
}

OrRefusal<DistanceMatch> DistanceMatcher::MatchKey(const Expression &key, const Expression &query, vss::Metric metric,
                                                   idx_t k, bool own_metric_only) const {
	auto tables = ReferencedTables(key);
	if (tables.size() != 1 || gets.find(*tables.begin()) == gets.end()) {
		return Refusal(PlanNotes::Stage::TABLE, "no argument of the distance comes from one table");
	}
	auto &get = gets.find(*tables.begin())->second.get();
	if (ReferencedTables(query).count(get.table_index.index) > 0) {
		return Refusal(PlanNotes::Stage::KEY, "both arguments of the distance come from the same row");
	}
	if (query.IsVolatile()) {
		return Refusal(PlanNotes::Stage::KEY, "the query vector changes from row to row");
	}
	auto table = get.GetTable();
	if (!table || !table->IsDuckTable() || get.function.GetName() != "seq_scan") {
		return Refusal(PlanNotes::Stage::KEY, "the vectors do not come from a table of DuckDB");
	}
	auto &duck_table = table->Cast<DuckTableEntry>();
	Refusal refusal(PlanNotes::Stage::KEY,
	                StringUtil::Format("table '%s' has no HNSW index on the vectors that are compared",
	                                   duck_table.name.GetIdentifierName()));
	auto note = [&](const string &name, const string &reason) {
		PlanNotes::Add(duck_table, name, PlanNotes::Stage::INDEX, reason);
	};
	// rows that differ only in digits beyond FLOAT tie
	auto narrows = Narrows(VectorBase(key).GetReturnType(), key.GetReturnType());
	// as of both arguments: FLOAT vectors become DOUBLE beside a query vector that is, such as a list of a client
	auto &query_type = query.GetReturnType();
	auto narrows_query = IsNumbers(query_type) && ElementOf(query_type) == LogicalTypeId::DOUBLE;
	unique_ptr<DistanceMatch> best;
	idx_t best_cost = 0;
	auto consider = [&](const shared_ptr<IndexEntry> &entry, const HNSWIndex &index) {
		auto &name = index.name.GetIdentifierName();
		if (index.Dimensions() == 0 || !IsKeyOf(context, index, key, get, duck_table)) {
			note(name, "the index is on another column or expression than the vectors that are compared");
			return;
		}
		auto &options = index.Options();
		auto covers = index.Covers(duck_table.GetStorage());
		auto compare = index.ReconcileDue();
		auto own_metric = options.metric == metric;
		// before the comparison nobody knows: the search decides
		auto may_rank = own_metric || (covers ? index.Core().ranks_by(metric) : compare);
		if (!may_rank || (!own_metric && (narrows || own_metric_only))) {
			auto reason = own_metric_only
			                  ? "index '%s' has metric '%s', but the distance that is bounded needs '%s': all rows "
			                    "within a distance are only told by the metric of the index"
			                  : "index '%s' has metric '%s', but the order needs '%s'; all vectors would have "
			                    "to be of one length for both to rank alike";
			refusal = Refusal(PlanNotes::Stage::INDEX,
			                  StringUtil::Format(reason, name, string(vss::metric_name(options.metric)),
			                                     string(vss::metric_name(metric))));
			refusal.index = name;
			note(name, refusal.reason);
			return;
		}
		// Both make a search compute more distances on the bottom layer. A search by another metric may have to fetch
		// more rows.
		auto ef = SearchWidth(context, index.Core(), options, k);
		auto cost = (own_metric ? 1 : 2) * ef * options.m0;
		if (best && best_cost <= cost) {
			note(name, StringUtil::Format("index '%s' serves the query at lower cost", best->search.index_name));
			return;
		}
		if (best) {
			note(best->search.index_name, StringUtil::Format("index '%s' serves the query at lower cost", name));
		}
		best_cost = cost;
		IndexSearch search {entry, name, metric, options.metric, index.Dimensions(), k, ef, vss::Strategy::Scan};
		search.covers = covers;
		search.compare = compare;
		search.costs = CostsOf(get);
		if (covers) {
			search.strategy = index.Core().strategy(k, ef, search.costs);
		} else if (compare) {
			search.strategy = vss::Strategy::Auto;
		}
		search.narrows = narrows;
		search.narrows_query = narrows_query;
		best = make_uniq<DistanceMatch>(
		    DistanceMatch {get, std::move(search), query.Copy(), key.Copy(), nullptr, false, false});
	};
	for (auto &entry : BoundIndexes(context, duck_table.GetStorage())) {
		HNSWIndex::LearnOptions(context, *entry, duck_table.GetStorage());
		HNSWIndex::Visit(*entry, [&](const HNSWIndex &index) { consider(entry, index); });
	}
	if (best) {
		return best;
	}
	return refusal;
}

} // namespace duckdb
