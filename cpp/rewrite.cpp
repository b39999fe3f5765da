#include "rewrite.hpp"

#include "duckdb/main/config.hpp"
#include "duckdb/optimizer/optimizer_extension.hpp"
#include "duckdb/planner/operator/logical_order.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/operator/logical_top_n.hpp"
#include "match.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Before DuckDB's optimizers
//---------------------------------------------------------------------------------------------------------------------

static void KeepTopN(ClientContext &context, LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_ORDER_BY) {
		auto &order = op.Cast<LogicalOrder>();
		DistanceMatcher matcher(context, *op.children[0], DistanceMatcher::Reach::SUBTREE);
		auto match = matcher.Match(order.orders[0], 0);
		if (match) {
			match->get.function.late_materialization = false;
		}
	}
	for (auto &child : op.children) {
		KeepTopN(context, *child);
	}
}

static void PreOptimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	KeepTopN(input.context, *plan);
}

//---------------------------------------------------------------------------------------------------------------------
// After DuckDB's optimizers
//---------------------------------------------------------------------------------------------------------------------

//! Why the scan of `get` cannot be replaced although an index fits; empty if it can.
static string RefuseGet(const LogicalGet &get) {
	if (get.table_filters.HasFilters() || get.table_filters.HasMultiColumnFilters()) {
		return "the query has a filter";
	}
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

//! The operator below the projections under a TOP_N; nothing if a projection must see every row.
static optional_ptr<unique_ptr<LogicalOperator>> BelowProjections(unique_ptr<LogicalOperator> &op) {
	reference<unique_ptr<LogicalOperator>> current(op);
	while (current.get()->type == LogicalOperatorType::LOGICAL_PROJECTION) {
		for (auto &expr : current.get()->expressions) {
			if (expr->IsVolatile()) {
				return nullptr;
			}
		}
		current = current.get()->children[0];
	}
	return current.get();
}

static bool HasBindingsOf(LogicalOperator &op, const Expression &expr) {
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

//! Replaces a table scan, or the cross product of one with query vectors, under `top_n`.
static void ReplaceScan(ClientContext &context, LogicalTopN &top_n) {
	if (top_n.orders.size() != 1) {
		return; // ties at the limit are resolved by keys the index does not know
	}
	auto found = BelowProjections(top_n.children[0]);
	if (!found) {
		return;
	}
	auto &leaf = *found;
	auto cross_product = leaf->type == LogicalOperatorType::LOGICAL_CROSS_PRODUCT;
	if (!cross_product && leaf->type != LogicalOperatorType::LOGICAL_GET) {
		return; // something between the order and the table drops, adds or combines rows
	}
	auto wanted = top_n.limit + MinValue<idx_t>(top_n.offset, NumericLimits<idx_t>::Maximum() - top_n.limit);
	DistanceMatcher matcher(context, *top_n.children[0], DistanceMatcher::Reach::CHAIN);
	auto match = matcher.Match(top_n.orders[0], wanted);
	if (!match || !RefuseGet(match->get).empty()) {
		return;
	}
	if (!cross_product) {
		if (leaf.get() != &match->get || !ReferencedTables(*match->query).empty()) {
			return;
		}
		auto get = unique_ptr_cast<LogicalOperator, LogicalGet>(std::move(leaf));
		leaf = make_uniq<LogicalHNSWScan>(std::move(get), std::move(match->search), std::move(match->query), nullptr,
		                                  true);
		return;
	}
	auto get_first = leaf->children[0].get() == &match->get;
	if (!get_first && leaf->children[1].get() != &match->get) {
		return;
	}
	auto &probes = leaf->children[get_first ? 1 : 0];
	if (!HasBindingsOf(*probes, *match->query)) {
		return; // the query vector is no column of the other side
	}
	auto get = unique_ptr_cast<LogicalOperator, LogicalGet>(std::move(leaf->children[get_first ? 0 : 1]));
	leaf = make_uniq<LogicalHNSWScan>(std::move(get), std::move(match->search), std::move(match->query),
	                                  std::move(probes), get_first);
}

static void Rewrite(ClientContext &context, LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_TOP_N) {
		ReplaceScan(context, op.Cast<LogicalTopN>());
	}
	for (auto &child : op.children) {
		Rewrite(context, *child);
	}
}

static void Optimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	Rewrite(input.context, *plan);
}

void RegisterRewrite(DBConfig &config) {
	OptimizerExtension extension;
	extension.pre_optimize_function = PreOptimize;
	extension.optimize_function = Optimize;
	OptimizerExtension::Register(config, std::move(extension));
}

} // namespace duckdb
