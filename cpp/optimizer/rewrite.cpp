#include "optimizer/rewrite.hpp"

#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/optimizer/optimizer_extension.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_parameter_expression.hpp"
#include "duckdb/planner/expression/bound_window_expression.hpp"
#include "duckdb/planner/expression/bound_parameter_data.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_limit.hpp"
#include "duckdb/planner/operator/logical_order.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/operator/logical_top_n.hpp"
#include "index/backlog.hpp"
#include "optimizer/scan_path.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/nearest.hpp"
#include "host/settings.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Before DuckDB's optimizers
//---------------------------------------------------------------------------------------------------------------------

//! The first key by which `op` puts rows in order, if it does.
static optional_ptr<const BoundOrderByNode> FirstOrder(LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_ORDER_BY) {
		return op.Cast<LogicalOrder>().orders[0];
	}
	if (op.type == LogicalOperatorType::LOGICAL_WINDOW) {
		auto &orders = op.expressions[0]->Cast<BoundWindowExpression>().OrderBy();
		return orders.empty() ? nullptr : optional_ptr<const BoundOrderByNode>(orders[0]);
	}
	return nullptr;
}

static void ReplaceIn(unique_ptr<Expression> &expr, const Expression &replaced, const Expression &by) {
	if (expr->Equals(replaced)) {
		expr = by.Copy();
		return;
	}
	ExpressionIterator::EnumerateChildren(*expr,
	                                      [&](unique_ptr<Expression> &child) { ReplaceIn(child, replaced, by); });
}

static void ReplaceIn(LogicalOperator &op, const Expression &replaced, const Expression &by) {
	LogicalOperatorVisitor::EnumerateExpressions(op,
	                                             [&](unique_ptr<Expression> *expr) { ReplaceIn(*expr, replaced, by); });
	for (auto &child : op.children) {
		ReplaceIn(*child, replaced, by);
	}
}

//! Whether a condition of `op` or below computes, or might after optimization, with `query`.
static bool IsInCondition(LogicalOperator &op, const DistanceMatcher &matcher, const Expression &query) {
	bool result = false;
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_PROJECTION:
	case LogicalOperatorType::LOGICAL_GET:
	case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
		break;
	case LogicalOperatorType::LOGICAL_FILTER:
	case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
		LogicalOperatorVisitor::EnumerateExpressions(op, [&](unique_ptr<Expression> *expr) {
			result = result || Contains(*matcher.Resolve((*expr)->Copy()), query);
		});
		break;
	default:
		return true;
	}
	for (auto &child : op.children) {
		result = result || IsInCondition(*child, matcher, query);
	}
	return result;
}

//! Puts a parameter in the place of a query vector wherever `op` and what is below compute with it. Otherwise each of
//! DuckDB's optimizers that copies, hashes, names or estimates an expression does it for all elements: a third of a short
//! query's time.
static void HideQuery(ClientContext &context, LogicalOperator &op, const DistanceMatcher &matcher,
                      const Expression &query, idx_t number) {
	// DuckDB's statistics of conditions on ARRAYs take no parameters.
	if (!query.GetReturnType().IsNested() || !query.IsFoldable() || IsInCondition(*op.children[0], matcher, query)) {
		return;
	}
	Value value;
	if (query.GetExpressionClass() == ExpressionClass::BOUND_CONSTANT) {
		value = query.Cast<BoundConstantExpression>().GetValue();
	} else if (!ExpressionExecutor::TryEvaluateScalar(context, query, value)) {
		return;
	}
	// parameters are equal if their names are; no user's has spaces
	BoundParameterExpression parameter(Identifier(StringUtil::Format("query vector %llu", number)));
	parameter.ParameterDataMutable() = make_shared_ptr<BoundParameterData>(std::move(value));
	parameter.SetReturnType(query.GetReturnType());
	ReplaceIn(op, query, parameter);
}

//! Whether no condition on what `op` returns is ever moved below it.
static bool IsTop(const LogicalOperator &op) {
	return op.type == LogicalOperatorType::LOGICAL_PROJECTION || op.type == LogicalOperatorType::LOGICAL_LIMIT;
}

//! What the first half of the rule has to tell the second one about the query that is being planned.
class Paged : public ClientContextState {
public:
	static constexpr const char *NAME = "vss_paged";

	//! Scans below an ORDER BY with an OFFSET, be it 0.
	unordered_set<idx_t> scans;
	//! There is a CTE below one: then it may be any scan.
	bool all = false;
};

static bool IsPaged(ClientContext &context, const LogicalGet &scan) {
	auto paged = context.registered_state->Get<Paged>(Paged::NAME);
	return paged && (paged->all || paged->scans.count(scan.table_index.index) > 0);
}

static void NotePaged(Paged &paged, const LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_LIMIT) {
		return; // the rows of a query of its own
	}
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		paged.scans.insert(op.Cast<LogicalGet>().table_index.index);
	}
	paged.all = paged.all || op.type == LogicalOperatorType::LOGICAL_CTE_REF;
	for (auto &child : op.children) {
		NotePaged(paged, *child);
	}
}

//! `top`: there is nothing above `op` whose conditions might be moved below it. `paged`: only projections lie between `op` and an OFFSET.
//! `queries`: query vectors hidden so far.
static void KeepTopN(ClientContext &context, LogicalOperator &op, bool top, bool paged, idx_t &queries) {
	if (paged && op.type == LogicalOperatorType::LOGICAL_ORDER_BY) {
		NotePaged(*context.registered_state->GetOrCreate<Paged>(Paged::NAME), op);
	}
	auto order = FirstOrder(op);
	if (order) {
		DistanceMatcher matcher(context, *op.children[0]);
		auto match = matcher.Match(*order, 0);
		if (match) {
			PlanNotes::Add(*match->get.GetTable(), match->search.index_name, PlanNotes::Stage::LIMIT,
			               "the ORDER BY has no LIMIT, or none that is constant");
			match->get.function.late_materialization = false;
			if (top && op.type == LogicalOperatorType::LOGICAL_ORDER_BY) {
				HideQuery(context, op, matcher, *match->query, ++queries);
			}
		}
	}
	if (op.type == LogicalOperatorType::LOGICAL_LIMIT) {
		paged = op.Cast<LogicalLimit>().offset_val.Type() != LimitNodeType::UNSET;
	} else {
		paged = paged && op.type == LogicalOperatorType::LOGICAL_PROJECTION;
	}
	for (auto &child : op.children) {
		KeepTopN(context, *child, top && IsTop(op), paged, queries);
	}
}

static void PreOptimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	auto &context = input.context;
	Backlog::Note(context, *plan);
	context.registered_state->Remove(Paged::NAME);
	idx_t queries = 0;
	KeepTopN(context, *plan, true, false, queries);
}

//---------------------------------------------------------------------------------------------------------------------
// After DuckDB's optimizers
//---------------------------------------------------------------------------------------------------------------------

string RefuseGet(const LogicalGet &get) {
	if (get.extra_info.sample_options) {
		return "the table is sampled";
	}
	if (get.row_group_order_options || !get.scan_partition_indices.empty()) {
		return "the scan is pruned for another order";
	}
	if (get.has_pushed_projection || get.ordinality_idx.IsValid() || !get.children.empty()) {
		return "the scan does more than read columns";
	}
	for (auto &column : get.GetColumnIds()) {
		StorageIndex storage_index;
		auto row_id = column.IsVirtualColumn() && column.IsRowIdColumn();
		if (!row_id && (column.IsVirtualColumn() || !get.TryGetStorageIndex(column, storage_index))) {
			return "the query uses a virtual column other than rowid";
		}
	}
	return string();
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

//! An ORDER BY with a LIMIT that is known.
struct OrderedLimit {
	//! Nothing if the operator at hand is none.
	optional_ptr<LogicalOperator> order;
	optional_ptr<vector<BoundOrderByNode>> keys;
	//! limit + offset
	idx_t wanted = 0;
};

static idx_t SaturatingSum(idx_t left, idx_t right) {
	return left + MinValue<idx_t>(right, NumericLimits<idx_t>::Maximum() - left);
}

//! TOP_N or, as DuckDB plans large limits, LIMIT → PROJECTION … → ORDER BY.
static OrderedLimit FindOrderedLimit(LogicalOperator &op) {
	OrderedLimit result;
	if (op.type == LogicalOperatorType::LOGICAL_TOP_N) {
		auto &top_n = op.Cast<LogicalTopN>();
		return {op, top_n.orders, SaturatingSum(top_n.limit, top_n.offset)};
	}
	if (op.type != LogicalOperatorType::LOGICAL_LIMIT) {
		return result;
	}
	auto &limit = op.Cast<LogicalLimit>();
	auto unset_offset = limit.offset_val.Type() == LimitNodeType::UNSET;
	if (limit.limit_val.Type() != LimitNodeType::CONSTANT_VALUE ||
	    (!unset_offset && limit.offset_val.Type() != LimitNodeType::CONSTANT_VALUE)) {
		return result;
	}
	reference<LogicalOperator> below(*op.children[0]);
	while (below.get().type == LogicalOperatorType::LOGICAL_PROJECTION) {
		below = *below.get().children[0];
	}
	if (below.get().type != LogicalOperatorType::LOGICAL_ORDER_BY) {
		return result;
	}
	auto &order = below.get().Cast<LogicalOrder>();
	auto offset = unset_offset ? 0 : limit.offset_val.GetConstantValue();
	return {order, order.orders, SaturatingSum(limit.limit_val.GetConstantValue(), offset)};
}

void CollectScans(LogicalOperator &op, vector<reference<LogicalGet>> &scans) {
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		scans.push_back(op.Cast<LogicalGet>());
	}
	for (auto &child : op.children) {
		CollectScans(*child, scans);
	}
}

//! Puts a search of the index, and what it needs, in the place of `scan` below `limit`; false if it cannot.
static bool ReplaceScan(Binder &binder, OrderedLimit &limit, LogicalGet &scan) {
	auto &context = binder.context;
	auto &below = limit.order->children[0];
	DistanceMatcher matcher(context, *below, scan);
	auto match = matcher.Match((*limit.keys)[0], limit.wanted);
	if (!match) {
		return false;
	}
	auto &table = *scan.GetTable();
	auto index = match->search.index_name;
	auto refuse = [&](const string &reason) {
		PlanNotes::Add(table, index, PlanNotes::Stage::PLAN, reason);
		return false;
	};
	auto refusal = RefuseGet(scan);
	if (!refusal.empty()) {
		return refuse(refusal);
	}
	ScanPath path(below, matcher, *match, refusal);
	if (!refusal.empty()) {
		return refuse(refusal);
	}
	if (path.HasFilter() && !PrefilterEnabled(context)) {
		return refuse("the query has a filter, and hnsw_prefilter is false");
	}
	optional_idx probe_step;
	if (!ReferencedTables(*match->query).empty()) {
		probe_step = path.FindProbes(*match->query);
		if (!probe_step.IsValid()) {
			return refuse("the query vector is computed from several tables");
		}
	}
	idx_t probe_child = 1;
	optional_ptr<unique_ptr<LogicalOperator>> product;
	if (probe_step.IsValid()) {
		// above the product no condition may depend on the query vector: the rows that qualify are looked for once
		product = path.FiltersByProbe(probe_step.GetIndex())
		              ? nullptr
		              : path.ProductAboveSlot(probe_step.GetIndex(), probe_child);
	}
	if (IsPaged(context, scan)) {
		match->search.TakePages();
	}
	auto further_keys = limit.keys->size() > 1;
	match->search.ties = further_keys || match->narrows;
	if (further_keys && match->rounds) {
		return refuse("further keys decide between rows that are not at the same distance");
	}
	unique_ptr<LogicalOperator> probes;
	unique_ptr<SplitPath> split;
	try {
		if (probe_step.IsValid() && !product) {
			match->search.one_probe = path.FiltersByProbe(probe_step.GetIndex());
			probes = path.CopyProbes(binder, probe_step.GetIndex(), *match->query);
			if (!probes) {
				return refuse(
				    "there are several query vectors, each for some of the rows, or they differ when read again");
			}
			match->query = make_uniq<BoundColumnRefExpression>(
			    match->query->GetReturnType(), ColumnBinding(probes->GetTableIndex()[0], ProjectionIndex(0)));
		}
		split = make_uniq<SplitPath>(path.Split(binder));
	} catch (const NotImplementedException &ex) {
		return refuse(ErrorData(ex).RawMessage());
	}
	PlanNotes::AddUse(table, match->search, "HNSW_INDEX_SCAN");
	match->search.ranked_only = split->ranked_only;
	reference<unique_ptr<LogicalOperator>> slot(split->slot);
	if (product) {
		slot = *product;
		probes = std::move(slot.get()->children[probe_child]);
	}
	auto search = make_uniq<LogicalHNSWScan>(std::move(split->get), std::move(match->search), std::move(match->query),
	                                         std::move(probes), probe_child == 1);
	if (probe_step.IsValid() && !product) {
		search->HideProbes();
	}
	if (split->filter.plan) {
		search->SetFilter(context, std::move(split->filter));
	}
	slot.get() = std::move(search);
	if (!split->bounds.empty()) {
		auto filter = make_uniq<LogicalFilter>();
		filter->expressions = std::move(split->bounds);
		filter->children.push_back(std::move(slot.get()));
		slot.get() = std::move(filter);
	}
	return true;
}

static void Rewrite(Binder &binder, LogicalOperator &op) {
	auto limit = FindOrderedLimit(op);
	if (limit.order) {
		vector<reference<LogicalGet>> scans;
		CollectScans(*limit.order, scans);
		for (auto &scan : scans) {
			if (ReplaceScan(binder, limit, scan)) {
				break;
			}
		}
	}
	ServeNearest(binder, op);
	for (auto &child : op.children) {
		Rewrite(binder, *child);
	}
}

static void Optimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	PlanNotes::AddPlan();
	Rewrite(input.optimizer.binder, *plan);
}

void RegisterRewrite(DBConfig &config) {
	OptimizerExtension extension;
	extension.pre_optimize_function = PreOptimize;
	extension.optimize_function = Optimize;
	OptimizerExtension::Register(config, std::move(extension));
}

} // namespace duckdb
