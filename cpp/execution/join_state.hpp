//! What the threads of an HNSW_INDEX_JOIN share, and what each of them keeps.
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

//! The query vectors that are left, and how to search.
class HNSWJoinGlobalState : public SearchGlobalState {
public:
	HNSWJoinGlobalState(ClientContext &context, const PhysicalHNSWJoin &op, ColumnDataCollection &probes);

	idx_t MaxThreads() override {
		return (probes.Count() + batch_size - 1) / batch_size;
	}
	//! Copies the next rows with query vectors into `batch`, at most `limit`; it is empty at the end.
	void NextBatch(DataChunk &batch, idx_t limit);
	//! Every search has been reported.
	bool AllReported() const {
		return reported == probes.Count();
	}

	//! Nothing if the index was dropped meanwhile, or is not in step with its table.
	unique_ptr<SharedIndex> index;
	//! Of the rows that qualify those that do so for a query vector, if not all do for all.
	QualifyingRows qualifying;
	vss::SearchRequest request;
	//! With bounds: which distances are wanted.
	vss::RangeRequest range;
	//! Of all conditions.
	unique_ptr<Expression> condition;
	ColumnDataCollection &probes;
	idx_t batch_size;
	atomic<idx_t> taken {0};
	//! So many pairs are within the bounds that comparing all of them is cheaper.
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

	//! Takes query vectors and searches for them, or for more of those that were taken; false if there are none left.
	bool NextBatch();
	//! Fills `chunk` with pairs found by the searches of the batch; false if there are no more.
	bool EmitCandidates(DataChunk &chunk);
	//! Fills `chunk` with pairs of a whole block of rows: the transaction's own, or the table's for query vectors the
	//! index could not answer. FINISHED at the end of the batch.
	SourceResultType EmitBlock(DataChunk &chunk, InterruptState &interrupt_state);

private:
	//! A row that may be among the nearest to a query vector of the batch.
	struct Pair {
		int64_t row_id;
		sel_t probe;
		//! No pair that was not found is nearer.
		bool certain;
	};
	enum class Blocks { OWN_ROWS, TABLE, NONE };

	//! A query vector that is searched for.
	struct Probe {
		sel_t number;
		const float *query;
		//! Rows of the last search, and pairs with them for which all conditions are true.
		idx_t found;
		idx_t passing;
		//! The search has returned all rows that qualify.
		bool complete;
		vss::Strategy strategy;
	};

	//! Query vectors for which a batch is not larger than it should be.
	idx_t PairsLimit() const;
	//! Copies rows with query vectors; false if there are none left.
	bool TakeBatch();
	//! The query vectors of the batch, those that are NULL or do not fit not among them. `values`: as the plan computes them.
	VectorBatch CastQueries(Vector &values, Vector &queries, Vector &numbers);
	//! Searches for the query vectors of the batch; those that cannot be searched for are left to the table.
	void SearchAll();
	//! With bounds: makes all query vectors of the batch open that the index may know rows of.
	void OpenQueries(JoinReport &report);
	//! Looks for all rows within the bounds of the next query vectors of the batch.
	void SearchWithin();
	//! This query vector of the batch is left to the table.
	void LeaveToTable(sel_t number, JoinReport &report);
	//! Searches for `k` rows for each query vector of `open`, and returns those that need more.
	vector<Probe> SearchRound(vector<Probe> open, idx_t k, JoinReport &report);
	void Search(Probe &probe, idx_t k, vector<Pair> &found, JoinReport &report);
	//! The same for all of `open` together; false if they are as fast one by one, or different rows qualify for each.
	bool SearchTogether(vector<Probe> &open, idx_t k, vector<Pair> &found, JoinReport &report);
	void TakeAnswer(const vss::SearchAnswer &answer, Probe &probe, vector<Pair> &found, JoinReport &report);
	//! Counts the pairs for which all conditions are true.
	void CountPassing(const vector<Pair> &found, vector<Probe> &open);
	//! Fills `chunk` with pairs of `from`, from `first` on, and `probes` with their query vectors. Returns how many pairs it
	//! has looked at: not every row need be there.
	idx_t FetchPairs(const vector<Pair> &from, idx_t first, DataChunk &chunk, SelectionVector &probes);
	SourceResultType NextBlock(InterruptState &interrupt_state);
	//! The rows of `rows`, as the projections above the scan turn them out.
	DataChunk &Project(DataChunk &rows);
	//! Puts `rows` into the table's columns of `chunk`; returns the first of the other columns.
	idx_t ReferenceRows(DataChunk &chunk, DataChunk &rows) const;

	ExecutionContext &context;
	const PhysicalHNSWJoin &op;
	HNSWJoinGlobalState &gstate;
	ExpressionExecutor query_executor;
	ExpressionExecutor condition_executor;
	//! Nothing if the rows that qualify are the same for all query vectors.
	unique_ptr<PairFilterExecutor> pair_executor;
	//! Pairs, for the conditions.
	DataChunk checked;
	vector<unique_ptr<ExpressionExecutor>> executors;
	vector<unique_ptr<DataChunk>> projected;

	DataChunk batch;
	//! With bounds: what is open of the batch, from `next_open` on.
	vector<sel_t> open_numbers;
	vector<float> open_queries;
	idx_t next_open = 0;
	//! Query vectors to take next: fewer if searches take long, as the client looks for Ctrl-C between batches only, or
	//! find much.
	idx_t batch_limit;
	//! The last query vectors were searched for together.
	bool together = false;
	//! Of the pairs.
	vss::ReservedMemory pairs_memory;
	//! The columns of `batch`, for pairs to refer to: DuckDB then groups and hashes by query vector, not by pair. Nothing
	//! for structs, which cannot be dictionaries.
	vector<buffer_ptr<DictionaryEntry>> dictionaries;
	vector<Pair> pairs;
	idx_t next_pair = 0;
	ColumnFetchState fetch_state;
	//! The columns of the scan and the row id, to tell which rows were fetched.
	vector<StorageIndex> fetched_ids;
	DataChunk fetched;

	Blocks blocks = Blocks::NONE;
	//! Query vectors of the batch by who answers them.
	vector<sel_t> answered;
	vector<sel_t> unanswered;
	//! The block, and the place in `answered` or `unanswered` of the next query vector to pair it with.
	DataChunk block;
	optional_ptr<DataChunk> block_rows;
	idx_t next_probe = 0;
	OwnRows own_rows;
	unique_ptr<GlobalSourceState> scan_global;
	unique_ptr<LocalSourceState> scan_local;
};

} // namespace duckdb
