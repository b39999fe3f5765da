#include "functions/pragmas.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/common/sql_identifier.hpp"
#include "duckdb/function/pragma_function.hpp"
#include "duckdb/function/table_function.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "host/aside.hpp"
#include "host/errors.hpp"
#include "functions/index_lookup.hpp"
#include "host/settings.hpp"
#include "host/host.hpp"
#include "index/compaction.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Info
//---------------------------------------------------------------------------------------------------------------------

namespace {

//! The first eleven are those of the official extension, in its order.
vector<IndexColumn> InfoColumns() {
	auto level = LogicalType::STRUCT({{"nodes", LogicalType::BIGINT},
	                                  {"edges", LogicalType::BIGINT},
	                                  {"max_edges", LogicalType::BIGINT},
	                                  {"allocated_bytes", LogicalType::BIGINT}});
	return {{"catalog_name", LogicalType::VARCHAR},
	        {"schema_name", LogicalType::VARCHAR},
	        {"index_name", LogicalType::VARCHAR},
	        {"table_name", LogicalType::VARCHAR},
	        {"metric", LogicalType::VARCHAR},
	        {"dimensions", LogicalType::BIGINT},
	        {"count", LogicalType::BIGINT},
	        {"capacity", LogicalType::BIGINT},
	        {"approx_memory_usage", LogicalType::BIGINT},
	        {"levels", LogicalType::BIGINT},
	        {"levels_stats", LogicalType::LIST(level)},
	        {"expression", LogicalType::VARCHAR},
	        {"m", LogicalType::BIGINT},
	        {"m0", LogicalType::BIGINT},
	        {"ef_construction", LogicalType::BIGINT},
	        {"ef_search", LogicalType::BIGINT},
	        {"deleted", LogicalType::BIGINT},
	        {"pending", LogicalType::BIGINT},
	        {"bytes_on_disk", LogicalType::BIGINT},
	        {"status", LogicalType::VARCHAR},
	        {"quantization", LogicalType::VARCHAR},
	        {"vector_bytes", LogicalType::BIGINT},
	        {"code_error", LogicalType::DOUBLE},
	        {"min_norm", LogicalType::DOUBLE},
	        {"max_norm", LogicalType::DOUBLE},
	        {"target_recall", LogicalType::DOUBLE},
	        {"target_ef_search", LogicalType::BIGINT},
	        {"measured_recall", LogicalType::DOUBLE},
	        {"measured_recall_low", LogicalType::DOUBLE},
	        {"measured_recall_high", LogicalType::DOUBLE},
	        {"measured_queries", LogicalType::BIGINT},
	        {"measured_by", LogicalType::VARCHAR},
	        {"measured_at", LogicalType::TIMESTAMP_TZ}};
}

struct InfoState : public GlobalTableFunctionState {
	vector<FoundIndex> indexes;
	idx_t next = 0;
	//! Last: it works on `indexes`.
	ReconcileFirst first;
};

Value BigInt(uint64_t value) {
	return Value::BIGINT(NumericCast<int64_t>(value));
}

Value LevelStats(const vss::IndexInfo &info, const LogicalType &list_type) {
	vector<Value> levels;
	for (auto &level : info.levels) {
		levels.push_back(Value::STRUCT({{"nodes", BigInt(level.nodes)},
		                                {"edges", BigInt(level.edges)},
		                                {"max_edges", BigInt(level.max_edges)},
		                                {"allocated_bytes", BigInt(level.allocated_bytes)}}));
	}
	return Value::LIST(ListType::GetChildType(list_type), std::move(levels));
}

//! Adds what is known of the target recall: the target, and what was measured for it. NULL where nothing is known.
void AddTarget(ClientContext &context, const HNSWIndex &index, vector<Value> &values) {
	auto target = TargetRecall(context, index.Options());
	if (target == 0) {
		auto columns = InfoColumns();
		while (values.size() < columns.size()) {
			values.emplace_back(columns[values.size()].type);
		}
		return;
	}
	auto info = Translate([&] { return index.Core().target_info(target); });
	auto measured = info.queries > 0;
	auto number = [&](double value) { return measured ? Value::DOUBLE(value) : Value(LogicalType::DOUBLE); };
	values.insert(values.end(),
	              {Value::DOUBLE(target), BigInt(info.ef), number(info.recall), number(info.low), number(info.high),
	               measured ? BigInt(info.queries) : Value(LogicalType::BIGINT),
	               measured ? Value(info.asked ? "queries" : "rows") : Value(LogicalType::VARCHAR),
	               measured ? Value::TIMESTAMPTZ(timestamp_tz_t(info.time)) : Value(LogicalType::TIMESTAMP_TZ)});
}

} // namespace

static unique_ptr<FunctionData> InfoBind(ClientContext &context, TableFunctionBindInput &input,
                                         vector<LogicalType> &return_types, vector<Identifier> &names) {
	BindColumns(InfoColumns(), return_types, names);
	return nullptr;
}

static unique_ptr<GlobalTableFunctionState> InfoInit(ClientContext &context, TableFunctionInitInput &input) {
	auto result = make_uniq<InfoState>();
	result->indexes = FindIndexes(context);
	return std::move(result);
}

static void InfoScan(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<InfoState>();
	if (!state.first.Done(context, input, state.indexes)) {
		return;
	}
	auto columns = InfoColumns();
	idx_t row = 0;
	for (; state.next < state.indexes.size() && row < STANDARD_VECTOR_SIZE; state.next++) {
		auto &found = state.indexes[state.next];
		auto values = found.Names();
		auto exists = HNSWIndex::Visit(*found.index, [&](const HNSWIndex &index) {
			index.Maintain();
			auto info = Translate([&] { return index.Core().info(); });
			auto &options = index.Options();
			values.insert(values.end(),
			              {Value(string(vss::metric_name(options.metric))),
			               BigInt(index.Dimensions()),
			               BigInt(info.count),
			               BigInt(info.capacity),
			               BigInt(info.memory),
			               BigInt(info.levels.size()),
			               LevelStats(info, columns[10].type),
			               Value(found.expression),
			               BigInt(options.m),
			               BigInt(options.m0),
			               BigInt(options.ef_construction),
			               BigInt(options.ef_search),
			               BigInt(info.deleted),
			               BigInt(info.pending),
			               BigInt(index.BytesOnDisk()),
			               Value(index.Status(found.storage)),
			               Value(string(vss::quantization_name(options.quantization))),
			               BigInt(info.row_bytes),
			               Value::DOUBLE(info.code_error),
			               info.norms.known ? Value::DOUBLE(info.norms.min) : Value(LogicalType::DOUBLE),
			               info.norms.known ? Value::DOUBLE(info.norms.max) : Value(LogicalType::DOUBLE)});
			AddTarget(context, index, values);
		});
		if (!exists) {
			continue; // dropped meanwhile
		}
		for (idx_t col = 0; col < values.size(); col++) {
			output.data[col].Append(values[col]);
		}
		row++;
	}
	output.SetChildCardinality(row);
}

static string InfoPragma(ClientContext &context, const FunctionParameters &parameters) {
	return "SELECT * FROM pragma_hnsw_index_info()";
}

//---------------------------------------------------------------------------------------------------------------------
// Compaction
//---------------------------------------------------------------------------------------------------------------------

namespace {

struct CompactBindData : public TableFunctionData {
	string index;
};

struct CompactState : public GlobalTableFunctionState {
	explicit CompactState(FoundIndex found_p)
	    : found(std::move(found_p)), compaction(found.storage, found.entry.get().name.GetIdentifierName()) {
	}

	const FoundIndex found;
	Compaction compaction;
	//! Last: it works on all of the above.
	unique_ptr<Aside> work;
};

} // namespace

static unique_ptr<FunctionData> CompactBind(ClientContext &context, TableFunctionBindInput &input,
                                            vector<LogicalType> &return_types, vector<Identifier> &names) {
	auto result = make_uniq<CompactBindData>();
	if (input.inputs[0].IsNull()) {
		throw BinderException("hnsw_compact_index: the name of the index is NULL; use '[catalog.][schema.]index'");
	}
	result->index = StringValue::Get(input.inputs[0]);
	auto quantization = input.named_parameters.find("quantization");
	if (quantization != input.named_parameters.end() && !quantization->second.IsNull()) {
		throw BinderException("hnsw_compact_index: compaction keeps the quantization of an index, which is that of its "
		                      "CREATE INDEX statement; for another one, DROP INDEX and CREATE INDEX … WITH "
		                      "(quantization = %s) in one transaction",
		                      quantization->second.ToSQLString());
	}
	// it returns no rows, like a statement
	names = {"Success"};
	return_types = {LogicalType::BOOLEAN};
	return std::move(result);
}

static unique_ptr<GlobalTableFunctionState> CompactInit(ClientContext &context, TableFunctionInitInput &input) {
	auto found = FindIndex(context, input.bind_data->Cast<CompactBindData>().index);
	auto &db = found.storage.get().db;
	if (db.IsReadOnly()) {
		throw InvalidInputException("index '%s' cannot be compacted: database '%s' is attached read-only",
		                            found.entry.get().name.GetIdentifierName(), db.GetName().GetIdentifierName());
	}
	return make_uniq<CompactState>(std::move(found));
}

static void CompactScan(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<CompactState>();
	if (!state.work) {
		state.work = make_uniq<Aside>(context, [&](const vss::HostInterrupt &interrupt) {
			auto index = ShareInStep(context, interrupt, state.found);
			state.compaction.Run(context, interrupt, std::move(index->core));
		});
	}
	state.work->Done(input);
}

//! The progress in percent.
static double CompactProgress(ClientContext &context, const FunctionData *bind_data,
                              const GlobalTableFunctionState *state) {
	return 100 * state->Cast<CompactState>().compaction.Progress();
}

static string CompactPragma(ClientContext &context, const FunctionParameters &parameters) {
	string given;
	for (auto &parameter : parameters.named_parameters) {
		given += StringUtil::Format(", %s := %s", SQLIdentifier(parameter.first), parameter.second.ToSQLString());
	}
	return StringUtil::Format("FROM pragma_hnsw_compact_index(%s%s)", parameters.values[0].ToSQLString(), given);
}

//---------------------------------------------------------------------------------------------------------------------
// Background work
//---------------------------------------------------------------------------------------------------------------------

namespace {

struct FinishBindData : public TableFunctionData {
	//! Nothing for all.
	optional<string> index;
};

struct FinishState : public GlobalTableFunctionState {
	vector<FoundIndex> indexes;
	//! Last: it works on `indexes`.
	unique_ptr<Aside> work;
};

} // namespace

static unique_ptr<FunctionData> FinishBind(ClientContext &context, TableFunctionBindInput &input,
                                           vector<LogicalType> &return_types, vector<Identifier> &names) {
	auto result = make_uniq<FinishBindData>();
	if (!input.inputs.empty()) {
		if (input.inputs[0].IsNull()) {
			throw BinderException(
			    "hnsw_finish: the name of the index is NULL; use '[catalog.][schema.]index', or nothing for all");
		}
		result->index = StringValue::Get(input.inputs[0]);
	}
	// it returns no rows, like a statement
	names = {"Success"};
	return_types = {LogicalType::BOOLEAN};
	return std::move(result);
}

static unique_ptr<GlobalTableFunctionState> FinishInit(ClientContext &context, TableFunctionInitInput &input) {
	auto &index = input.bind_data->Cast<FinishBindData>().index;
	auto result = make_uniq<FinishState>();
	if (index) {
		result->indexes.push_back(FindIndex(context, *index));
	} else {
		result->indexes = FindIndexes(context);
	}
	return std::move(result);
}

//! Does the work that would be left to background threads, and waits for the work that they are doing.
static void Finish(ClientContext &context, const vss::HostInterrupt &interrupt, const FoundIndex &found) {
	Reconcile(context, interrupt, found);
	auto shared = HNSWIndex::TryShare(*found.index, found.storage);
	if (!shared) {
		if (found.index->GetBindState() != IndexBindState::BOUND) {
			return; // dropped meanwhile
		}
		ThrowIncomplete(found);
	}
	// called so that the core learns the session's target recall
	SearchWidth(context, *shared->core, shared->options, 1);
	Translate([&] {
		shared->core->finish(interrupt);
		shared->core->finish_measurement(interrupt);
	});
	auto &db = found.storage.get().db;
	if (!db.IsReadOnly()) {
		NoteInLog(db);
	}
}

static void FinishScan(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<FinishState>();
	if (!state.work) {
		state.work = make_uniq<Aside>(context, [&](const vss::HostInterrupt &interrupt) {
			for (auto &found : state.indexes) {
				Finish(context, interrupt, found);
			}
		});
	}
	state.work->Done(input);
}

static string FinishPragma(ClientContext &context, const FunctionParameters &parameters) {
	auto given = parameters.values.empty() ? string() : parameters.values[0].ToSQLString();
	return StringUtil::Format("FROM pragma_hnsw_finish(%s)", given);
}

void RegisterPragmas(ExtensionLoader &loader) {
	loader.RegisterFunction(TableFunction("pragma_hnsw_index_info", {}, InfoScan, InfoBind, InfoInit));
	loader.RegisterFunction(PragmaFunction::PragmaStatement("hnsw_index_info", InfoPragma));
	// an option that only fails: people look for the quantization here, and the error says what to do instead
	auto quantization = Value(LogicalType::VARCHAR);
	TableFunction compact("pragma_hnsw_compact_index", {LogicalType::VARCHAR}, CompactScan, CompactBind, CompactInit);
	compact.GetSignature().AddKeywordOnly("quantization", LogicalType::VARCHAR, quantization);
	compact.table_scan_progress = CompactProgress;
	loader.RegisterFunction(std::move(compact));
	auto compact_pragma = PragmaFunction::PragmaCall("hnsw_compact_index", CompactPragma, {LogicalType::VARCHAR});
	compact_pragma.GetSignature().AddKeywordOnly("quantization", LogicalType::VARCHAR, quantization);
	loader.RegisterFunction(std::move(compact_pragma));
	TableFunctionSet finish("pragma_hnsw_finish");
	finish.AddFunction(TableFunction({}, FinishScan, FinishBind, FinishInit));
	finish.AddFunction(TableFunction({LogicalType::VARCHAR}, FinishScan, FinishBind, FinishInit));
	loader.RegisterFunction(std::move(finish));
	PragmaFunctionSet finish_pragma("hnsw_finish");
	finish_pragma.AddFunction(PragmaFunction::PragmaStatement("hnsw_finish", FinishPragma));
	finish_pragma.AddFunction(PragmaFunction::PragmaCall("hnsw_finish", FinishPragma, {LogicalType::VARCHAR}));
	loader.RegisterFunction(finish_pragma);
}

} // namespace duckdb
