#include "optimizer/prepare.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/optimizer/join_filter_pushdown_optimizer.hpp"
#include "duckdb/optimizer/late_materialization.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_parameter_data.hpp"
#include "duckdb/planner/expression/bound_parameter_expression.hpp"
#include "duckdb/planner/expression/bound_window_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_limit.hpp"
#include "duckdb/planner/operator/logical_order.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "index/backlog.hpp"
#include "optimizer/distance_matcher.hpp"
#include "optimizer/plan_parts.hpp"

namespace duckdb {

//! The first order key of `op`; null if `op` does not order rows.
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

//! Whether a condition of `op` or below computes with `query`, or might do so after optimization.
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

//! Replaces a query vector by a parameter wherever `op` and the operators below compute with it. Each of DuckDB's
//! optimizers that copies, hashes, names or estimates an expression would otherwise do so for all elements of the
//! vector: a third of a short query's time.
static void HideQuery(ClientContext &context, LogicalOperator &op, const DistanceMatcher &matcher,
                      const Expression &query, idx_t number) {
	// DuckDB's statistics of conditions on ARRAYs cannot handle parameters
	if (!query.GetReturnType().IsNested() || !query.IsFoldable() || IsInCondition(*op.children[0], matcher, query)) {
		return;
	}
	Value value;
	if (query.GetExpressionClass() == ExpressionClass::BOUND_CONSTANT) {
		value = query.Cast<BoundConstantExpression>().GetValue();
	} else if (!ExpressionExecutor::TryEvaluateScalar(context, query, value)) {
		return;
	}
	// parameters are equal if their names are; no name given by a user has spaces
	BoundParameterExpression parameter(Identifier(StringUtil::Format("query vector %llu", number)));
	parameter.ParameterDataMutable() = make_shared_ptr<BoundParameterData>(std::move(value));
	parameter.SetReturnType(query.GetReturnType());
	ReplaceIn(op, query, parameter);
}

//! Whether conditions above `op` are never moved below it.
static bool IsTop(const LogicalOperator &op) {
	return op.type == LogicalOperatorType::LOGICAL_PROJECTION || op.type == LogicalOperatorType::LOGICAL_LIMIT;
}

//! What the first half of the rule tells the second about the query that is being planned.
class Prepared : public ClientContextState {
public:
	static constexpr const char *NAME = "vss_prepared";

	//! Scans below an ORDER BY with an OFFSET, which may be 0.
	unordered_set<idx_t> paged;
	//! A CTE is below such an ORDER BY, so any scan may be.
	bool all = false;
	//! Scans for which late materialization is switched off.
	unordered_set<idx_t> held_back;
};

bool IsPaged(ClientContext &context, const LogicalGet &scan) {
	auto prepared = context.registered_state->Get<Prepared>(Prepared::NAME);
	return prepared && (prepared->all || prepared->paged.count(scan.table_index.index) > 0);
}

static void NotePaged(Prepared &prepared, const LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_LIMIT) {
		return; // a query of its own, with its own rows
	}
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		prepared.paged.insert(op.Cast<LogicalGet>().table_index.index);
	}
	prepared.all = prepared.all || op.type == LogicalOperatorType::LOGICAL_CTE_REF;
	for (auto &child : op.children) {
		NotePaged(prepared, *child);
	}
}

static void HoldBack(ClientContext &context, LogicalGet &scan) {
	if (scan.function.late_materialization) {
		scan.function.late_materialization = false;
		context.registered_state->GetOrCreate<Prepared>(Prepared::NAME)->held_back.insert(scan.table_index.index);
	}
}

static void Restore(Optimizer &optimizer, const Prepared &prepared, unique_ptr<LogicalOperator> &op) {
	auto scan = op->type == LogicalOperatorType::LOGICAL_TOP_N ? ScanBelow(*op->children[0]) : nullptr;
	if (!scan) {
		for (auto &child : op->children) {
			Restore(optimizer, prepared, child);
		}
		return;
	}
	// DuckDB 2.0.0 writes beyond its memory when it materializes late beside rows that the transaction has deleted
	auto &storage = scan->GetTable()->Cast<DuckTableEntry>().GetStorage();
	if (prepared.held_back.count(scan->table_index.index) == 0 ||
	    DuckTransaction::Get(optimizer.GetContext(), storage.db).ChangesMade()) {
		return;
	}
	scan->function.late_materialization = true;
	op = LateMaterialization(optimizer).Optimize(std::move(op));
	if (!Optimizer::OptimizerDisabled(optimizer.GetContext(), OptimizerType::JOIN_FILTER_PUSHDOWN)) {
		// `op` had no join until now, so DuckDB has not done this for it
		JoinFilterPushdownOptimizer(optimizer).VisitOperator(*op);
	}
}

void RestoreLateMaterialization(Optimizer &optimizer, unique_ptr<LogicalOperator> &plan) {
	auto &context = optimizer.GetContext();
	auto prepared = context.registered_state->Get<Prepared>(Prepared::NAME);
	if (prepared && !prepared->held_back.empty() &&
	    !Optimizer::OptimizerDisabled(context, OptimizerType::LATE_MATERIALIZATION)) {
		Restore(optimizer, *prepared, plan);
	}
}

//! Whether `op` ranks rows of `scan` in several groups, and only the first few of each are wanted.
static bool RanksInGroups(LogicalOperator &op, const DistanceMatcher &matcher, const LogicalGet &scan) {
	if (op.type != LogicalOperatorType::LOGICAL_WINDOW) {
		return false;
	}
	auto &partitions = op.expressions[0]->Cast<BoundWindowExpression>().Partitions();
	return std::any_of(partitions.begin(), partitions.end(), [&](const unique_ptr<Expression> &partition) {
		return ReferencedTables(*matcher.Resolve(partition->Copy())).count(scan.table_index.index) > 0;
	});
}

//! `top`: no condition from above might be moved below `op`. `paged`: only projections lie between `op` and an OFFSET
//! above. `limited`: there is a LIMIT above. `queries`: query vectors hidden so far.
static void KeepTopN(ClientContext &context, LogicalOperator &op, bool top, bool paged, bool limited, idx_t &queries) {
	if (paged && op.type == LogicalOperatorType::LOGICAL_ORDER_BY) {
		NotePaged(*context.registered_state->GetOrCreate<Prepared>(Prepared::NAME), op);
	}
	auto order = FirstOrder(op);
	if (order) {
		DistanceMatcher matcher(context, *op.children[0]);
		auto match = matcher.Match(*order, 0);
		if (!match) {
			PlanNotes::AddBelow(*op.children[0], match.refusal.stage, match.refusal.reason);
		} else {
			PlanNotes::Add(
			    *match->get.GetTable(), match->search.index_name, PlanNotes::Stage::LIMIT,
			    "no LIMIT that is a number above 0, and no rank compared with one, says how many rows are wanted");
			// without a LIMIT all groups are wanted, and a search finds only the best ones
			if (limited || !RanksInGroups(op, matcher, match->get)) {
				HoldBack(context, match->get);
			}
			if (top && op.type == LogicalOperatorType::LOGICAL_ORDER_BY) {
				HideQuery(context, op, matcher, *match->query, ++queries);
			}
		}
	}
	if (op.type == LogicalOperatorType::LOGICAL_LIMIT) {
		paged = op.Cast<LogicalLimit>().offset_val.Type() != LimitNodeType::UNSET;
		limited = true;
	} else {
		paged = paged && op.type == LogicalOperatorType::LOGICAL_PROJECTION;
	}
	for (auto &child : op.children) {
		KeepTopN(context, *child, top && IsTop(op), paged, limited, queries);
	}
}

void Prepare(ClientContext &context, LogicalOperator &plan) {
	Backlog::Note(context, plan);
	context.registered_state->Remove(Prepared::NAME);
	idx_t queries = 0;
	KeepTopN(context, plan, true, false, false, queries);
}

} // namespace duckdb
