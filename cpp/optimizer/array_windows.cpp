#include "optimizer/array_windows.hpp"

#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_window_expression.hpp"
#include "duckdb/planner/operator/logical_window.hpp"
#include "duckdb/planner/planner_extension.hpp"

#include <algorithm>

namespace duckdb {

static bool IsRunningTotalOfArrays(const BoundWindowExpression &window) {
	return window.GetExpressionType() == ExpressionType::WINDOW_AGGREGATE &&
	       window.WindowStart() == WindowBoundary::UNBOUNDED_PRECEDING &&
	       window.WindowEnd() == WindowBoundary::CURRENT_ROW_ROWS &&
	       std::any_of(
	           window.GetChildren().begin(), window.GetChildren().end(),
	           [](const unique_ptr<Expression> &child) { return child->GetReturnType().id() == LogicalTypeId::ARRAY; });
}

static void Materialize(LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_WINDOW) {
		for (auto &expr : op.expressions) {
			auto &window = expr->Cast<BoundWindowExpression>();
			if (IsRunningTotalOfArrays(window)) {
				window.WindowEndMutable() = WindowBoundary::EXPR_FOLLOWING_ROWS;
				window.EndExprMutable() = make_uniq<BoundConstantExpression>(Value::BIGINT(0));
			}
		}
	}
	for (auto &child : op.children) {
		Materialize(*child);
	}
}

static void AfterBinding(PlannerExtensionInput &, BoundStatement &statement) {
	if (statement.plan) {
		Materialize(*statement.plan);
	}
}

void RegisterArrayWindows(DBConfig &config) {
	PlannerExtension extension;
	extension.post_bind_function = AfterBinding;
	PlannerExtension::Register(config, std::move(extension));
}

} // namespace duckdb
