#include "optimizer/rewrite.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/optimizer/optimizer_extension.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_limit.hpp"
#include "duckdb/planner/operator/logical_order.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/operator/logical_top_n.hpp"
#include "host/settings.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/nearest.hpp"
#include "optimizer/prepare.hpp"
#include "optimizer/scan_path.hpp"

namespace duckdb {

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

static void PreOptimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	Prepare(input.context, *plan);
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
