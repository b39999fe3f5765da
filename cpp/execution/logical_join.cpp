#include "execution/logical_join.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/column_binding_resolver.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "index/hnsw_index.hpp"
#include "execution/pair_filter.hpp"
#include "execution/physical_row_filter.hpp"
#include "execution/physical_comparison.hpp"
#include "execution/physical_join.hpp"

namespace duckdb {

LogicalHNSWJoin::LogicalHNSWJoin(unique_ptr<LogicalOperator> table_p, IndexSearch search_p,
                                 unique_ptr<Expression> query, unique_ptr<LogicalOperator> probes, bool table_first_p)
    : table(std::move(table_p)), search(std::move(search_p)), table_first(table_first_p) {
	estimated_cardinality = search.k * MaxValue<idx_t>(probes->estimated_cardinality, 1);
	has_estimated_cardinality = true;
	expressions.push_back(std::move(query));
	children.push_back(std::move(probes));
}

void LogicalHNSWJoin::SetFilter(ClientContext &context, RowFilter filter, vector<unique_ptr<Expression>> conditions) {
	row_id_column = filter.row_id_column;
	key_columns = std::move(filter.key_columns);
	pair_conditions = std::move(conditions);
	search.TakeFilter(filter.plan->EstimateCardinality(context));
	children.insert(children.begin(), std::move(filter.plan));
}

void LogicalHNSWJoin::SetConditions(vector<unique_ptr<Expression>> conditions_p) {
	conditions = std::move(conditions_p);
}

void LogicalHNSWJoin::SetBounds(vector<DistanceBound> bounds_p) {
	bounds = std::move(bounds_p);
}

LogicalGet &LogicalHNSWJoin::Get() const {
	reference<LogicalOperator> current(*table);
	while (current.get().type != LogicalOperatorType::LOGICAL_GET) {
		current = *current.get().children[0];
	}
	return current.get().Cast<LogicalGet>();
}

template <class T>
static vector<T> InOrder(bool table_first, vector<T> table, vector<T> probes) {
	auto &first = table_first ? table : probes;
	auto &second = table_first ? probes : table;
	first.insert(first.end(), second.begin(), second.end());
	return std::move(first);
}

vector<ColumnBinding> LogicalHNSWJoin::GetColumnBindings() {
	return InOrder(table_first, table->GetColumnBindings(), Probes().GetColumnBindings());
}

void LogicalHNSWJoin::ResolveTypes() {
	table->ResolveOperatorTypes();
	types = InOrder(table_first, table->types, Probes().types);
}

vector<TableIndex> LogicalHNSWJoin::GetTableIndex() const {
	return table->GetTableIndex();
}

idx_t LogicalHNSWJoin::EstimateCardinality(ClientContext &context) {
	return estimated_cardinality;
}

optional_ptr<const string> LogicalHNSWJoin::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_index_join";
	return &IDENTIFIER;
}

InsertionOrderPreservingMap<string> LogicalHNSWJoin::ParamsToString() const {
	auto &entry = Get().GetTable()->Cast<DuckTableEntry>();
	return bounds.empty() ? SearchParameters(entry, search) : RangeParameters(entry, search, bounds);
}

//! Replaces the columns `bindings` in `expr` by their positions, from `first` on.
static void RefersByPosition(unique_ptr<Expression> &expr, const vector<ColumnBinding> &bindings, idx_t first) {
	ExpressionIterator::EnumerateExpression(expr, [&](unique_ptr<Expression> &child) {
		if (child->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
			auto &binding = child->Cast<BoundColumnRefExpression>().Binding();
			auto position = std::find(bindings.begin(), bindings.end(), binding) - bindings.begin();
			child =
			    make_uniq<BoundReferenceExpression>(child->GetReturnType(), first + UnsafeNumericCast<idx_t>(position));
		}
	});
}

PhysicalOperator &LogicalHNSWJoin::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	ResolveOperatorTypes();
	for (auto &condition : conditions) {
		RefersByPosition(condition, GetColumnBindings(), 0);
	}
	for (auto &condition : pair_conditions) {
		RefersByPosition(condition, Probes().GetColumnBindings(), key_columns.size());
	}
	auto &get = Get();
	auto &entry = get.GetTable()->Cast<DuckTableEntry>();
	auto column_ids = ScannedColumns(get);
	// this side of the plan is no child of the operator, so nobody else turns its column bindings into positions
	ColumnBindingResolver resolver;
	resolver.VisitOperator(*table);
	vector<vector<unique_ptr<Expression>>> projections;
	for (auto op = table.get(); op != &get; op = op->children[0].get()) {
		projections.insert(projections.begin(), std::move(op->expressions));
	}
	auto scan = PlanTableScan(get, planner);
	auto &join =
	    planner.Make<PhysicalHNSWJoin>(types, estimated_cardinality, entry, std::move(column_ids), search,
	                                   std::move(expressions[0]), std::move(scan), std::move(projections), table_first);
	auto &physical = join.Cast<PhysicalHNSWJoin>();
	physical.conditions = std::move(conditions);
	physical.bounds = std::move(bounds);
	physical.comparison = PhysicalComparison::Plan(planner, join, entry, search);
	if (row_id_column.IsValid()) {
		auto &filter =
		    planner.Make<PhysicalRowFilter>(planner.CreatePlan(*children[0]), row_id_column.GetIndex(), key_columns);
		physical.filter = filter.Cast<PhysicalRowFilter>();
		if (!pair_conditions.empty()) {
			physical.pairs = make_uniq<PairFilter>(std::move(pair_conditions), key_columns.size());
			for (auto &side : physical.pairs->row_sides) {
				filter.Cast<PhysicalRowFilter>().group_keys.push_back(side->Copy());
			}
		}
		join.children.push_back(filter);
	}
	auto &probes = planner.CreatePlan(Probes());
	physical.probes = probes;
	join.children.push_back(probes);
	return join;
}

} // namespace duckdb
