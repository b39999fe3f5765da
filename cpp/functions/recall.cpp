#include "functions/recall.hpp"

#include "duckdb/function/table_function.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/planner/binder.hpp"
#include "execution/measured_query.hpp"
#include "host/aside.hpp"
#include "host/errors.hpp"
#include "functions/index_lookup.hpp"
#include "host/host.hpp"
#include "index/hnsw_index.hpp"
#include "host/settings.hpp"

namespace duckdb {

namespace {

constexpr int64_t DEFAULT_K = 10;
constexpr int64_t DEFAULT_QUERIES = 100;
constexpr int64_t MAX_K = 10000;
constexpr int64_t MAX_QUERIES = 100000;

struct RecallBindData : public TableFunctionData {
	string index;
	idx_t k = DEFAULT_K;
	idx_t queries = DEFAULT_QUERIES;
};

struct RecallState : public GlobalTableFunctionState {
	explicit RecallState(FoundIndex found_p) : found(std::move(found_p)) {
	}

	const FoundIndex found;
	bool done = false;
	idx_t ef = 0;
	bool codes = false;
	vss::RecallReport measured;
	//! Last: it works on all of the above.
	unique_ptr<Aside> work;
};

idx_t Parameter(const TableFunctionBindInput &input, const char *name, idx_t otherwise, int64_t max) {
	auto entry = input.named_parameters.find(name);
	if (entry == input.named_parameters.end()) {
		return otherwise;
	}
	auto given = entry->second.IsNull() ? 0 : entry->second.GetValue<int64_t>();
	if (given < 1 || given > max) {
		throw BinderException("hnsw_recall: '%s' is %s; use a value from 1 to %lld", name, entry->second.ToString(),
		                      max);
	}
	return UnsafeNumericCast<idx_t>(given);
}

} // namespace

static unique_ptr<FunctionData> RecallBind(ClientContext &context, TableFunctionBindInput &input,
                                           vector<LogicalType> &return_types, vector<Identifier> &names) {
	auto result = make_uniq<RecallBindData>();
	if (input.inputs[0].IsNull()) {
		throw BinderException("hnsw_recall: the name of the index is NULL");
	}
	result->index = StringValue::Get(input.inputs[0]);
	result->k = Parameter(input, "k", result->k, MAX_K);
	result->queries = Parameter(input, "queries", result->queries, MAX_QUERIES);
	FindIndex(context, result->index);
	names = RecallColumns::Names();
	return_types = RecallColumns::Types();
	return std::move(result);
}

static unique_ptr<GlobalTableFunctionState> RecallInit(ClientContext &context, TableFunctionInitInput &input) {
	return make_uniq<RecallState>(FindIndex(context, input.bind_data->Cast<RecallBindData>().index));
}

static void RecallScan(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<RecallState>();
	if (state.done) {
		return;
	}
	auto &bind_data = input.bind_data->Cast<RecallBindData>();
	if (!state.work) {
		state.work = make_uniq<Aside>(context, [&](const vss::HostInterrupt &interrupt) {
			auto index = ShareInStep(context, interrupt, state.found);
			auto &core = *index->core;
			state.ef = SearchWidth(context, core, index->options, bind_data.k);
			state.codes = index->options.quantization != vss::Quantization::None;
			state.measured = Translate([&] {
				// measures the graph as it will be: an index that is built again from its table has not linked its rows
				// yet
				core.link(core.pending(), interrupt);
				return core.measure_recall(bind_data.k, bind_data.queries, state.ef, interrupt);
			});
		});
	}
	if (!state.work->Done(input)) {
		return;
	}
	state.done = true;
	auto row = RecallColumns::Row(state.found.entry.get().name.GetIdentifierName(), bind_data.k, state.ef, state.codes,
	                              state.measured);
	for (idx_t col = 0; col < row.size(); col++) {
		output.data[col].Append(row[col]);
	}
	output.SetChildCardinality(1);
}

//! Whether there is an index of this name.
static bool IsIndex(ClientContext &context, const string &name) {
	try {
		FindIndex(context, name);
	} catch (const std::exception &) {
		return false;
	}
	return true;
}

//! Parses `text` as a query; null if it is one word, and so the name of an index that is missing. Throws a
//! BinderException if it is another statement, or none.
static unique_ptr<SQLStatement> QueryOf(ClientContext &context, const string &text) {
	Parser parser(context);
	try {
		parser.ParseQuery(text);
	} catch (const ParserException &ex) {
		if (text.find_first_of(" \t\r\n") == string::npos) {
			return nullptr;
		}
		throw BinderException("hnsw_recall: there is no index of this name, and as a query it cannot be parsed: %s",
		                      ErrorData(ex).RawMessage());
	}
	if (parser.statements.size() != 1 || parser.statements[0]->type != StatementType::SELECT_STATEMENT) {
		throw BinderException(
		    "hnsw_recall: the text is no index, and no single SELECT statement; give it one of these");
	}
	return std::move(parser.statements[0]);
}

//! If the argument is no index but a query: the plan of that query, which takes the function's place, and whose
//! searches are measured.
static unique_ptr<LogicalOperator> RecallOfQuery(ClientContext &context, TableFunctionBindInput &input,
                                                 TableIndex table_index, vector<Identifier> &names) {
	if (input.inputs[0].IsNull() || IsIndex(context, StringValue::Get(input.inputs[0]))) {
		return nullptr;
	}
	auto query = QueryOf(context, StringValue::Get(input.inputs[0]));
	if (!query) {
		return nullptr;
	}
	if (!query->named_param_map.empty()) {
		throw BinderException("hnsw_recall: the query has parameters; write values in their place");
	}
	if (Parameter(input, "k", DEFAULT_K, MAX_K) != DEFAULT_K ||
	    Parameter(input, "queries", DEFAULT_QUERIES, MAX_QUERIES) != DEFAULT_QUERIES) {
		throw BinderException(
		    "hnsw_recall: 'k' and 'queries' are for an index; a query says itself what it searches for");
	}
	auto binder = Binder::CreateBinder(context, input.binder);
	auto bound = binder->Bind(*query);
	names = RecallColumns::Names();
	return make_uniq<LogicalMeasuredQuery>(table_index, std::move(bound.plan));
}

void RegisterRecall(ExtensionLoader &loader) {
	TableFunction function("hnsw_recall", {LogicalType::VARCHAR}, RecallScan, RecallBind, RecallInit);
	function.bind_operator = RecallOfQuery;
	function.GetSignature()
	    .AddKeywordOnly("k", LogicalType::BIGINT, Value::BIGINT(DEFAULT_K))
	    .AddKeywordOnly("queries", LogicalType::BIGINT, Value::BIGINT(DEFAULT_QUERIES));
	loader.RegisterFunction(std::move(function));
}

} // namespace duckdb
