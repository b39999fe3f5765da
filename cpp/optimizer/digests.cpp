#include "optimizer/digests.hpp"

#include "duckdb/common/types/hugeint.hpp"
#include "duckdb/function/builtin_function_lookup.hpp"
#include "duckdb/function/function_binder.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/planner/column_binding_map.hpp"
#include "duckdb/planner/expression/bound_aggregate_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_unnest_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_aggregate.hpp"
#include "duckdb/planner/operator/logical_comparison_join.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/operator/logical_unnest.hpp"
#include "execution/logical_join.hpp"
#include "host/array_elements.hpp"
#include "optimizer/order_key.hpp"
#include "vss/src/bridge/mod.rs.h"

#include <cmath>
#include <limits>

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// The digest of a vector
//---------------------------------------------------------------------------------------------------------------------

static const LogicalType DIGEST_TYPE = LogicalType::UHUGEINT;

//! Equal elements have equal bytes in it: DuckDB takes -0 for 0, and every NaN for equal.
template <class T>
static T Canonical(T value) {
	return std::isnan(value) ? std::numeric_limits<T>::quiet_NaN() : value + T(0);
}

//! NULL for NULL. Vectors that are not distinct have the same digest.
template <class T>
static void DigestsOf(DataChunk &args, ExpressionState &, Vector &result) {
	ArrayElements<T> vectors(args.data[0]);
	auto digests = FlatVector::GetDataMutable<uhugeint_t>(result);
	vector<T> elements(vectors.Size());
	vector<uint8_t> nulls;
	for (idx_t row = 0; row < args.size(); row++) {
		if (vectors.IsNull(row)) {
			FlatVector::SetNull(result, row, true);
			continue;
		}
		std::transform(vectors.Row(row), vectors.Row(row) + vectors.Size(), elements.begin(), Canonical<T>);
		nulls.clear();
		for (idx_t d = 0; vectors.MayHaveNullElements() && d < vectors.Size(); d++) {
			if (vectors.IsElementNull(row, d)) {
				nulls.resize(vectors.Size());
				nulls[d] = 1;
				elements[d] = 0;
			}
		}
		auto digest = vss::vector_digest({const_data_ptr_cast(elements.data()), elements.size() * sizeof(T)},
		                                 {nulls.data(), nulls.size()});
		digests[row] = uhugeint_t(digest.upper, digest.lower);
	}
}

static bool HasDigest(const LogicalType &type) {
	return type.id() == LogicalTypeId::ARRAY && (ArrayType::GetChildType(type).id() == LogicalTypeId::FLOAT ||
	                                             ArrayType::GetChildType(type).id() == LogicalTypeId::DOUBLE);
}

//! The digest of the vector that `expr` yields.
static unique_ptr<Expression> DigestOf(unique_ptr<Expression> expr) {
	auto &type = expr->GetReturnType();
	auto is_float = ArrayType::GetChildType(type).id() == LogicalTypeId::FLOAT;
	ScalarFunction function("hnsw_vector_digest", {type}, DIGEST_TYPE, is_float ? DigestsOf<float> : DigestsOf<double>);
	vector<unique_ptr<Expression>> arguments;
	arguments.push_back(std::move(expr));
	return make_uniq<BoundFunctionExpression>(BoundScalarFunction(function), std::move(arguments), nullptr);
}

//---------------------------------------------------------------------------------------------------------------------
// The plan
//---------------------------------------------------------------------------------------------------------------------

static bool SearchesForMany(const LogicalOperator &op) {
	return dynamic_cast<const LogicalHNSWJoin *>(&op) ||
	       std::any_of(op.children.begin(), op.children.end(),
	                   [](const unique_ptr<LogicalOperator> &child) { return SearchesForMany(*child); });
}

//! What groups keep of their rows, taken apart again: `struct_extract(unnest(arg_min(struct_pack(…), …)), …)`. DuckDB
//! writes such plans for a LIMIT, without the `unnest` for a LIMIT of 1. The struct has the query vector, too.
struct Payload {
	reference<LogicalProjection> projection;
	//! The structs in `projection`.
	ColumnBinding structs;
	optional_ptr<LogicalUnnest> unnest;
	//! The aggregate that makes them, and the place of the query vector in them.
	reference<unique_ptr<Expression>> aggregate;
	idx_t element;
};

//! From a group to a join.
struct GroupPath {
	//! The columns of projections that pass it on, the topmost first.
	vector<reference<unique_ptr<Expression>>> passed;
	//! Set if the lowest of `passed` is taken from what the groups keep.
	unique_ptr<Payload> payload;
	optional_ptr<LogicalAggregate> aggregate;
	idx_t group = 0;
};

static ColumnBinding BindingOf(const Expression &column) {
	return column.Cast<BoundColumnRefExpression>().Binding();
}

static bool IsColumn(const Expression &expr) {
	return expr.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF;
}

static unique_ptr<Expression> Retyped(const Expression &column, LogicalType type) {
	return make_uniq<BoundColumnRefExpression>(column.GetAlias(), std::move(type), BindingOf(column));
}

static vector<unique_ptr<Expression>> &Arguments(Expression &call) {
	return call.Cast<BoundFunctionExpression>().GetChildrenMutable();
}

//! Whether `expr` is an element of a struct in `column`.
static bool IsElementOf(const Expression &expr, const ColumnBinding &column) {
	if (!IsCall(expr, "struct_extract", 2)) {
		return false;
	}
	auto &arguments = expr.Cast<BoundFunctionExpression>().GetChildren();
	return IsColumn(*arguments[0]) && BindingOf(*arguments[0]) == column &&
	       arguments[1]->GetExpressionClass() == ExpressionClass::BOUND_CONSTANT;
}

class VectorDigester {
public:
	VectorDigester(ClientContext &context_p, LogicalOperator &plan) : context(context_p) {
		CountReferences(plan);
	}

	//! `consumer`: the operator above; null if there is none.
	void Visit(LogicalOperator &op, optional_ptr<const LogicalOperator> consumer) {
		// a MARK join has the types of its keys a second time
		if (op.type == LogicalOperatorType::LOGICAL_COMPARISON_JOIN &&
		    op.Cast<LogicalComparisonJoin>().join_type != JoinType::MARK) {
			auto &join = op.Cast<LogicalComparisonJoin>();
			for (idx_t at = 0; at < join.conditions.size(); at++) {
				DigestCondition(join, at, consumer);
			}
		}
		for (auto &child : op.children) {
			Visit(*child, &op);
		}
	}

private:
	void CountReferences(LogicalOperator &op) {
		std::function<void(const Expression &)> count = [&](const Expression &expr) {
			if (IsColumn(expr)) {
				references[BindingOf(expr)]++;
			}
			ExpressionIterator::EnumerateChildren(expr, count);
		};
		LogicalOperatorVisitor::EnumerateExpressions(op, [&](unique_ptr<Expression> *expr) { count(**expr); });
		for (auto &child : op.children) {
			CountReferences(*child);
		}
	}

	idx_t References(const ColumnBinding &binding) const {
		auto found = references.find(binding);
		return found == references.end() ? 0 : found->second;
	}

	//! Follows an element of a struct down to a group that it is equal to. False if it is another.
	bool FollowPayload(LogicalProjection &projection, const Expression &extracted, GroupPath &path) const {
		auto &arguments = extracted.Cast<BoundFunctionExpression>().GetChildren();
		if (!IsColumn(*arguments[0]) || !IsElementOf(extracted, BindingOf(*arguments[0]))) {
			return false;
		}
		auto structs = BindingOf(*arguments[0]);
		idx_t uses = 0;
		idx_t same = 0;
		for (auto &expr : projection.expressions) {
			uses += IsElementOf(*expr, structs);
			same += expr->Equals(extracted);
		}
		if (References(structs) != uses || same != 1) {
			return false;
		}
		optional_ptr<LogicalUnnest> unnest;
		auto made = structs;
		reference<LogicalOperator> below = *projection.children[0];
		if (below.get().type == LogicalOperatorType::LOGICAL_UNNEST) {
			unnest = &below.get().Cast<LogicalUnnest>();
			// beside a longer list, structs are NULL
			if (structs.table_index != unnest->unnest_index || unnest->expressions.size() != 1) {
				return false;
			}
			auto &unnested = *unnest->expressions[structs.column_index].get();
			if (unnested.GetExpressionClass() != ExpressionClass::BOUND_UNNEST ||
			    !IsColumn(*unnested.Cast<BoundUnnestExpression>().Child())) {
				return false;
			}
			made = BindingOf(*unnested.Cast<BoundUnnestExpression>().Child());
			if (References(made) != 1) {
				return false;
			}
			below = *unnest->children[0];
		}
		if (below.get().type != LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY) {
			return false;
		}
		auto &aggregate = below.get().Cast<LogicalAggregate>();
		if (made.table_index != aggregate.aggregate_index) {
			return false;
		}
		auto &making = aggregate.expressions[made.column_index];
		auto &call = making->Cast<BoundAggregateExpression>();
		if (call.IsDistinct() || call.GetFilter() || call.GetOrderBys() || call.GetChildren().empty() ||
		    call.GetChildren()[0]->GetExpressionClass() != ExpressionClass::BOUND_FUNCTION ||
		    call.GetChildren()[0]->Cast<BoundFunctionExpression>().Function().GetName() != "struct_pack") {
			return false;
		}
		// an aggregate that passes over rows may have no struct for a group; a list of them is empty then
		auto &aggregate_name = call.Function().GetName();
		auto keeps_null = aggregate_name == "arg_min_nulls_last" || aggregate_name == "arg_max_nulls_last";
		if (!keeps_null && (!unnest || (aggregate_name != "arg_min" && aggregate_name != "arg_max"))) {
			return false;
		}
		auto &packed = call.GetChildren()[0]->Cast<BoundFunctionExpression>();
		auto &names = StructType::GetChildTypes(packed.GetReturnType());
		auto name = arguments[1]->Cast<BoundConstantExpression>().GetValue().ToString();
		for (idx_t element = 0; names.size() > 1 && element < names.size(); element++) {
			if (names[element].first != Identifier(name)) {
				continue;
			}
			for (idx_t group = 0; group < aggregate.groups.size(); group++) {
				if (aggregate.groups[group]->Equals(*packed.GetChildren()[element]) &&
				    References(ColumnBinding(aggregate.group_index, ProjectionIndex(group))) == 0) {
					path.payload = make_uniq<Payload>(Payload {projection, structs, unnest, making, element});
					return FollowGroup(aggregate, group, path);
				}
			}
		}
		return false;
	}

	static bool FollowGroup(LogicalAggregate &aggregate, idx_t group, GroupPath &path) {
		path.aggregate = &aggregate;
		path.group = group;
		auto &sets = aggregate.grouping_sets;
		auto is_group = sets.empty() || (sets.size() == 1 && sets[0].count(ProjectionIndex(group)));
		return is_group && SearchesForMany(aggregate);
	}

	//! Follows a column of `op` down to a group of what an index finds. False if it comes from elsewhere, or has another
	//! use.
	bool Follow(LogicalOperator &op, ColumnBinding binding, GroupPath &path) const {
		reference<LogicalOperator> current = op;
		while (References(binding) == 1) {
			auto &below = current.get();
			switch (below.type) {
			case LogicalOperatorType::LOGICAL_PROJECTION: {
				auto &projection = below.Cast<LogicalProjection>();
				if (projection.table_index != binding.table_index) {
					return false;
				}
				auto &expr = projection.expressions[binding.column_index];
				path.passed.push_back(expr);
				if (IsCall(*expr, "struct_extract", 2)) {
					return FollowPayload(projection, *expr, path);
				}
				if (!IsColumn(*expr)) {
					return false;
				}
				binding = BindingOf(*expr);
				break;
			}
			case LogicalOperatorType::LOGICAL_UNNEST:
			case LogicalOperatorType::LOGICAL_FILTER:
				break; // passes the columns of its child on
			case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY: {
				auto &aggregate = below.Cast<LogicalAggregate>();
				return aggregate.group_index == binding.table_index &&
				       FollowGroup(aggregate, binding.column_index, path);
			}
			default:
				return false;
			}
			current = *below.children[0];
		}
		return false;
	}

	//! Whether operators above may know a column of `join` by its position.
	static bool IsPassedOn(LogicalComparisonJoin &join, const ColumnBinding &binding,
	                       optional_ptr<const LogicalOperator> consumer) {
		if (consumer && (consumer->type == LogicalOperatorType::LOGICAL_PROJECTION ||
		                 consumer->type == LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY)) {
			return false;
		}
		auto columns = join.GetColumnBindings();
		return std::find(columns.begin(), columns.end(), binding) != columns.end();
	}

	//! Takes the query vector out of what the groups keep.
	void Unpack(Payload &payload) const {
		auto &call = payload.aggregate.get()->Cast<BoundAggregateExpression>();
		auto arguments = std::move(call.GetChildrenMutable());
		auto packed = std::move(Arguments(*arguments[0]));
		packed.erase_at(payload.element);
		arguments[0] = BindBuiltinScalarFunction(context, "struct_pack", std::move(packed));
		vector<LogicalType> types;
		for (auto &argument : arguments) {
			types.push_back(argument->GetReturnType());
		}
		auto alias = call.GetAlias();
		auto function = GetBuiltinAggregateFunction(context, Identifier(call.Function().GetName()), types);
		payload.aggregate.get() =
		    FunctionBinder(context).BindAggregateFunction(std::move(function), std::move(arguments));
		payload.aggregate.get()->SetAlias(alias);

		auto type = payload.aggregate.get()->GetReturnType();
		if (payload.unnest) {
			auto &unnested = payload.unnest->expressions[payload.structs.column_index];
			auto list = Retyped(*unnested->Cast<BoundUnnestExpression>().Child(), type);
			type = ListType::GetChildType(type);
			auto retyped = make_uniq<BoundUnnestExpression>(type);
			retyped->SetAlias(unnested->GetAlias());
			retyped->ChildMutable() = std::move(list);
			unnested = std::move(retyped);
		}
		for (auto &expr : payload.projection.get().expressions) {
			if (IsElementOf(*expr, payload.structs)) {
				auto element = std::move(Arguments(*expr));
				element[0] = Retyped(*element[0], type);
				auto extracted = BindBuiltinScalarFunction(context, "struct_extract", std::move(element));
				extracted->SetAlias(expr->GetAlias());
				expr = std::move(extracted);
			}
		}
	}

	void Apply(GroupPath &path) const {
		auto &aggregate = *path.aggregate;
		aggregate.groups[path.group] = DigestOf(std::move(aggregate.groups[path.group]));
		if (path.group < aggregate.group_stats.size()) {
			aggregate.group_stats[path.group].reset();
		}
		if (path.payload) {
			auto &lowest = path.passed.back().get();
			lowest = make_uniq<BoundColumnRefExpression>(
			    lowest->GetAlias(), DIGEST_TYPE, ColumnBinding(aggregate.group_index, ProjectionIndex(path.group)));
			Unpack(*path.payload);
		}
		for (auto &column : path.passed) {
			column.get() = Retyped(*column.get(), DIGEST_TYPE);
		}
	}

	void DigestCondition(LogicalComparisonJoin &join, idx_t at, optional_ptr<const LogicalOperator> consumer) const {
		auto &condition = join.conditions[at];
		if (!condition.IsComparison() || (condition.GetComparisonType() != ExpressionType::COMPARE_NOT_DISTINCT_FROM &&
		                                  condition.GetComparisonType() != ExpressionType::COMPARE_EQUAL)) {
			return;
		}
		auto &type = condition.GetLHS().GetReturnType();
		if (!HasDigest(type) || condition.GetRHS().GetReturnType() != type) {
			return;
		}
		auto &pushed = join.filter_pushdown;
		if (pushed && std::find(pushed->join_condition.begin(), pushed->join_condition.end(), at) !=
		                  pushed->join_condition.end()) {
			return; // DuckDB keeps the range of the vectors
		}
		unique_ptr<Expression> sides[] = {condition.GetLHS().Copy(), condition.GetRHS().Copy()};
		for (idx_t side = 0; side < 2; side++) {
			GroupPath path;
			if (!IsColumn(*sides[side]) || IsPassedOn(join, BindingOf(*sides[side]), consumer) ||
			    !Follow(*join.children[side], BindingOf(*sides[side]), path)) {
				continue;
			}
			Apply(path);
			sides[side] = Retyped(*sides[side], DIGEST_TYPE);
			sides[1 - side] = DigestOf(std::move(sides[1 - side]));
			// without the statistics of the vectors
			condition = JoinCondition(std::move(sides[0]), std::move(sides[1]), condition.GetComparisonType());
			return;
		}
	}

	ClientContext &context;
	column_binding_map_t<idx_t> references;
};

void DigestVectors(ClientContext &context, LogicalOperator &plan) {
	if (SearchesForMany(plan)) {
		VectorDigester(context, plan).Visit(plan, nullptr);
	}
}

} // namespace duckdb
