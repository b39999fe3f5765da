//! What the threads of an HNSW_INDEX_JOIN share, and what each of them keeps to itself.
#pragma once

#include "duckdb/common/types/column/column_data_collection.hpp"
#include "duckdb/common/vector/dictionary_vector.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/storage/table/scan_state.hpp"
#include "index/hnsw_index.hpp"
#include "execution/own_rows.hpp"
#include "execution/physical_join.hpp"

namespace duckdb {

class VectorBatch;

//! Hands out the query vectors, and holds how to search for them.
class HNSWJoinGlobalState : public SearchGlobalState {
public:
	HNSWJoinGlobalState(ClientContext &context, const PhysicalHNSWJoin &op, ColumnDataCollection &probes);

	idx_t MaxThreads() override {
		return (probes.Count() + batch_size - 1) / batch_size;
	}
	//! Copies the next rows with query vectors into `batch`, at most `limit`; it is empty at the end.
	void NextBatch(DataChunk &batch, idx_t limit);
	//! Whether every search has been reported.
	bool AllReported() const {
		return reported == probes.Count();
	}

	//! Null if the index was dropped meanwhile, or is out of step with its table.
	unique_ptr<SharedIndex> index;
	//! Which of the rows that qualify do so for which query vector, if that differs.
	QualifyingRows qualifying;
	vss::SearchRequest request;
	//! With bounds: the distances that are wanted.
	vss::RangeRequest range;
	//! All conditions, as one.
	unique_ptr<Expression> condition;
	ColumnDataCollection &probes;
	idx_t batch_size;
	atomic<idx_t> taken {0};
	//! So many pairs are within the bounds that it is cheaper to compare all.
	atomic<bool> compares_all {false};
	//! Query vectors whose search has been reported.
	atomic<idx_t> reported {0};

private:
	mutex lock;
	ColumnDataScanState scan_state;
	//! The rows to hand out next, from `offset` on.
	DataChunk current;
	idx_t offset = 0;
};

//! One thread's batch of query vectors, and how far its pairs have been emitted.
class HNSWJoinLocalState : public LocalSourceState {
public:
	HNSWJoinLocalState(ExecutionContext &context, const PhysicalHNSWJoin &op, HNSWJoinGlobalState &gstate);

	//! Searches for the next query vectors, taking new ones if all of the batch are done. False if there are none left.
	bool NextBatch();
	//! Fills `chunk` with pairs found by the searches of the batch; false if there are no more.
	bool EmitCandidates(DataChunk &chunk);
	//! Fills `chunk` with pairs of a whole block of rows: the transaction's own or, for query vectors that the index
	//! could not answer, the table's. FINISHED at the end of the batch.
	SourceResultType EmitBlock(DataChunk &chunk, InterruptState &interrupt_state);

private:
	//! A row that may be among the nearest to a query vector of the batch.
	struct Pair {
		int64_t row_id;
		sel_t probe;
		//! The search has returned every pair that is nearer than this one.
		bool certain;
	};
	enum class Blocks { OWN_ROWS, TABLE, NONE };

	//! A query vector that is searched for.
	struct Probe {
		sel_t number;
		const float *query;
		//! Rows that the last search found, and how many of their pairs pass all conditions.
		idx_t found;
		idx_t passing;
		//! The search has returned all rows that qualify.
		bool complete;
		vss::Strategy strategy;
	};

	//! How many query vectors to take, so that a batch does not have too many pairs.
	idx_t PairsLimit() const;
	//! Copies rows with query vectors; false if there are none left.
	bool TakeBatch();
	//! Casts the query vectors of the batch, leaving out those that are NULL or do not fit. `values`: the query vectors
	//! as the plan computes them.
	VectorBatch CastQueries(Vector &values, Vector &queries, Vector &numbers);
	//! Searches for the query vectors of the batch. Those that cannot be searched for are left to the table.
	void SearchAll();
	//! With bounds: fills the list of query vectors to search for, with those for which the index may know rows.
	void OpenQueries(JoinReport &report);
	//! Searches for all rows within the bounds, for the next query vectors of that list.
	void SearchWithin();
	//! Leaves the query vector `number` of the batch to the table.
	void LeaveToTable(sel_t number, JoinReport &report);
	//! Searches for `k` rows for each query vector of `open`. Returns those that need more rows.
	vector<Probe> SearchRound(vector<Probe> open, idx_t k, JoinReport &report);
	void Search(Probe &probe, idx_t k, vector<Pair> &found, JoinReport &report);
	//! The same for all of `open` together. False if searching one by one is as fast, or if different rows qualify for
	//! each.
	bool SearchTogether(vector<Probe> &open, idx_t k, vector<Pair> &found, JoinReport &report);
	void TakeAnswer(const vss::SearchAnswer &answer, Probe &probe, vector<Pair> &found, JoinReport &report);
	//! Counts the pairs that pass all conditions.
	void CountPassing(const vector<Pair> &found, vector<Probe> &open);
	//! Fills `chunk` with pairs of `from`, from `first` on, and `probes` with their query vectors. Returns how many
	//! pairs it has looked at: some of their rows may be gone.
	idx_t FetchPairs(const vector<Pair> &from, idx_t first, DataChunk &chunk, SelectionVector &probes);
	SourceResultType NextBlock(InterruptState &interrupt_state);
	//! `rows` after the projections above the scan.
	DataChunk &Project(DataChunk &rows);
	//! Puts `rows` into the table's columns of `chunk`; returns the first of the other columns.
	idx_t ReferenceRows(DataChunk &chunk, DataChunk &rows) const;

	ExecutionContext &context;
	const PhysicalHNSWJoin &op;
	HNSWJoinGlobalState &gstate;
	ExpressionExecutor query_executor;
	ExpressionExecutor condition_executor;
	//! Null if the same rows qualify for all query vectors.
	unique_ptr<PairFilterExecutor> pair_executor;
	//! Pairs for which the conditions are evaluated.
	DataChunk checked;
	vector<unique_ptr<ExpressionExecutor>> executors;
	vector<unique_ptr<DataChunk>> projected;

	DataChunk batch;
	//! With bounds: the query vectors of the batch to search for; the next is at `next_open`.
	vector<sel_t> open_numbers;
	vector<float> open_queries;
	idx_t next_open = 0;
	//! Query vectors to take next. Fewer if searches take long, because the client looks for Ctrl-C only between
	//! batches, or if they find much.
	idx_t batch_limit;
	//! The last query vectors were searched for together.
	bool together = false;
	//! Reserved for the pairs.
	vss::ReservedMemory pairs_memory;
	//! The columns of `batch` as dictionaries, to which pairs refer: so DuckDB groups and hashes by query vector, not
	//! by pair. Null for structs, which cannot be dictionaries.
	vector<buffer_ptr<DictionaryEntry>> dictionaries;
	vector<Pair> pairs;
	idx_t next_pair = 0;
	ColumnFetchState fetch_state;
	//! The columns of the scan and the row id, which tells which rows were fetched.
	vector<StorageIndex> fetched_ids;
	DataChunk fetched;

	Blocks blocks = Blocks::NONE;
	//! Query vectors of the batch that the index has answered, and those left to the table.
	vector<sel_t> answered;
	vector<sel_t> unanswered;
	//! The current block, and the place in `answered` or `unanswered` of the query vector to pair it with next.
	DataChunk block;
	optional_ptr<DataChunk> block_rows;
	idx_t next_probe = 0;
	OwnRows own_rows;
	unique_ptr<GlobalSourceState> scan_global;
	unique_ptr<LocalSourceState> scan_local;
};

} // namespace duckdb
