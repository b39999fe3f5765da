#include "optimizer/union_parts.hpp"

#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/operator/logical_set_operation.hpp"
#include "duckdb/planner/operator/logical_top_n.hpp"
#include "execution/logical_search.hpp"
#include "optimizer/order_key.hpp"

namespace duckdb {

//! `order`, over the columns of `parts`, for the rows of `part`.
static BoundOrderByNode OrderOf(const BoundOrderByNode &order, const LogicalSetOperation &parts,
                                const vector<ColumnBinding> &part) {
	auto result = order.Copy();
	ExpressionIterator::EnumerateExpression(result.expression, [&](Expression &expr) {
		if (expr.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
			return;
		}
		auto &binding = expr.Cast<BoundColumnRefExpression>().BindingMutable();
		if (binding.table_index == parts.table_index) {
			binding = part[binding.column_index];
		}
	});
	return result;
}

LimitedParts LimitParts(LogicalOperator &op) {
	if (op.type != LogicalOperatorType::LOGICAL_TOP_N) {
		return {};
	}
	auto &top_n = op.Cast<LogicalTopN>();
	vector<BoundOrderByNode> orders;
	reference<LogicalOperator> below(op);
	auto can_move = top_n.limit <= NumericLimits<idx_t>::Maximum() - top_n.offset;
	for (auto &order : top_n.orders) {
		orders.push_back(order.Copy());
		auto &expr = orders.back().expression;
		below = ResolveBelow(expr, *op.children[0]);
		can_move = can_move && !expr->IsVolatile() && !expr->HasSubquery();
	}
	if (!can_move || below.get().type != LogicalOperatorType::LOGICAL_UNION ||
	    !below.get().Cast<LogicalSetOperation>().setop_all) {
		return {};
	}
	LimitedParts limited;
	auto &parts = below.get().Cast<LogicalSetOperation>();
	for (auto &part : parts.children) {
		auto columns = part->GetColumnBindings();
		vector<BoundOrderByNode> own;
		for (auto &order : orders) {
			own.push_back(OrderOf(order, parts, columns));
		}
		auto first = own[0].expression->Copy();
		auto &bottom = ResolveBelow(first, *part);
		// a part may be a UNION ALL itself
		if (!HasDistance(*first) && bottom.type != LogicalOperatorType::LOGICAL_UNION) {
			continue;
		}
		auto limit = make_uniq<LogicalTopN>(std::move(own), top_n.limit + top_n.offset, 0);
		limit->SetEstimatedCardinality(limit->limit);
		limit->children.push_back(std::move(part));
		part = std::move(limit);
		limited.push_back(part);
	}
	return limited;
}

static bool HasSearch(const LogicalOperator &op) {
	return dynamic_cast<const LogicalHNSWSearch *>(&op) != nullptr ||
	       std::any_of(op.children.begin(), op.children.end(),
	                   [](const unique_ptr<LogicalOperator> &child) { return HasSearch(*child); });
}

void UnlimitParts(const LimitedParts &parts) {
	for (auto &part : parts) {
		auto &limit = part.get();
		if (!HasSearch(*limit)) {
			limit = std::move(limit->children[0]);
		}
	}
}

} // namespace duckdb
