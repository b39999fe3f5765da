#include "optimizer/order_key.hpp"

#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/planner/expression/bound_case_expression.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_operator_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "vss/src/bridge/mod.rs.h"

#include <cmath>

namespace duckdb {

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

void Resolve(unique_ptr<Expression> &expr, const Projections &projections) {
	if (expr->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
		auto binding = expr->Cast<BoundColumnRefExpression>().Binding();
		auto entry = projections.find(binding.table_index.index);
		if (entry != projections.end()) {
			expr = entry->second.get()[binding.column_index]->Copy();
			Resolve(expr, projections);
		}
		return;
	}
	ExpressionIterator::EnumerateChildren(*expr, [&](unique_ptr<Expression> &child) { Resolve(child, projections); });
}

Projections ProjectionsOf(const LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_PROJECTION:
		return {{op.Cast<LogicalProjection>().table_index.index, op.expressions}};
	case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
		return {{op.Cast<LogicalAggregate>().group_index.index, op.Cast<LogicalAggregate>().groups}};
	default:
		return {};
	}
}

void ResolveIn(unique_ptr<Expression> &expr, const LogicalOperator &op) {
	Resolve(expr, ProjectionsOf(op));
}

bool Contains(const Expression &expr, const Expression &part) {
	if (expr.Equals(part)) {
		return true;
	}
	bool result = false;
	ExpressionIterator::EnumerateChildren(expr,
	                                      [&](const Expression &child) { result = result || Contains(child, part); });
	return result;
}

LogicalOperator &ResolveBelow(unique_ptr<Expression> &expr, LogicalOperator &op) {
	reference<LogicalOperator> below(op);
	while (below.get().type == LogicalOperatorType::LOGICAL_PROJECTION) {
		ResolveIn(expr, below);
		below = *below.get().children[0];
	}
	return below;
}

bool HasDistance(const Expression &expr) {
	bool result = false;
	if (expr.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
		auto &name = expr.Cast<BoundFunctionExpression>().Function().GetName().GetIdentifierName();
		vss::Metric metric;
		result = vss::ranking_metric(name, false, metric) || vss::ranking_metric(name, true, metric);
	}
	ExpressionIterator::EnumerateChildren(expr,
	                                      [&](const Expression &child) { result = result || HasDistance(child); });
	return result;
}

static bool IsReal(const LogicalType &type) {
	return type.id() == LogicalTypeId::FLOAT || type.id() == LogicalTypeId::DOUBLE;
}

//! The value of a foldable number.
static double ConstantOr(ClientContext &context, const Expression &expr, double otherwise = NAN) {
	Value value;
	if (!expr.IsFoldable() || !ExpressionExecutor::TryEvaluateScalar(context, expr, value)) {
		return otherwise;
	}
	auto number = value.DefaultTryCastAs(LogicalType::DOUBLE);
	return number && !number->IsNull() ? number->GetValue<double>() : otherwise;
}

bool IsCall(const Expression &expr, const char *name, idx_t arguments) {
	return expr.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION &&
	       expr.Cast<BoundFunctionExpression>().Function().GetName() == name &&
	       expr.Cast<BoundFunctionExpression>().GetChildren().size() == arguments;
}

//! Whether `expr` adds a constant well above zero to a distance that is never negative, but for rounding.
static bool IsAboveZero(ClientContext &context, const Expression &expr) {
	static const unordered_set<string> DISTANCES {"array_distance", "<->", "array_cosine_distance", "<=>"};
	if (!IsCall(expr, "+", 2)) {
		return false;
	}
	auto &children = expr.Cast<BoundFunctionExpression>().GetChildren();
	for (idx_t i = 0; i < 2; i++) {
		reference<const Expression> distance(*children[1 - i]);
		while (BoundCastExpression::IsCast(distance.get())) {
			distance = BoundCastExpression::Child(distance.get().Cast<BoundFunctionExpression>());
		}
		if (ConstantOr(context, *children[i], 0) >= 0.001 &&
		    distance.get().GetExpressionClass() == ExpressionClass::BOUND_FUNCTION &&
		    DISTANCES.count(distance.get().Cast<BoundFunctionExpression>().Function().GetName().GetIdentifierName()) >
		        0) {
			return true;
		}
	}
	return false;
}

optional_ptr<const Expression> OperatorArgument(const Expression &expr, ExpressionType type) {
	if (expr.GetExpressionClass() != ExpressionClass::BOUND_OPERATOR || expr.GetExpressionType() != type) {
		return nullptr;
	}
	return *expr.Cast<BoundOperatorExpression>().GetChildren()[0];
}

optional_ptr<const Expression> ComparedWithZero(ClientContext &context, const Expression &expr, ExpressionType equal,
                                                ExpressionType unequal) {
	static const unordered_set<string> PRODUCTS {"array_inner_product", "array_dot_product", "list_inner_product",
	                                             "list_dot_product"};
	if (!BoundComparisonExpression::IsComparison(expr)) {
		return nullptr;
	}
	auto &comparison = expr.Cast<BoundFunctionExpression>();
	auto &product = BoundComparisonExpression::Left(comparison);
	if ((expr.GetExpressionType() != equal && expr.GetExpressionType() != unequal) ||
	    ConstantOr(context, BoundComparisonExpression::Right(comparison)) != 0 ||
	    product.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return nullptr;
	}
	auto &call = product.Cast<BoundFunctionExpression>();
	if (PRODUCTS.count(call.Function().GetName().GetIdentifierName()) == 0 || call.GetChildren().size() != 2 ||
	    !call.GetChildren()[0]->Equals(*call.GetChildren()[1])) {
		return nullptr;
	}
	return *call.GetChildren()[0];
}

//! The number of which `when` tells some that are not finite from all others: `isnan(x)`, if `excludes`, or
//! `isfinite(x)`, if not. Null if it tells others.
static optional_ptr<const Expression> ToldFromFinite(ClientContext &context, const Expression &when, bool excludes) {
	if (auto argument = OperatorArgument(when, ExpressionType::OPERATOR_NOT)) {
		return ToldFromFinite(context, *argument, !excludes);
	}
	if (BoundComparisonExpression::IsComparison(when)) {
		auto &comparison = when.Cast<BoundFunctionExpression>();
		auto type = excludes ? ExpressionType::COMPARE_EQUAL : ExpressionType::COMPARE_NOTEQUAL;
		auto with_nan = std::isnan(ConstantOr(context, BoundComparisonExpression::Right(comparison), 0));
		return when.GetExpressionType() == type && with_nan ? &BoundComparisonExpression::Left(comparison) : nullptr;
	}
	auto tells = excludes ? IsCall(when, "isnan", 1) || IsCall(when, "isinf", 1) : IsCall(when, "isfinite", 1);
	return tells ? when.Cast<BoundFunctionExpression>().GetChildren()[0].get() : nullptr;
}

//! The branch of `expr` that holds the distance, if the other branch is NULL and taken for vectors without a distance:
//! `CASE WHEN v IS NULL THEN NULL ELSE distance END`.
static optional_ptr<const Expression> GuardedBranch(ClientContext &context, const Expression &expr,
                                                    OrderKeyShape &shape) {
	auto &guarded = expr.Cast<BoundCaseExpression>();
	if (guarded.CaseChecks().size() != 1) {
		return nullptr;
	}
	auto is_null = [](const Expression &branch) {
		reference<const Expression> value(branch);
		while (BoundCastExpression::IsCast(value.get())) {
			value = BoundCastExpression::Child(value.get().Cast<BoundFunctionExpression>());
		}
		return value.get().GetExpressionClass() == ExpressionClass::BOUND_CONSTANT &&
		       value.get().Cast<BoundConstantExpression>().GetValue().IsNull();
	};
	auto &check = guarded.CaseChecks()[0];
	auto excludes = is_null(*check.then_expr);
	if (excludes == is_null(guarded.Else())) {
		return nullptr;
	}
	auto &when = *check.when_expr;
	auto null_type = excludes ? ExpressionType::OPERATOR_IS_NULL : ExpressionType::OPERATOR_IS_NOT_NULL;
	auto equal = excludes ? ExpressionType::COMPARE_EQUAL : ExpressionType::COMPARE_NOTEQUAL;
	auto unequal = excludes ? ExpressionType::COMPARE_LESSTHANOREQUALTO : ExpressionType::COMPARE_GREATERTHAN;
	if (auto vector = OperatorArgument(when, null_type)) {
		shape.not_null.push_back(*vector);
	} else if (auto vector = ComparedWithZero(context, when, equal, unequal)) {
		shape.not_zero.push_back(*vector);
	} else if (auto number = ToldFromFinite(context, when, excludes)) {
		shape.finite.push_back(*number);
	} else {
		return nullptr;
	}
	return excludes ? guarded.Else() : *check.then_expr;
}

//! The argument with which `expr` grows or shrinks; null if there is none. `shrinks`: `expr` shrinks when the argument
//! grows.
static optional_ptr<const Expression> MonotoneArgument(ClientContext &context, const Expression &expr, bool &shrinks,
                                                       bool &rounds) {
	shrinks = false;
	rounds = false;
	if (BoundCastExpression::IsCast(expr)) {
		auto &child = BoundCastExpression::Child(expr.Cast<BoundFunctionExpression>());
		auto widens = IsReal(child.GetReturnType()) && expr.GetReturnType().id() == LogicalTypeId::DOUBLE;
		return widens ? optional_ptr<const Expression>(child) : nullptr;
	}
	auto &children = expr.Cast<BoundFunctionExpression>().GetChildren();
	if (IsCall(expr, "-", 1)) {
		shrinks = true;
		return *children[0];
	}
	rounds = true;
	auto digits = IsCall(expr, "round", 2) && std::isfinite(ConstantOr(context, *children[1]));
	if (digits || IsCall(expr, "round", 1) || IsCall(expr, "floor", 1) || IsCall(expr, "ceil", 1)) {
		return IsReal(children[0]->GetReturnType()) ? optional_ptr<const Expression>(*children[0]) : nullptr;
	}
	auto adds = IsCall(expr, "+", 2);
	auto subtracts = IsCall(expr, "-", 2);
	auto multiplies = IsCall(expr, "*", 2);
	auto divides = IsCall(expr, "/", 2);
	if (!IsReal(expr.GetReturnType()) || !(adds || subtracts || multiplies || divides)) {
		return nullptr;
	}
	auto left = ConstantOr(context, *children[0]);
	auto right = ConstantOr(context, *children[1]);
	if (std::isfinite(left) == std::isfinite(right)) {
		return nullptr;
	}
	auto constant_first = std::isfinite(left);
	auto constant = constant_first ? left : right;
	auto &argument = *children[constant_first ? 1 : 0];
	if (adds) {
		return argument;
	}
	if (subtracts) {
		shrinks = constant_first;
		return argument;
	}
	if (constant == 0) {
		return nullptr;
	}
	shrinks = constant < 0;
	if (multiplies || (divides && !constant_first)) {
		return argument;
	}
	if (divides && IsAboveZero(context, argument)) {
		shrinks = !shrinks;
		return argument;
	}
	return nullptr;
}

const Expression &PeelOrderKey(ClientContext &context, const Expression &expr, OrderKeyShape &shape) {
	if (expr.GetExpressionClass() == ExpressionClass::BOUND_CASE) {
		auto branch = GuardedBranch(context, expr, shape);
		return branch ? PeelOrderKey(context, *branch, shape) : expr;
	}
	if (expr.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) {
		return expr;
	}
	bool shrinks;
	bool rounds;
	auto argument = MonotoneArgument(context, expr, shrinks, rounds);
	if (!argument) {
		return expr;
	}
	shape.descending = shape.descending != shrinks;
	shape.rounds = shape.rounds || rounds;
	return PeelOrderKey(context, *argument, shape);
}

static bool IsRealList(const LogicalType &type) {
	return type.id() == LogicalTypeId::LIST && IsReal(ListType::GetChildType(type));
}

bool IsNumbers(const LogicalType &type) {
	return (type.id() == LogicalTypeId::ARRAY && ArrayType::GetChildType(type).IsNumeric()) ||
	       (type.id() == LogicalTypeId::LIST && ListType::GetChildType(type).IsNumeric());
}

static bool IsReals(const LogicalType &type) {
	return IsRealList(type) || (type.id() == LogicalTypeId::ARRAY && IsReal(ArrayType::GetChildType(type)));
}

//! Peels casts off as long as `peels` accepts them.
static const Expression &PeelCasts(const Expression &expr,
                                   bool (*peels)(const BoundFunctionExpression &cast, const LogicalType &source)) {
	reference<const Expression> base(expr);
	while (BoundCastExpression::IsCast(base.get())) {
		auto &cast = base.get().Cast<BoundFunctionExpression>();
		auto &child = BoundCastExpression::Child(cast);
		if (!peels(cast, child.GetReturnType())) {
			break;
		}
		base = child;
	}
	return base;
}

const Expression &VectorBase(const Expression &expr) {
	return PeelCasts(expr, [](const BoundFunctionExpression &cast, const LogicalType &source) {
		return !BoundCastExpression::IsTryCast(cast) && IsReals(cast.GetReturnType()) && IsNumbers(source);
	});
}

const Expression &PeelVectorCast(const Expression &expr) {
	return PeelCasts(expr, [](const BoundFunctionExpression &cast, const LogicalType &source) {
		auto &target = cast.GetReturnType();
		auto from_array =
		    source.id() == LogicalTypeId::ARRAY && ArrayType::GetChildType(source).id() == LogicalTypeId::FLOAT;
		auto from_list = IsRealList(source) && ListType::GetChildType(source).id() == LogicalTypeId::FLOAT;
		auto to_array = target.id() == LogicalTypeId::ARRAY && IsReal(ArrayType::GetChildType(target));
		return (from_array && (to_array || IsRealList(target))) || (from_list && IsRealList(target));
	});
}

} // namespace duckdb
