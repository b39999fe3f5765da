#include "match.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "index.hpp"
#include "settings.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Expressions
//---------------------------------------------------------------------------------------------------------------------

static void CollectTables(const Expression &expr, unordered_set<idx_t> &tables) {
	if (expr.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
		tables.insert(expr.Cast<BoundColumnRefExpression>().Binding().table_index.index);
	}
	ExpressionIterator::EnumerateChildren(expr, [&](const Expression &child) { CollectTables(child, tables); });
}

unordered_set<idx_t> ReferencedTables(const Expression &expr) {
	unordered_set<idx_t> tables;
	CollectTables(expr, tables);
	return tables;
}

static bool IsReal(const LogicalType &type) {
	return type.id() == LogicalTypeId::FLOAT || type.id() == LogicalTypeId::DOUBLE;
}

//! Peels what does not change an order off a distance (FLOAT → DOUBLE) and what reverses it (-d, constant - d).
static const Expression &PeelOrderKey(const Expression &expr, bool &descending) {
	if (expr.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return expr;
	}
	auto &function = expr.Cast<BoundFunctionExpression>();
	if (BoundCastExpression::IsCast(expr)) {
		auto &child = BoundCastExpression::Child(function);
		if (IsReal(child.GetReturnType()) && expr.GetReturnType().id() == LogicalTypeId::DOUBLE) {
			return PeelOrderKey(child, descending);
		}
		return expr;
	}
	auto &children = function.GetChildren();
	if (function.Function().GetName() == "-" && IsReal(expr.GetReturnType())) {
		if (children.size() == 1 || (children.size() == 2 && children[0]->IsFoldable())) {
			descending = !descending;
			return PeelOrderKey(*children.back(), descending);
		}
	}
	return expr;
}

//! Peels casts off an argument of a distance that keep its elements: FLOAT[n] to DOUBLE[n], FLOAT[] or DOUBLE[].
static const Expression &PeelVectorCast(const Expression &expr) {
	if (expr.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION || !BoundCastExpression::IsCast(expr)) {
		return expr;
	}
	auto &child = BoundCastExpression::Child(expr.Cast<BoundFunctionExpression>());
	auto &source = child.GetReturnType();
	auto &target = expr.GetReturnType();
	if (source.id() != LogicalTypeId::ARRAY || ArrayType::GetChildType(source).id() != LogicalTypeId::FLOAT) {
		return expr;
	}
	auto keeps_elements = (target.id() == LogicalTypeId::ARRAY && IsReal(ArrayType::GetChildType(target))) ||
	                      (target.id() == LogicalTypeId::LIST && IsReal(ListType::GetChildType(target)));
	return keeps_elements ? PeelVectorCast(child) : expr;
}

//---------------------------------------------------------------------------------------------------------------------
// Matching
//---------------------------------------------------------------------------------------------------------------------

DistanceMatcher::DistanceMatcher(ClientContext &context_p, LogicalOperator &below) : context(context_p) {
	Collect(below);
}

DistanceMatcher::DistanceMatcher(ClientContext &context_p, LogicalOperator &below, LogicalGet &scan)
    : context(context_p) {
	CollectPath(below, scan);
}

void DistanceMatcher::Collect(LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
		projections.emplace(op.GetTableIndex()[0].index, op);
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
			if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
				projections.emplace(op.GetTableIndex()[0].index, op);
			}
			return true;
		}
	}
	return false;
}

unique_ptr<Expression> DistanceMatcher::Resolve(unique_ptr<Expression> expr) const {
	if (expr->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
		auto &binding = expr->Cast<BoundColumnRefExpression>().Binding();
		auto entry = projections.find(binding.table_index.index);
		if (entry == projections.end()) {
			return expr;
		}
		return Resolve(entry->second.get().expressions[binding.column_index]->Copy());
	}
	ExpressionIterator::EnumerateChildren(*expr,
	                                      [&](unique_ptr<Expression> &child) { child = Resolve(std::move(child)); });
	return expr;
}

unique_ptr<DistanceMatch> DistanceMatcher::Refuse(const string &reason) {
	refusal = reason;
	return nullptr;
}

unique_ptr<DistanceMatch> DistanceMatcher::Match(const BoundOrderByNode &order, idx_t wanted) {
	if (order.null_order == OrderByNullType::NULLS_FIRST) {
		return Refuse("NULLS FIRST: rows without a vector are not in the index");
	}
	auto descending = order.type == OrderType::DESCENDING;
	auto resolved = Resolve(order.expression->Copy());
	auto &key = PeelOrderKey(*resolved, descending);
	if (key.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return Refuse("the first ORDER BY key is not a vector distance");
	}
	auto &function = key.Cast<BoundFunctionExpression>();
	auto &name = function.Function().GetName().GetIdentifierName();
	auto metric = string(vss::ranking_metric(rust::Str(name), descending));
	if (metric.empty() || function.GetChildren().size() != 2) {
		return Refuse(StringUtil::Format("no metric ranks like the first ORDER BY key, '%s' %s", name,
		                                 descending ? "descending" : "ascending"));
	}
	auto &left = *function.GetChildren()[0];
	auto &right = *function.GetChildren()[1];
	auto match = MatchKey(PeelVectorCast(left), right, metric, wanted);
	if (!match) {
		match = MatchKey(PeelVectorCast(right), left, metric, wanted);
	}
	if (match) {
		match->distance = key.Copy();
		match->descending = descending;
	}
	return match;
}

bool DistanceMatch::IsBound(const Expression &predicate) const {
	if (!BoundComparisonExpression::IsComparison(predicate)) {
		return false;
	}
	auto &comparison = predicate.Cast<BoundFunctionExpression>();
	auto &left = BoundComparisonExpression::Left(comparison);
	auto &right = BoundComparisonExpression::Right(comparison);
	auto type = predicate.GetExpressionType();
	auto flipped = left.IsFoldable();
	if (flipped == right.IsFoldable()) {
		return false;
	}
	if (flipped) {
		type = FlipComparisonExpression(type);
	}
	auto below = type == ExpressionType::COMPARE_LESSTHAN || type == ExpressionType::COMPARE_LESSTHANOREQUALTO;
	auto above = type == ExpressionType::COMPARE_GREATERTHAN || type == ExpressionType::COMPARE_GREATERTHANOREQUALTO;
	if (!below && !above) {
		return false;
	}
	bool reversed = descending;
	auto &compared = PeelOrderKey(flipped ? right : left, reversed);
	return compared.Equals(*distance) && below != reversed;
}

//! Every HNSW index of the table, bound.
static vector<shared_ptr<IndexEntry>> HNSWEntries(ClientContext &context, DataTable &storage) {
	vector<shared_ptr<IndexEntry>> result;
	auto &info = *storage.GetDataTableInfo();
	if (info.GetIndexes().Empty()) {
		return result;
	}
	if (info.GetIndexes().HasUnbound()) {
		info.BindIndexes(context, string(HNSWIndex::TYPE_NAME));
	}
	for (auto &&entry : info.GetIndexes().IndexEntries()) {
		if (entry->GetBindState() == IndexBindState::BOUND) {
			result.push_back(entry);
		}
	}
	return result;
}

//! `expr` over the columns of `get`, in the terms in which an index stores its key: positions in its column list.
//! Nothing if a column is not in that list.
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
		binding = ColumnBinding(index_table, ProjectionIndex(UnsafeNumericCast<idx_t>(position - index_columns.begin())));
	});
	return possible ? std::move(result) : nullptr;
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

unique_ptr<DistanceMatch> DistanceMatcher::MatchKey(const Expression &key, const Expression &query,
                                                    const string &metric, idx_t wanted) {
	auto tables = ReferencedTables(key);
	if (tables.size() != 1 || gets.find(*tables.begin()) == gets.end()) {
		return Refuse("no argument of the distance comes from one table");
	}
	auto &get = gets.find(*tables.begin())->second.get();
	if (ReferencedTables(query).count(get.table_index.index) > 0) {
		return Refuse("both arguments of the distance come from the same row");
	}
	if (query.IsVolatile()) {
		return Refuse("the query vector changes from row to row");
	}
	auto table = get.GetTable();
	if (!table || !table->IsDuckTable() || get.function.GetName() != "seq_scan") {
		return Refuse("the vectors do not come from a table of DuckDB");
	}
	auto &duck_table = table->Cast<DuckTableEntry>();
	auto refused = Refuse(StringUtil::Format("table '%s' has no HNSW index on this expression",
	                                         duck_table.name.GetIdentifierName()));
	unique_ptr<DistanceMatch> best;
	idx_t best_cost = 0;
	for (auto &entry : HNSWEntries(context, duck_table.GetStorage())) {
		if (entry->GetIndexType() != HNSWIndex::TYPE_NAME) {
			continue;
		}
		HNSWIndex::CatchUp(context, *entry, duck_table.GetStorage());
		auto index = entry->GetReadHandle<HNSWIndex>();
		auto stored_key = index->CopyUnboundExpression(0);
		auto as_key = AsIndexKey(key, get, duck_table, index->GetColumnIds(), IndexTable(*stored_key));
		if (!as_key || !as_key->Equals(*stored_key)) {
			continue;
		}
		auto &options = index->Options();
		auto index_metric = string(options.metric);
		if (index_metric != metric) {
			Refuse(StringUtil::Format("index '%s' has metric '%s', but the ORDER BY needs '%s'",
			                          index->name.GetIdentifierName(), index_metric, metric));
			continue;
		}
		// distances computed on the bottom layer grow with both
		auto cost = options.ef_search * options.m0;
		if (best && best_cost <= cost) {
			continue;
		}
		best_cost = cost;
		auto session_ef = EfSearch(context);
		auto ef = session_ef.IsValid() ? session_ef.GetIndex() : options.ef_search;
		auto strategy = index->Covers(duck_table.GetStorage()) ? string(index->Core().strategy(wanted, ef))
		                                                    : string(vss::scan_strategy());
		IndexSearch search {entry,  index->name.GetIdentifierName(), index_metric, index->Dimensions(),
		                    wanted, ef,                              strategy};
		best = make_uniq<DistanceMatch>(DistanceMatch {get, std::move(search), query.Copy(), nullptr, false});
	}
	return best;
}

} // namespace duckdb
