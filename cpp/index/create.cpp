#include "index/create.hpp"

#include "duckdb/catalog/catalog_entry/duck_index_entry.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/sql_identifier.hpp"
#include "duckdb/execution/index/index_type.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parallel/base_pipeline_event.hpp"
#include "duckdb/parallel/executor_task.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/operator/logical_create_index.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "duckdb/storage/storage_manager.hpp"
#include "duckdb/storage/table/append_state.hpp"
#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"
#include "duckdb/storage/table_io_manager.hpp"
#include "duckdb/transaction/duck_transaction.hpp"
#include "duckdb/transaction/duck_transaction_manager.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"
#include "host/log.hpp"
#include "index/hnsw_index.hpp"
#include "index/keys.hpp"
#include "host/settings.hpp"
#include "host/vector_batch.hpp"

#include <chrono>
#include <thread>

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Validation
//---------------------------------------------------------------------------------------------------------------------

//! The number in `WITH (dimensions = …)`. Takes the option out, as the key's type tells the number.
static optional_idx TakeDimensions(case_insensitive_map_t<Value> &options) {
	auto entry = options.find("dimensions");
	if (entry == options.end()) {
		return optional_idx();
	}
	auto given = entry->second;
	options.erase(entry);
	auto number = given.type().IsIntegral() ? given.DefaultTryCastAs(LogicalType::BIGINT) : nullptr;
	if (!number || number->IsNull()) {
		throw BinderException("HNSW option 'dimensions' is %s; use a whole number", given.ToString());
	}
	auto result = BigIntValue::Get(*number);
	Translate([&] { vss::check_dimensions(result); });
	return UnsafeNumericCast<idx_t>(result);
}

//! The length of the first list with elements that the transaction sees in a column; nothing if the key is no column,
//! or has no such list.
static optional_idx FirstLength(ClientContext &context, DuckTableEntry &table, const Expression &key,
                                const CreateIndexInfo &info) {
	if (key.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF || info.column_ids.size() != 1) {
		return optional_idx();
	}
	auto column = table.GetColumns().LogicalToPhysical(LogicalIndex(info.column_ids[0])).index;
	auto &storage = table.GetStorage();
	auto &transaction = DuckTransaction::Get(context, storage.db);
	vector<StorageIndex> column_ids {StorageIndex(column)};
	DataChunk chunk;
	chunk.Initialize(Allocator::Get(context), {key.GetReturnType()});
	TableScanState state;
	state.Initialize(column_ids, context, nullptr);
	storage.InitializeScan(context, transaction, state, column_ids, nullptr);
	while (true) {
		context.InterruptCheck();
		chunk.Reset();
		storage.Scan(transaction, chunk, state);
		if (chunk.size() == 0) {
			return optional_idx();
		}
		UnifiedVectorFormat format;
		chunk.data[0].ToUnifiedFormat(format);
		auto lists = UnifiedVectorFormat::GetData<list_entry_t>(format);
		for (idx_t i = 0; i < chunk.size(); i++) {
			auto row = format.sel->get_index(i);
			if (format.validity.RowIsValid(row) && lists[row].length > 0) {
				return lists[row].length;
			}
		}
	}
}

//! The type FLOAT[n] of the vectors in the index. `given`: the option `dimensions`.
static LogicalType KeyType(ClientContext &context, DuckTableEntry &table, const Expression &key,
                           const CreateIndexInfo &info, optional_idx given) {
	auto &type = key.GetReturnType();
	auto name = info.ExpressionsToList()[0];
	auto is_array = type.id() == LogicalTypeId::ARRAY;
	auto is_list = type.id() == LogicalTypeId::LIST;
	auto numbers = (is_array && ArrayType::GetChildType(type).IsNumeric()) ||
	               (is_list && ListType::GetChildType(type).IsNumeric());
	if (!numbers) {
		if (type.id() == LogicalTypeId::VARCHAR) {
			throw BinderException("HNSW index key %s has type %s, but must have type FLOAT[n]; index the expression "
			                      "(%s::FLOAT[n]), with n the number of dimensions, or change the type of the column",
			                      name, type.ToString(), name);
		}
		throw BinderException(
		    "HNSW index key %s has type %s, but must be a vector: FLOAT[n], or an array or list of numbers", name,
		    type.ToString());
	}
	auto dimensions = is_array ? ArrayType::GetSize(type) : given;
	if (is_array && given.IsValid() && given.GetIndex() != dimensions.GetIndex()) {
		throw BinderException("HNSW option 'dimensions' is %llu, but key %s has type %s; leave the option out",
		                      given.GetIndex(), name, type.ToString());
	}
	if (!dimensions.IsValid()) {
		dimensions = FirstLength(context, table, key, info);
	}
	if (!dimensions.IsValid()) {
		throw BinderException("HNSW index key %s has type %s, and no row that tells how long its vectors are: say so, "
		                      "WITH (dimensions = n)",
		                      name, type.ToString());
	}
	Translate([&] { vss::check_dimensions(UnsafeNumericCast<int64_t>(dimensions.GetIndex())); });
	return LogicalType::ARRAY(LogicalType::FLOAT, dimensions);
}

//! Adds the session's defaults to the options: the index keeps what it was made with.
static void TakeDefaults(ClientContext &context, case_insensitive_map_t<Value> &options) {
	auto quantization = DefaultQuantization(context);
	if (quantization != vss::Quantization::None) {
		// does nothing if the option is given
		options.emplace("quantization", Value(string(vss::quantization_name(quantization))));
	}
}

static void CheckPersistence(ClientContext &context, AttachedDatabase &db) {
	if (!db.IsTemporary() && !db.GetStorageManager().InMemory() && !PersistenceEnabled(context)) {
		throw BinderException("HNSW indexes can only be created in in-memory databases, or in a database file when "
		                      "the setting '%s' is true; it is false",
		                      PERSISTENCE_SETTING);
	}
}

PhysicalOperator &PhysicalCreateHNSW::Plan(PlanIndexInput &input) {
	auto &op = input.op;
	auto &info = *op.info;
	auto name = info.GetIndexName().GetIdentifierName();
	if (info.constraint_type != IndexConstraintType::NONE) {
		throw BinderException("HNSW index '%s' cannot be UNIQUE or a PRIMARY KEY: remove the constraint", name);
	}
	if (op.unbound_expressions.size() != 1) {
		throw BinderException("HNSW index '%s' has %llu keys, but can have only one column or expression", name,
		                      op.unbound_expressions.size());
	}
	auto &table = op.table.Cast<DuckTableEntry>();
	auto given = TakeDimensions(info.options);
	auto type = KeyType(input.context, table, *op.unbound_expressions[0], info, given);
	auto guessed_length = !given.IsValid() && op.unbound_expressions[0]->GetReturnType().id() == LogicalTypeId::LIST;
	if (type != op.unbound_expressions[0]->GetReturnType()) {
		// the index is on the expression (key::FLOAT[n]), in the catalog, too
		for (auto keys : {&op.expressions, &op.unbound_expressions}) {
			(*keys)[0] = BoundCastExpression::AddCastToType(input.context, std::move((*keys)[0]), type);
		}
		for (auto keys : {&info.expressions, &info.parsed_expressions}) {
			(*keys)[0] = make_uniq<CastExpression>(type, std::move((*keys)[0]));
		}
	}
	TakeDefaults(input.context, info.options);
	auto options = ParseIndexOptions(info.options);
	CheckPersistence(input.context, table.GetStorage().db);
	// the stored spelling is compared case-sensitively
	info.index_type = HNSWIndex::TYPE_NAME;

	vector<column_t> storage_ids;
	for (auto &column_id : info.column_ids) {
		storage_ids.push_back(table.GetColumns().LogicalToPhysical(LogicalIndex(column_id)).index);
	}
	// NULL keys are skipped by the sink
	auto &physical = input.planner.Make<PhysicalCreateHNSW>(op.types, op.estimated_cardinality, table,
	                                                        std::move(op.info), std::move(storage_ids),
	                                                        std::move(op.unbound_expressions), std::move(options));
	auto &create = physical.Cast<PhysicalCreateHNSW>();
	create.key = std::move(op.expressions[0]);
	create.guessed_length = guessed_length;
	create.children.push_back(input.table_scan);
	return create;
}

PhysicalCreateHNSW::PhysicalCreateHNSW(PhysicalPlan &physical_plan, vector<LogicalType> types,
                                       idx_t estimated_cardinality, DuckTableEntry &table_p,
                                       unique_ptr<CreateIndexInfo> info_p, vector<column_t> storage_ids_p,
                                       vector<unique_ptr<Expression>> unbound_expressions_p,
                                       vss::IndexOptions options_p)
    : PhysicalOperator(physical_plan, TYPE, std::move(types), estimated_cardinality), table(table_p),
      info(std::move(info_p)), storage_ids(std::move(storage_ids_p)),
      unbound_expressions(std::move(unbound_expressions_p)), options(std::move(options_p)) {
}

InsertionOrderPreservingMap<string> PhysicalCreateHNSW::ParamsToString() const {
	InsertionOrderPreservingMap<string> result;
	result["Table"] = table.name.GetIdentifierName();
	result["Index"] = info->GetIndexName().GetIdentifierName();
	result["Metric"] = string(vss::metric_name(options.metric));
	if (options.quantization != vss::Quantization::None) {
		result["Quantization"] = string(vss::quantization_name(options.quantization));
	}
	return result;
}

//---------------------------------------------------------------------------------------------------------------------
// Sink
//---------------------------------------------------------------------------------------------------------------------

class CreateHNSWGlobalState : public GlobalSinkState {
public:
	CreateHNSWGlobalState(ClientContext &context, unique_ptr<HNSWIndex> index_p, idx_t scanned_until_p,
	                      DataTable &storage)
	    : index(std::move(index_p)), interrupt(context, Executor::Get(context)), scanned_until(scanned_until_p),
	      total_rows(storage.GetTotalRows()), rows_linked(0) {
	}

	unique_ptr<HNSWIndex> index;
	const vss::HostInterrupt interrupt;
	//! The scan begins after this was read, and delivers all row ids below. A row seen twice is an upsert.
	const idx_t scanned_until;
	const idx_t total_rows;
	atomic<idx_t> rows_linked;
	//! Some rows are held out: they are linked only after the index was measured with them.
	bool holds_out = false;
	const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
};

//! Whether the row is in the table, but the transaction that inserts it is not done. That may fail, and other rows
//! would get the row ids from there on.
static bool InsertPending(DataTable &storage, idx_t row_id) {
	auto sees = [&](VisibilityBound bound) {
		TransactionData view(MAX_TRANSACTION_ID, bound);
		return storage.GetRowGroupCollection()->CanFetch(view, UnsafeNumericCast<row_t>(row_id));
	};
	return !sees(VisibilityBound::AllCommitted()) && sees(VisibilityBound::Before(NOT_DELETED_ID));
}

//! The next row id of the table, at a moment when no insert below may fail any more. Commits put their rows at the end
//! one after the other, so the last row tells; a commit that is going on is waited for. Takes the append lock for
//! moments.
static idx_t CommittedEnd(ClientContext &context, DataTable &storage) {
	auto &transaction = DuckTransaction::Get(context, storage.db);
	while (true) {
		{
			// while it is held, no commit is between the index list and the table
			TableAppendState append_state;
			storage.AppendLock(transaction, append_state);
			auto end = storage.GetNextRowId();
			if (end == 0 || !InsertPending(storage, end - 1)) {
				return end;
			}
		}
		context.InterruptCheck();
		std::this_thread::yield();
	}
}

unique_ptr<GlobalSinkState> PhysicalCreateHNSW::GetGlobalSinkState(ClientContext &context) const {
	auto &storage = table.GetStorage();
	auto core = HNSWIndex::MakeCore(options, unbound_expressions[0]->GetReturnType(), storage.db);
	auto index =
	    make_uniq<HNSWIndex>(info->GetIndexName(), info->constraint_type, storage_ids, TableIOManager::Get(storage),
	                         unbound_expressions, storage.db, options, std::move(core), Agreement::State::UNKNOWN);
	index->Core().reserve_rows(storage.GetTotalRows());
	// called so that the core learns the session's target recall
	SearchWidth(context, index->Core(), options, 1);
	return make_uniq<CreateHNSWGlobalState>(context, std::move(index), CommittedEnd(context, storage), storage);
}

//! Computes the keys for one thread.
class CreateHNSWLocalState : public LocalSinkState {
public:
	CreateHNSWLocalState(ClientContext &context, const Expression &key) : executor(context, key) {
		keys.Initialize(Allocator::Get(context), {key.GetReturnType()});
	}

	ExpressionExecutor executor;
	DataChunk keys;
};

unique_ptr<LocalSinkState> PhysicalCreateHNSW::GetLocalSinkState(ExecutionContext &context) const {
	return make_uniq<CreateHNSWLocalState>(context.client, *key);
}

SinkResultType PhysicalCreateHNSW::Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const {
	auto &state = input.global_state.Cast<CreateHNSWGlobalState>();
	auto &lstate = input.local_state.Cast<CreateHNSWLocalState>();
	state.interrupt.Check();
	lstate.keys.Reset();
	auto compute = [&](DataChunk &rows, DataChunk &keys) { lstate.executor.Execute(rows, keys); };
	if (guessed_length) {
		compute(chunk, lstate.keys);
	} else {
		ComputeKeys(chunk, lstate.keys, compute);
	}
	VectorBatch batch(lstate.keys.data[0], chunk.data.back(), chunk.size(), state.index->Dimensions());
	Translate([&] { state.index->Core().append(vss::RowOrigin::Scan, batch.RowIds(), batch.Values()); });
	return SinkResultType::NEED_MORE_INPUT;
}

ProgressData PhysicalCreateHNSW::GetSinkProgress(ClientContext &context, GlobalSinkState &state_p,
                                                 const ProgressData source_progress) const {
	auto &state = state_p.Cast<CreateHNSWGlobalState>();
	// DuckDB adds up the rows of all pipelines, and expects as many of the pipeline that reads this operator's (empty)
	// output: the weight lets that one count for little
	constexpr double WEIGHT = 1000;
	ProgressData progress;
	progress.total = WEIGHT * double(MaxValue<idx_t>(state.total_rows, 1));
	progress.done = MinValue<double>(WEIGHT * double(state.rows_linked), progress.total);
	return progress;
}

//---------------------------------------------------------------------------------------------------------------------
// Linking
//---------------------------------------------------------------------------------------------------------------------

//! Some of the work that is left once the rows are collected. A task ends soon and leaves the rest to a new one: the
//! client looks for Ctrl-C between tasks only, and when it cancels a query, it waits for the tasks that run.
class BuildTask : public ExecutorTask {
public:
	//! Does a little. Returns whether there may be more to do. Throws what the core throws.
	using step_t = bool (*)(CreateHNSWGlobalState &state);

	BuildTask(ClientContext &context_p, shared_ptr<Event> event, const PhysicalCreateHNSW &op_p,
	          CreateHNSWGlobalState &state_p, step_t step_p)
	    : ExecutorTask(context_p, std::move(event), op_p), client(context_p), create(op_p), state(state_p),
	      step(step_p) {
	}

	TaskExecutionResult ExecuteTask(TaskExecutionMode mode) override {
		auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
		while (std::chrono::steady_clock::now() < end) {
			if (!step(state)) {
				event->FinishTask();
				return TaskExecutionResult::TASK_FINISHED;
			}
		}
		auto rest = make_shared_ptr<BuildTask>(client, event, create, state, step);
		TaskScheduler::GetScheduler(client).ScheduleTask(executor.GetToken(), std::move(rest));
		return TaskExecutionResult::TASK_FINISHED;
	}
	string TaskType() const override {
		return "HNSWBuildTask";
	}

private:
	ClientContext &client;
	const PhysicalCreateHNSW &create;
	CreateHNSWGlobalState &state;
	const step_t step;
};

class BuildEvent : public BasePipelineEvent {
public:
	BuildEvent(Pipeline &pipeline, const PhysicalCreateHNSW &op_p, CreateHNSWGlobalState &state_p)
	    : BasePipelineEvent(pipeline), op(op_p), state(state_p) {
	}

protected:
	void ScheduleTasks(idx_t count, BuildTask::step_t step) {
		auto &context = pipeline->GetClientContext();
		vector<shared_ptr<Task>> tasks;
		for (idx_t i = 0; i < count; i++) {
			tasks.push_back(make_shared_ptr<BuildTask>(context, shared_from_this(), op, state, step));
		}
		SetTasks(std::move(tasks));
	}

	const PhysicalCreateHNSW &op;
	CreateHNSWGlobalState &state;
};

//! Measures which search width finds the rows that are held out, then has them linked.
class MeasureEvent : public BuildEvent {
public:
	using BuildEvent::BuildEvent;

	void Schedule() override {
		ScheduleTasks(1, [](CreateHNSWGlobalState &state) {
			return Translate(
			    [&] { return state.index->Core().measure_step(MaintenanceQueue::SEARCHES_PER_STEP, state.interrupt); });
		});
	}

	void FinishEvent() override;
};

//! Adds links to rows that no walk would reach, then publishes.
class ReachRowsEvent : public BuildEvent {
public:
	using BuildEvent::BuildEvent;

	void Schedule() override {
		ScheduleTasks(1, [](CreateHNSWGlobalState &state) {
			return Translate([&] {
				       return state.index->Core().reconnect(MaintenanceQueue::NODES_PER_STEP, state.interrupt);
			       }) > 0;
		});
	}

	void FinishEvent() override {
		op.Publish(pipeline->GetClientContext(), state);
	}
};

//! Links the collected rows on all threads, except those held out for a measurement. The scan hands a thread whole row
//! groups of 122,880 rows, so linking in the sink would leave most threads without work.
class LinkRowsEvent : public BuildEvent {
public:
	using BuildEvent::BuildEvent;

	void Schedule() override {
		auto &scheduler = TaskScheduler::GetScheduler(pipeline->GetClientContext());
		ScheduleTasks(NumericCast<idx_t>(scheduler.NumberOfThreads()), [](CreateHNSWGlobalState &state) {
			auto &core = state.index->Core();
			auto linked = Translate([&] { return core.link(ROWS_PER_STEP, state.interrupt); });
			state.rows_linked += linked;
			return linked > 0;
		});
	}

	void FinishEvent() override {
		if (state.holds_out) {
			InsertEvent(make_shared_ptr<MeasureEvent>(*pipeline, op, state));
		} else {
			InsertEvent(make_shared_ptr<ReachRowsEvent>(*pipeline, op, state));
		}
	}

private:
	//! At most some ten milliseconds of work, for the widest vectors.
	static constexpr idx_t ROWS_PER_STEP = 4;
};

void MeasureEvent::FinishEvent() {
	state.holds_out = false;
	state.index->Core().release_held_out();
	InsertEvent(make_shared_ptr<LinkRowsEvent>(*pipeline, op, state));
}

SinkFinalizeType PhysicalCreateHNSW::Finalize(Pipeline &pipeline, Event &event, ClientContext &context,
                                              OperatorSinkFinalizeInput &input) const {
	auto &state = input.global_state.Cast<CreateHNSWGlobalState>();
	state.index->Core().seed_in_random_order();
	state.holds_out = state.index->Core().hold_out();
	event.InsertEvent(make_shared_ptr<LinkRowsEvent>(pipeline, *this, state));
	return SinkFinalizeType::READY;
}

//---------------------------------------------------------------------------------------------------------------------
// Publishing
//---------------------------------------------------------------------------------------------------------------------

//! Appends the rows that reached the table while the graph was built; returns the next row id. The append lock must be held.
static idx_t AppendArrived(const vss::HostInterrupt &interrupt, DuckTransaction &transaction, DataTable &storage,
                           HNSWIndex &index, idx_t scanned_until) {
	auto next_row_id = storage.GetNextRowId();
	auto row = scanned_until;
	if (next_row_id > scanned_until) {
		Vector row_ids(LogicalType::ROW_TYPE);
		storage.ScanTableSegment(transaction, scanned_until, next_row_id - scanned_until, [&](DataChunk &chunk) {
			interrupt.Check();
			auto data = FlatVector::GetDataMutable<row_t>(row_ids);
			for (idx_t i = 0; i < chunk.size(); i++) {
				data[i] = UnsafeNumericCast<row_t>(row++);
			}
			auto error = index.AppendScanned(chunk, row_ids);
			if (error.HasError()) {
				error.Throw();
			}
		});
	}
	return next_row_id;
}

//! Whether DuckDB would update one of the columns in place if it knew of no index. It never does so with arrays and
//! lists.
static bool UpdatedInPlace(DataTable &storage, const vector<column_t> &columns) {
	auto types = storage.GetTypes();
	return std::any_of(columns.begin(), columns.end(),
	                   [&](column_t column) { return types[column].SupportsRegularUpdate(); });
}

void PhysicalCreateHNSW::Publish(ClientContext &context, CreateHNSWGlobalState &state) const {
	auto &storage = table.GetStorage();
	if (!storage.IsMainTable()) {
		throw TransactionException(
		    "Transaction conflict: cannot add an index to a table that has been altered or dropped");
	}
	auto &schema = table.schema;
	auto catalog_transaction = schema.GetCatalogTransaction(context);
	if (schema.GetEntry(catalog_transaction, CatalogType::INDEX_ENTRY, info->GetIndexName())) {
		if (info->on_conflict != OnCreateConflict::IGNORE_ON_CONFLICT) {
			throw CatalogException("Index with name %s already exists!", info->GetIndexName());
		}
		return;
	}
	// The catalog first: ALTER TABLE also takes the catalog's lock before the append lock.
	info->column_ids = storage_ids;
	auto &entry = schema.CreateIndex(catalog_transaction, *info, table)->Cast<DuckIndexEntry>();

	// Appends go on while the graph is built. From here until AddIndex they wait, so none can be missed.
	auto &transaction = DuckTransaction::Get(context, storage.db);
	TableAppendState append_state;
	storage.AppendLock(transaction, append_state);
	auto next_row_id = AppendArrived(state.interrupt, transaction, storage, *state.index, state.scanned_until);
	entry.initial_index_size = state.index->Core().memory_used();
	auto &manager = DuckTransactionManager::Get(storage.db);
	auto unsure = UpdatedInPlace(storage, storage_ids);
	state.index->Published(next_row_id, MAX_COMMIT_ID, unsure);
	storage.AddIndex(std::move(state.index), entry.oid);
	// From now on the index hears of deletes, and updates are planned with it. What the index has missed is done once
	// the commit is done that follows the last one of now. The last commit from before AddIndex would be too early:
	// another commit may have ended, and a delete begun, in between.
	for (auto &&listed : storage.GetDataTableInfo()->GetIndexes().IndexEntries()) {
		// by its number: the transaction may have dropped another index of this name, which is listed until the commit
		if (listed->GetIndexOid() == entry.oid) {
			HNSWIndex::Change(*listed,
			                  [&](HNSWIndex &index) { index.Published(next_row_id, manager.GetLastCommit(), unsure); });
		}
	}
	auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - state.begin).count();
	IndexLog(context).Write("build", table.name.GetIdentifierName(), info->GetIndexName().GetIdentifierName(),
	                        StringUtil::Format("%llu rows linked in %.3f s", state.rows_linked.load(), seconds));
}

} // namespace duckdb
