#include "optimizer/correlations.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/operator/logical_join.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/planner_extension.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "optimizer/order_key.hpp"

namespace duckdb {

//! Whether `expr` is a column of the query directly around this one.
static bool IsOuterColumn(const Expression &expr) {
	return expr.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF &&
	       expr.Cast<BoundColumnRefExpression>().Depth() == 1;
}

static bool HasOuterColumn(const Expression &expr) {
	bool result = expr.GetExpressionClass() == ExpressionClass::BOUND_SUBQUERY ||
	              (expr.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF &&
	               expr.Cast<BoundColumnRefExpression>().Depth() > 0);
	ExpressionIterator::EnumerateChildren(expr,
	                                      [&](const Expression &child) { result = result || HasOuterColumn(child); });
	return result;
}

//! What `expr` casts to a wider integer type; null if it does not.
static optional_ptr<const Expression> Widened(const Expression &expr) {
	if (!BoundCastExpression::IsCast(expr)) {
		return nullptr;
	}
	auto &child = BoundCastExpression::Child(expr.Cast<BoundFunctionExpression>());
	auto &from = child.GetReturnType();
	auto &to = expr.GetReturnType();
	auto widens = from.IsIntegral() && to.IsIntegral() &&
	              GetTypeIdSize(from.InternalType()) < GetTypeIdSize(to.InternalType()) &&
	              from.IsUnsigned() == to.IsUnsigned();
	return widens ? optional_ptr<const Expression>(child) : nullptr;
}

//! Whether computing `expr` may fail for some rows and not for others. DuckDB says so of every cast.
static bool CanFail(const Expression &expr) {
	if (!expr.CanThrow() || expr.IsFoldable()) {
		return false;
	}
	if (auto widened = Widened(expr)) {
		return CanFail(*widened);
	}
	auto own =
	    expr.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION && !BoundComparisonExpression::IsComparison(expr);
	bool result = own;
	ExpressionIterator::EnumerateChildren(expr, [&](const Expression &child) { result = result || CanFail(child); });
	return result;
}

//! An equality of an outer column with an expression of the subquery's own.
struct Correlation {
	unique_ptr<Expression> own;
	unique_ptr<Expression> outer;
};

//! `own` as it may be computed for every row of the subquery, before its other conditions. A cast between integers must
//! not fail then: a number that does not fit equals none of the outer column, so NULL is right. Null if `own` may fail.
static unique_ptr<Expression> WithoutErrors(ClientContext &context, const Expression &own) {
	if (BoundCastExpression::IsCast(own)) {
		auto &child = BoundCastExpression::Child(own.Cast<BoundFunctionExpression>());
		if (child.GetReturnType().IsIntegral() && own.GetReturnType().IsIntegral() && !child.CanThrow()) {
			return BoundCastExpression::AddCastToType(context, child.Copy(), own.GetReturnType(), true);
		}
	}
	return own.CanThrow() ? nullptr : own.Copy();
}

//! Takes `comparison` as such an equality, also if its outer column is cast. False if it is none, or needs no change.
static bool Simplify(ClientContext &context, const Expression &comparison, Correlation &result) {
	if (comparison.GetExpressionType() != ExpressionType::COMPARE_EQUAL ||
	    !BoundComparisonExpression::IsComparison(comparison)) {
		return false;
	}
	auto &function = comparison.Cast<BoundFunctionExpression>();
	reference<const Expression> own(BoundComparisonExpression::Left(function));
	reference<const Expression> outer(BoundComparisonExpression::Right(function));
	if (HasOuterColumn(own)) {
		std::swap(own, outer);
	}
	if (HasOuterColumn(own) || own.get().IsVolatile() || own.get().IsFoldable()) {
		return false;
	}
	auto computed = WithoutErrors(context, own);
	if (!computed) {
		return false;
	}
	if (IsOuterColumn(outer)) {
		result.own = std::move(computed);
		result.outer = outer.get().Copy();
		return own.get().GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF;
	}
	auto widened = Widened(outer);
	if (!widened || !IsOuterColumn(*widened)) {
		return false;
	}
	// a number that does not fit the narrow type equals none of its values, so TRY_CAST to NULL is right
	result.own = BoundCastExpression::AddCastToType(context, std::move(computed), widened->GetReturnType(), true);
	result.outer = widened->Copy();
	return true;
}

static void ReplaceColumns(LogicalOperator &op, const vector<ColumnBinding> &columns, TableIndex by) {
	LogicalOperatorVisitor::EnumerateExpressions(op, [&](unique_ptr<Expression> *expr) {
		ExpressionIterator::EnumerateExpression(*expr, [&](unique_ptr<Expression> &child) {
			if (child->GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
				return;
			}
			auto &binding = child->Cast<BoundColumnRefExpression>().BindingMutable();
			auto position = std::find(columns.begin(), columns.end(), binding);
			if (position != columns.end()) {
				binding = ColumnBinding(by, ProjectionIndex(UnsafeNumericCast<idx_t>(position - columns.begin())));
			}
		});
	});
}

//! Whether an expression of `op` has a subquery, which may refer to columns of `op`.
static bool HasSubquery(LogicalOperator &op) {
	bool result = false;
	LogicalOperatorVisitor::EnumerateExpressions(
	    op, [&](unique_ptr<Expression> *expr) { result = result || (*expr)->HasSubquery(); });
	return result;
}

static bool HasDependentJoin(const LogicalOperator &op) {
	return op.type == LogicalOperatorType::LOGICAL_DEPENDENT_JOIN ||
	       std::any_of(op.children.begin(), op.children.end(),
	                   [](const unique_ptr<LogicalOperator> &child) { return HasDependentJoin(*child); });
}

//! Puts a projection below `filter` that computes the own sides of its comparisons with outer columns. `above` is the
//! projection over it.
static void SimplifyFilter(Binder &binder, LogicalProjection &above, LogicalFilter &filter) {
	auto &child = filter.children[0];
	if (HasSubquery(above) || HasSubquery(filter) || HasDependentJoin(*child) || !filter.projection_map.empty()) {
		return;
	}
	child->ResolveOperatorTypes();
	auto columns = child->GetColumnBindings();
	auto table = binder.GenerateTableIndex();
	vector<unique_ptr<Expression>> computed;
	for (idx_t i = 0; i < columns.size(); i++) {
		computed.push_back(make_uniq<BoundColumnRefExpression>(child->types[i], columns[i]));
	}
	vector<unique_ptr<Expression>> conditions;
	LogicalFilter::SplitPredicates(filter.expressions);
	for (auto &expr : filter.expressions) {
		Correlation correlation;
		if (!Simplify(binder.context, *expr, correlation)) {
			if (CanFail(*expr)) {
				return; // DuckDB might check it for other rows than it does now
			}
			conditions.push_back(expr->Copy());
			continue;
		}
		auto own = make_uniq<BoundColumnRefExpression>(correlation.own->GetReturnType(),
		                                               ColumnBinding(table, ProjectionIndex(computed.size())));
		computed.push_back(std::move(correlation.own));
		conditions.push_back(BoundComparisonExpression::Create(ExpressionType::COMPARE_EQUAL, std::move(own),
		                                                       std::move(correlation.outer)));
	}
	if (computed.size() == columns.size()) {
		return;
	}
	filter.expressions = std::move(conditions);
	auto projection = make_uniq<LogicalProjection>(table, std::move(computed));
	projection->children.push_back(std::move(child));
	child = std::move(projection);
	ReplaceColumns(filter, columns, table);
	ReplaceColumns(above, columns, table);
}

//! Changes filters directly below a projection of the subquery: nothing above the projection refers to their columns.
static void SimplifySubquery(Binder &binder, LogicalOperator &op) {
	for (auto &child : op.children) {
		if (op.type == LogicalOperatorType::LOGICAL_PROJECTION && child->type == LogicalOperatorType::LOGICAL_FILTER) {
			SimplifyFilter(binder, op.Cast<LogicalProjection>(), child->Cast<LogicalFilter>());
		}
		SimplifySubquery(binder, *child);
	}
}

//! Only EXISTS and IN: DuckDB's filters reach the tables of other subqueries as they are.
static void SimplifyAll(Binder &binder, LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_DEPENDENT_JOIN && op.Cast<LogicalJoin>().join_type == JoinType::MARK) {
		SimplifySubquery(binder, *op.children[1]);
	}
	for (auto &child : op.children) {
		SimplifyAll(binder, *child);
	}
}

//! Whether an expression of `op`, or below, contains a distance.
static bool HasDistance(LogicalOperator &op) {
	bool result = false;
	LogicalOperatorVisitor::EnumerateExpressions(
	    op, [&](unique_ptr<Expression> *expr) { result = result || HasDistance(**expr); });
	for (auto &child : op.children) {
		result = result || HasDistance(*child);
	}
	return result;
}

//! Whether `op` reads a table that has indexes.
static bool ReadsIndexed(const LogicalOperator &op) {
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		auto table = op.Cast<LogicalGet>().GetTable();
		return table && table->IsDuckTable() && !table->GetStorage().GetDataTableInfo()->GetIndexes().Empty();
	}
	return std::any_of(op.children.begin(), op.children.end(),
	                   [](const unique_ptr<LogicalOperator> &child) { return ReadsIndexed(*child); });
}

static void AfterBinding(PlannerExtensionInput &input, BoundStatement &statement) {
	if (!statement.plan || !HasDependentJoin(*statement.plan) ||
	    Optimizer::OptimizerDisabled(input.context, OptimizerType::EXTENSION)) {
		return;
	}
	if (ReadsIndexed(*statement.plan) && HasDistance(*statement.plan)) {
		SimplifyAll(input.binder, *statement.plan);
	}
}

void RegisterCorrelations(DBConfig &config) {
	PlannerExtension extension;
	extension.post_bind_function = AfterBinding;
	PlannerExtension::Register(config, std::move(extension));
}

} // namespace duckdb
