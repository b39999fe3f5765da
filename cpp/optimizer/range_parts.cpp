#include "optimizer/range_parts.hpp"

#include "duckdb/planner/expression/bound_between_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

void AddParts(const Expression &predicate, vector<unique_ptr<Expression>> &parts) {
	if (predicate.GetExpressionType() == ExpressionType::CONJUNCTION_AND) {
		for (auto &child : predicate.Cast<BoundConjunctionExpression>().GetChildren()) {
			AddParts(*child, parts);
		}
	} else if (predicate.GetExpressionType() == ExpressionType::COMPARE_BETWEEN &&
	           predicate.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION && !predicate.IsVolatile()) {
		auto &between = predicate.Cast<BoundFunctionExpression>();
		auto add = [&](ExpressionType type, const Expression &bound) {
			parts.push_back(
			    BoundComparisonExpression::Create(type, BoundBetweenExpression::Input(between).Copy(), bound.Copy()));
		};
		add(BoundBetweenExpression::LowerComparisonType(between), BoundBetweenExpression::LowerBound(between));
		add(BoundBetweenExpression::UpperComparisonType(between), BoundBetweenExpression::UpperBound(between));
	} else {
		parts.push_back(predicate.Copy());
	}
}

unique_ptr<DistanceMatch> MatchFirstBound(const DistanceMatcher &matcher, const vector<unique_ptr<Expression>> &parts,
                                          Refusal &refusal) {
	unique_ptr<DistanceMatch> match;
	for (auto &part : parts) {
		auto found = matcher.MatchBound(*part);
		// A condition over something else says nothing about an index. One over another distance is why there is no
		// search.
		if (found.refusal.stage >= PlanNotes::Stage::INDEX) {
			found.refusal.stage = PlanNotes::Stage::PLAN;
			refusal.Merge(std::move(found.refusal));
		}
		if (found && !match) {
			match = std::move(found.found);
		}
	}
	return match;
}

void PutReference(unique_ptr<Expression> &expr, const Expression &part, const char *name) {
	if (expr->Equals(part)) {
		expr = make_uniq<BoundReferenceExpression>(Identifier(name), part.GetReturnType(), 0ULL);
		return;
	}
	ExpressionIterator::EnumerateChildren(*expr,
	                                      [&](unique_ptr<Expression> &child) { PutReference(child, part, name); });
}

DistanceBound MakeBound(const DistanceMatch &match, const Expression &predicate, BoundSide side) {
	auto over_distance = predicate.Copy();
	PutReference(over_distance, *match.distance, "distance");
	auto keeps_near = side == BoundSide::NEAR;
	// a similarity and an inner product may be negative
	auto not_negative = !match.descending && match.search.metric != vss::Metric::Ip;
	auto &function = match.distance->Cast<BoundFunctionExpression>().Function();
	return {std::move(over_distance),        keeps_near,
	        keeps_near != match.descending,  not_negative,
	        match.distance->GetReturnType(), function.GetName().GetIdentifierName()};
}

Refusal RefuseBounds(const DistanceMatch &match) {
	auto quantized = false;
	HNSWIndex::Visit(*match.search.entry, [&](const HNSWIndex &index) {
		quantized = index.Options().quantization != vss::Quantization::None;
	});
	if (!quantized || match.search.index_metric != vss::Metric::Ip) {
		return Refusal();
	}
	// far from the origin, inner products of codes lose more digits than the bound of a code's error allows for
	return Refusal(PlanNotes::Stage::PLAN,
	               "inner products of codes are not told exactly enough for all rows within a distance");
}

} // namespace duckdb
