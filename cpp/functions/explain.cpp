#include "functions/explain.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/function/table_function.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/operator/logical_limit.hpp"
#include "duckdb/planner/planner.hpp"
#include "functions/index_lookup.hpp"
#include "optimizer/plan_notes.hpp"

namespace duckdb {

namespace {

struct ExplainBindData : public TableFunctionData {
	string query;
};

struct ExplainState : public GlobalTableFunctionState {
	vector<FoundIndex> indexes;
	bool planned = false;
	vector<vector<Value>> rows;
	idx_t next = 0;
	//! Last: it works on `indexes`.
	ReconcileFirst first;
};

} // namespace

static unique_ptr<FunctionData> ExplainBind(ClientContext &context, TableFunctionBindInput &input,
                                            vector<LogicalType> &return_types, vector<Identifier> &names) {
	auto result = make_uniq<ExplainBindData>();
	if (input.inputs[0].IsNull()) {
		throw BinderException("hnsw_explain: the query is NULL");
	}
	result->query = StringValue::Get(input.inputs[0]);
	names = {"index_name", "table_name", "used", "operator", "reason"};
	return_types = {LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::BOOLEAN, LogicalType::VARCHAR,
	                LogicalType::VARCHAR};
	return std::move(result);
}

static void CollectStorages(LogicalOperator &op, unordered_map<const DataTable *, const TableCatalogEntry *> &tables) {
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		auto table = op.Cast<LogicalGet>().GetTable();
		if (table && table->IsDuckTable()) {
			tables[&table->Cast<DuckTableEntry>().GetStorage()] = table.get();
		}
	}
	for (auto &child : op.children) {
		CollectStorages(*child, tables);
	}
}

//! Fills in parameters of LIMIT and OFFSET, which have no values here. Takes what they usually are: few rows, and the
//! first ones.
static void FillLimits(LogicalOperator &op) {
	auto fill = [](BoundLimitNode &node, int64_t value) {
		if (node.Type() == LimitNodeType::EXPRESSION_VALUE && node.GetValueExpression().HasParameter()) {
			node = BoundLimitNode::ConstantValue(value);
		}
	};
	if (op.type == LogicalOperatorType::LOGICAL_LIMIT) {
		auto &limit = op.Cast<LogicalLimit>();
		fill(limit.limit_val, 10);
		fill(limit.offset_val, 0);
	}
	for (auto &child : op.children) {
		FillLimits(*child);
	}
}

static vector<Value> DescribeIndex(const FoundIndex &found, const TableCatalogEntry &table, const PlanNotes &notes) {
	auto &index_name = found.entry.get().name.GetIdentifierName();
	auto note = notes.Of(table, index_name);
	Value text(note.text);
	auto used = note.stage == PlanNotes::Stage::USED;
	if (!notes.HasPlan()) {
		text = Value("optimizers are disabled: see the settings disabled_optimizers and enable_optimizer");
	} else if (note.stage == PlanNotes::Stage::NOTHING) {
		text =
		    Value("the query does not ask for the rows nearest to a vector, or asks for them among the rows of a CTE "
		          "that DuckDB reads first, as it is MATERIALIZED or read twice");
	}
	Value none(LogicalType::VARCHAR);
	return {Value(index_name), Value(table.name.GetIdentifierName()), Value::BOOLEAN(used), used ? text : none,
	        used ? none : text};
}

static unique_ptr<GlobalTableFunctionState> ExplainInit(ClientContext &context, TableFunctionInitInput &input) {
	auto result = make_uniq<ExplainState>();
	result->indexes = FindIndexes(context);
	return std::move(result);
}

//! Plans the query, in the caller's transaction and with its settings, but does not run it. Returns what the plan does
//! with `indexes`.
static vector<vector<Value>> Explain(ClientContext &context, const string &query, const vector<FoundIndex> &indexes) {
	Parser parser(context);
	parser.ParseQuery(query);
	if (parser.statements.size() != 1) {
		throw InvalidInputException("hnsw_explain: the text holds %llu statements; give it one query",
		                            parser.statements.size());
	}
	unordered_map<const DataTable *, const TableCatalogEntry *> tables;
	PlanNotes notes;
	Planner planner(context);
	try {
		planner.CreatePlan(std::move(parser.statements[0]));
		if (!planner.plan) {
			throw InvalidInputException(
			    "hnsw_explain: the type of a parameter of the query is open; write it with a cast, "
			    "as in ?::FLOAT[3], or a vector in its place");
		}
		FillLimits(*planner.plan);
		CollectStorages(*planner.plan, tables);
		if (planner.plan->RequireOptimizer()) {
			Optimizer optimizer(*planner.binder, context);
			planner.plan = optimizer.Optimize(std::move(planner.plan));
		}
	} catch (const InternalException &ex) {
		// The exception ends this query, as it would end the planned one. As an InternalException it would invalidate
		// the database, since this query is executed.
		throw InvalidInputException("hnsw_explain: the query cannot be planned: %s", ErrorData(ex).RawMessage());
	}
	vector<vector<Value>> result;
	for (auto &found : indexes) {
		auto table = tables.find(&found.storage.get());
		if (table != tables.end()) {
			result.push_back(DescribeIndex(found, *table->second, notes));
		}
	}
	return result;
}

static void ExplainScan(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<ExplainState>();
	if (!state.first.Done(context, input, state.indexes)) {
		return;
	}
	if (!state.planned) {
		state.rows = Explain(context, input.bind_data->Cast<ExplainBindData>().query, state.indexes);
		state.planned = true;
	}
	idx_t count = 0;
	for (; count < STANDARD_VECTOR_SIZE && state.next < state.rows.size(); count++) {
		auto &row = state.rows[state.next++];
		for (idx_t col = 0; col < row.size(); col++) {
			output.data[col].Append(row[col]);
		}
	}
	output.SetChildCardinality(count);
}

void RegisterExplain(ExtensionLoader &loader) {
	loader.RegisterFunction(
	    TableFunction("hnsw_explain", {LogicalType::VARCHAR}, ExplainScan, ExplainBind, ExplainInit));
}

} // namespace duckdb
