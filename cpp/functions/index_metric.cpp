#include "functions/index_metric.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_subquery_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_cteref.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/operator/logical_materialized_cte.hpp"
#include "duckdb/planner/planner_extension.hpp"
#include "functions/index_lookup.hpp"
#include "index/hnsw_index.hpp"
#include "optimizer/distance_matcher.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

static constexpr const char *NAME = "hnsw_metric";

//! Positions of the arguments.
static constexpr idx_t VECTORS = 0;
static constexpr idx_t METRIC = 1;
static constexpr idx_t OTHERWISE = 2;
static constexpr idx_t CALLER = 3;

//! The name under which the metric `given` is shown.
static string MetricName(const Value &given, const Value &caller) {
	auto metric = vss::Metric::L2sq;
	if (given.IsNull() || !vss::find_metric(rust::Str(given.ToString()), metric)) {
		throw InvalidInputException("%s: metric is %s; use one of %s", caller.ToString(),
		                            given.IsNull() ? "NULL" : given.ToSQLString(), string(vss::metric_names()));
	}
	return string(vss::metric_name(metric));
}

//! Runs only where no plan was looked at: then no index is known.
static void Execute(DataChunk &args, ExpressionState &, Vector &result) {
	for (idx_t row = 0; row < args.size(); row++) {
		auto given = args.data[METRIC].GetValue(row);
		given = given.IsNull() ? args.data[OTHERWISE].GetValue(row) : given;
		result.SetValue(row, Value(MetricName(given, args.data[CALLER].GetValue(row))));
	}
	if (args.AllConstant()) {
		result.SetVectorType(VectorType::CONSTANT_VECTOR);
	}
}

namespace {

//! Replaces `hnsw_metric` in a plan that was just bound.
class MetricFinder {
public:
	MetricFinder(ClientContext &context_p, LogicalOperator &plan) : context(context_p) {
		Collect(plan);
	}

	void Replace() {
		for (auto &call : calls) {
			Replace(call);
		}
	}

private:
	void Collect(LogicalOperator &op);
	void Collect(unique_ptr<Expression> &expr);
	void Replace(unique_ptr<Expression> &expr);
	//! Replaces columns in `expr` by the expressions behind them, until only columns of tables are left.
	void Follow(unique_ptr<Expression> &expr) const;
	//! The names of the metrics of the indexes on `vectors`, in the order of the indexes' creation.
	vector<string> MetricsOn(const Expression &vectors);

	ClientContext &context;
	vector<reference<unique_ptr<Expression>>> calls;
	//! By table index: operators whose columns come from elsewhere, that is projections and references to CTEs.
	unordered_map<idx_t, reference<LogicalOperator>> sources;
	//! The plans of CTEs.
	unordered_map<idx_t, reference<LogicalOperator>> ctes;
	unordered_map<idx_t, reference<LogicalGet>> gets;
};

void MetricFinder::Collect(LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_PROJECTION:
		sources.emplace(op.GetTableIndex()[0].index, op);
		break;
	case LogicalOperatorType::LOGICAL_CTE_REF:
		sources.emplace(op.Cast<LogicalCTERef>().table_index.index, op);
		break;
	case LogicalOperatorType::LOGICAL_MATERIALIZED_CTE:
		ctes.emplace(op.Cast<LogicalMaterializedCTE>().table_index.index, *op.children[0]);
		break;
	case LogicalOperatorType::LOGICAL_GET:
		gets.emplace(op.Cast<LogicalGet>().table_index.index, op.Cast<LogicalGet>());
		break;
	default:
		break;
	}
	LogicalOperatorVisitor::EnumerateExpressions(op, [&](unique_ptr<Expression> *expr) { Collect(*expr); });
	for (auto &child : op.children) {
		Collect(*child);
	}
}

void MetricFinder::Collect(unique_ptr<Expression> &expr) {
	if (expr->GetExpressionClass() == ExpressionClass::BOUND_SUBQUERY) {
		auto &plan = expr->Cast<BoundSubqueryExpression>().SubqueryMutable().plan;
		if (plan) {
			Collect(*plan);
		}
	}
	if (IsCall(*expr, NAME, CALLER + 1)) {
		calls.push_back(expr);
		return;
	}
	ExpressionIterator::EnumerateChildren(*expr, [&](unique_ptr<Expression> &child) { Collect(child); });
}

void MetricFinder::Follow(unique_ptr<Expression> &expr) const {
	if (expr->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
		ExpressionIterator::EnumerateChildren(*expr, [&](unique_ptr<Expression> &child) { Follow(child); });
		return;
	}
	auto binding = expr->Cast<BoundColumnRefExpression>().Binding();
	auto source = sources.find(binding.table_index.index);
	if (source == sources.end()) {
		return;
	}
	auto &op = source->second.get();
	if (op.type == LogicalOperatorType::LOGICAL_PROJECTION) {
		expr = op.expressions[binding.column_index]->Copy();
	} else {
		auto cte = ctes.find(op.Cast<LogicalCTERef>().cte_index.index);
		if (cte == ctes.end()) {
			return; // a recursive CTE
		}
		auto column = cte->second.get().GetColumnBindings()[binding.column_index];
		expr = make_uniq<BoundColumnRefExpression>(expr->GetReturnType(), column);
	}
	Follow(expr);
}

vector<string> MetricFinder::MetricsOn(const Expression &vectors) {
	auto column = vectors.Copy();
	Follow(column);
	auto &key = PeelVectorCast(*column);
	auto tables = ReferencedTables(key);
	auto found = tables.size() == 1 ? gets.find(*tables.begin()) : gets.end();
	auto table = found == gets.end() ? nullptr : found->second.get().GetTable();
	vector<string> result;
	if (!table || !table->IsDuckTable()) {
		return result;
	}
	auto &duck_table = table->Cast<DuckTableEntry>();
	for (auto &index : FindIndexes(context, duck_table)) {
		HNSWIndex::Visit(*index.index, [&](const HNSWIndex &hnsw) {
			string name(vss::metric_name(hnsw.Options().metric));
			auto known = std::find(result.begin(), result.end(), name) != result.end();
			if (!known && IsKeyOf(context, hnsw, key, found->second, duck_table)) {
				result.push_back(std::move(name));
			}
		});
	}
	return result;
}

void MetricFinder::Replace(unique_ptr<Expression> &expr) {
	auto &arguments = expr->Cast<BoundFunctionExpression>().GetChildrenMutable();
	Value given;
	Value otherwise;
	Value caller;
	auto evaluate = [&](idx_t argument, Value &value) {
		auto &of = *arguments[argument];
		return of.IsFoldable() && !of.HasParameter() && ExpressionExecutor::TryEvaluateScalar(context, of, value);
	};
	if (!evaluate(OTHERWISE, otherwise) || !evaluate(CALLER, caller)) {
		return;
	}
	auto is_known = evaluate(METRIC, given);
	if (is_known && !given.IsNull()) {
		expr = make_uniq<BoundConstantExpression>(Value(MetricName(given, caller)));
		return;
	}
	auto metrics = MetricsOn(*arguments[VECTORS]);
	if (metrics.size() == 1) {
		otherwise = Value(metrics[0]);
	} else if (!metrics.empty() && (otherwise.IsNull() ||
	                                std::find(metrics.begin(), metrics.end(), otherwise.ToString()) == metrics.end())) {
		if (is_known) {
			throw BinderException("%s: the vectors have indexes of the metrics '%s': say by which one, metric := '%s'",
			                      caller.ToString(), StringUtil::Join(metrics, "' and '"), metrics[0]);
		}
		otherwise = Value(LogicalType::VARCHAR);
	}
	if (is_known) {
		expr = make_uniq<BoundConstantExpression>(Value(MetricName(otherwise, caller)));
		return;
	}
	// a parameter gives the metric, or is NULL
	arguments[VECTORS] = make_uniq<BoundConstantExpression>(Value(arguments[VECTORS]->GetReturnType()));
	arguments[OTHERWISE] = make_uniq<BoundConstantExpression>(std::move(otherwise));
}

} // namespace

static void AfterBinding(PlannerExtensionInput &input, BoundStatement &statement) {
	if (statement.plan) {
		MetricFinder(input.context, *statement.plan).Replace();
	}
}

void RegisterIndexMetric(ExtensionLoader &loader) {
	ScalarFunction function(NAME, {LogicalType::ANY, LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::VARCHAR},
	                        LogicalType::VARCHAR, Execute);
	function.SetNullHandling(FunctionNullHandling::SPECIAL_HANDLING);
	function.SetFallible();
	loader.RegisterFunction(std::move(function));
	PlannerExtension extension;
	extension.post_bind_function = AfterBinding;
	PlannerExtension::Register(DBConfig::GetConfig(loader.GetDatabaseInstance()), std::move(extension));
}

} // namespace duckdb
