#include "functions/health.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/function/table_function.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "functions/index_lookup.hpp"
#include "host/errors.hpp"
#include "index/hnsw_index.hpp"

namespace duckdb {

namespace {

LogicalType WorkType() {
	return LogicalType::STRUCT(
	    {{"what", LogicalType::VARCHAR}, {"done", LogicalType::BIGINT}, {"total", LogicalType::BIGINT}});
}

//! Columns that `pragma_hnsw_index_info()` also has are named as there.
vector<IndexColumn> HealthColumns() {
	return {{"catalog_name", LogicalType::VARCHAR},
	        {"schema_name", LogicalType::VARCHAR},
	        {"index_name", LogicalType::VARCHAR},
	        {"table_name", LogicalType::VARCHAR},
	        {"status", LogicalType::VARCHAR},
	        {"bytes_on_disk", LogicalType::BIGINT},
	        {"count", LogicalType::BIGINT},
	        {"slots", LogicalType::BIGINT},
	        {"dead", LogicalType::BIGINT},
	        {"free", LogicalType::BIGINT},
	        {"tombstones", LogicalType::BIGINT},
	        {"pending", LogicalType::BIGINT},
	        {"approx_memory_usage", LogicalType::BIGINT},
	        {"target_recall", LogicalType::DOUBLE},
	        {"measured_recall", LogicalType::DOUBLE},
	        {"measured_at", LogicalType::TIMESTAMP_TZ},
	        {"last_checkpoint", LogicalType::TIMESTAMP_TZ},
	        {"last_checkpoint_pages", LogicalType::BIGINT},
	        {"last_checkpoint_bytes", LogicalType::BIGINT},
	        {"last_repair", LogicalType::TIMESTAMP_TZ},
	        {"last_repair_kind", LogicalType::VARCHAR},
	        {"last_repair_slots", LogicalType::BIGINT},
	        {"background_tasks", LogicalType::BIGINT},
	        {"work", LogicalType::LIST(WorkType())}};
}

struct HealthState : public GlobalTableFunctionState {
	vector<FoundIndex> indexes;
	idx_t next = 0;
};

//! What is read of an index while its entry is locked.
struct Glance {
	string status;
	idx_t bytes_on_disk;
	unique_ptr<CheckpointReport> checkpoint;
	idx_t tasks;
	shared_ptr<const ComparisonProgress> comparing;
	unique_ptr<rust::Box<vss::IndexHandle>> core;
};

Value Number(uint64_t value) {
	return Value::BIGINT(NumericCast<int64_t>(value));
}

Value Time(int64_t microseconds) {
	return Value::TIMESTAMPTZ(timestamp_tz_t(microseconds));
}

void AddWork(vector<Value> &work, const char *name, uint64_t done, uint64_t total) {
	if (total > 0) {
		work.push_back(Value::STRUCT({{"what", Value(name)}, {"done", Number(done)}, {"total", Number(total)}}));
	}
}

//! The work that is under way on an index.
Value WorkOn(const Glance &glance, const vss::IndexHealth &health) {
	vector<Value> work;
	auto total = glance.comparing->total.load();
	AddWork(work, "comparison", MinValue<idx_t>(glance.comparing->done, total), total);
	if (glance.tasks + health.linkers > 0 && health.pending > 0) {
		auto rows = health.count + health.tombstones;
		AddWork(work, "linking", rows - MinValue(rows, health.pending), rows);
	}
	AddWork(work, "consolidation", health.consolidation.done, health.consolidation.total);
	AddWork(work, "reconnection", health.reconnection.done, health.reconnection.total);
	AddWork(work, "compaction", health.compaction.done, health.compaction.total);
	AddWork(work, "measurement", health.measurement.done, health.measurement.total);
	return Value::LIST(WorkType(), std::move(work));
}

//! Adds the columns that follow those known of every index.
void AddLoaded(const Glance &glance, vector<Value> &values) {
	auto health = Translate([&] { return (*glance.core)->health(); });
	for (auto number :
	     {health.count, health.slots, health.dead, health.free, health.tombstones, health.pending, health.memory}) {
		values.push_back(Number(number));
	}
	auto wanted = health.target_recall > 0;
	values.push_back(wanted ? Value::DOUBLE(health.target_recall) : Value());
	auto measured = health.target.queries > 0;
	values.push_back(measured ? Value::DOUBLE(health.target.recall) : Value());
	values.push_back(measured ? Time(health.target.time) : Value());
	auto &checkpoint = glance.checkpoint;
	values.push_back(checkpoint ? Time(checkpoint->time.value) : Value());
	values.push_back(checkpoint ? Number(checkpoint->pages) : Value());
	values.push_back(checkpoint ? Number(checkpoint->bytes) : Value());
	auto repaired = health.repair != vss::RepairKind::Nothing;
	values.push_back(repaired ? Time(health.repair_time) : Value());
	values.push_back(repaired ? Value(string(vss::repair_name(health.repair))) : Value());
	values.push_back(repaired ? Number(health.repaired_slots) : Value());
	values.push_back(Number(glance.tasks));
	values.push_back(WorkOn(glance, health));
}

//! Status of an index, and what else is known; empty if it was dropped. Binds nothing and changes nothing.
vector<Value> Look(const FoundIndex &found) {
	vector<Value> values;
	auto &entry = *found.index;
	if (entry.GetBindState() == IndexBindState::BINDING) {
		// DuckDB holds the entry's lock until the index is read
		return {Value("loading"), Value()};
	}
	if (entry.GetBindState() == IndexBindState::UNBOUND) {
		auto bytes = HNSWIndex::UnboundBytesOnDisk(entry);
		if (bytes.IsValid()) {
			return {Value("not loaded: the first statement that needs it reads it"), Number(bytes.GetIndex())};
		}
	}
	Glance glance;
	auto exists = HNSWIndex::Visit(entry, [&](const HNSWIndex &index) {
		glance.status = index.Status(found.storage);
		glance.bytes_on_disk = index.BytesOnDisk();
		auto checkpoint = index.LastCheckpoint();
		glance.checkpoint = checkpoint ? make_uniq<CheckpointReport>(*checkpoint) : nullptr;
		glance.tasks = index.BackgroundTasks();
		glance.comparing = index.Comparing();
		glance.core = make_uniq<rust::Box<vss::IndexHandle>>(index.Core().share());
	});
	if (exists) {
		values = {Value(glance.status), Number(glance.bytes_on_disk)};
		AddLoaded(glance, values);
	}
	return values;
}

} // namespace

static unique_ptr<FunctionData> HealthBind(ClientContext &context, TableFunctionBindInput &input,
                                           vector<LogicalType> &return_types, vector<Identifier> &names) {
	BindColumns(HealthColumns(), return_types, names);
	return nullptr;
}

static unique_ptr<GlobalTableFunctionState> HealthInit(ClientContext &context, TableFunctionInitInput &input) {
	auto result = make_uniq<HealthState>();
	result->indexes = ListIndexes(context);
	return std::move(result);
}

static void HealthScan(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<HealthState>();
	idx_t row = 0;
	for (; state.next < state.indexes.size() && row < STANDARD_VECTOR_SIZE; state.next++) {
		auto &found = state.indexes[state.next];
		auto seen = Look(found);
		if (seen.empty()) {
			continue; // dropped meanwhile
		}
		auto values = found.Names();
		values.insert(values.end(), seen.begin(), seen.end());
		for (idx_t col = 0; col < output.ColumnCount(); col++) {
			auto known = col < values.size() && !values[col].IsNull();
			output.data[col].Append(known ? values[col] : Value(output.data[col].GetType()));
		}
		row++;
	}
	output.SetChildCardinality(row);
}

void RegisterHealth(ExtensionLoader &loader) {
	loader.RegisterFunction(TableFunction("hnsw_index_health", {}, HealthScan, HealthBind, HealthInit));
}

} // namespace duckdb
