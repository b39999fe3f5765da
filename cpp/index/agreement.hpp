//! How an index and its table stand to each other, as a state machine: whether the index may answer, what it lacks, what has to
//! be done about it.
#pragma once

#include "duckdb/common/atomic.hpp"
#include "duckdb/common/limits.hpp"
#include "duckdb/common/mutex.hpp"
#include "duckdb/common/shared_ptr.hpp"
#include "duckdb/common/string.hpp"

namespace duckdb {

//! The events are methods named in the past tense; docs/architecture.md has the states and events as a table. What is said to
//! happen with the entry locked may happen with it locked in any mode, except `Opened` and `Closed`: those exclusively.
class Agreement {
public:
	enum class State : uint8_t {
		//! The index takes no rows: its options are not known yet, there is no memory for it, or its key is no vector.
		CLOSED,
		//! The index takes every change, but rows from before may be missing, or gone: queries scan the table.
		UNKNOWN,
		//! No row is missing; rows may be left whose deletion is committed. Queries are served: the table decides what they see.
		RECHECK,
		//! Index and table agree.
		IN_STEP,
		//! The index has left the table's list.
		DROPPED
	};

	//! Why an index is closed.
	enum class Reason : uint8_t {
		//! Only the catalog knows its options, and it cannot be asked while DuckDB binds the index.
		OPTIONS_UNKNOWN,
		//! There was not enough memory, or its image could not be read for now.
		FOR_NOW,
		//! It can never be opened.
		FOR_GOOD
	};

	static constexpr uint64_t NEVER = NumericLimits<uint64_t>::Maximum();

	//! DuckDB binds an index (state CLOSED), or an index is made (state UNKNOWN).
	explicit Agreement(State state) : state(state) {
	}

	//! CLOSED → UNKNOWN. Rows [0, covered) had been handed to it. `trusted`: and nothing but DuckDB's log, which has been
	//! replayed, has changed the table since; not if changes were missed while it was closed.
	void Opened(idx_t covered, bool trusted);
	//! → CLOSED. Changes have been missed, or will be.
	void Closed(Reason reason);
	//! CLOSED: the catalog was asked for the options.
	void OptionsLearnt();
	//! A row came or went. True if the index is closed and so has missed it.
	bool Missed();
	//! Rows below `end` were handed over.
	void Took(idx_t end);
	//! Rows are about to go, by the commit that follows `last_commit`.
	void Deletes(uint64_t last_commit);
	//! UNKNOWN → RECHECK: CREATE INDEX has handed over all rows of the table; those deleted by commits up to the one that
	//! follows `last_commit` may be left. First with a commit that never comes, then, when the index hears of all deletes, with the last
	//! one: so it is known which commits it has not heard of.
	void Published(idx_t next_row_id, uint64_t last_commit);
	//! As `Published`, if the key may change while its row stays: DuckDB updates columns of its types in place, unless it knows, when
	//! it plans the update, that they are indexed. → UNKNOWN, until no transaction is left that began before CREATE INDEX was
	//! committed: such a one may have planned an update without the index, even for later. Then the table is compared, vectors and
	//! all. The transaction that creates the index has begun by `last_commit`.
	void PublishedUnsure(idx_t next_row_id, uint64_t last_commit);
	//! → IN_STEP, or RECHECK if more rows may be found to be gone after the commit `recheck_after`.
	void Reconciled(idx_t next_row_id, uint64_t recheck_after);
	//! → DROPPED.
	void Dropped();

	//! Whether queries of a table with this next row id may be served. Takes no lock.
	bool Serves(idx_t next_row_id) const {
		// rows reach the index before they reach the table, so a complete index is never behind
		return IsComplete() && next_row_id <= covered;
	}
	//! The commits of the table's database, as numbers.
	class Commits {
	public:
		virtual ~Commits() = default;
		//! All transactions see all commits below this.
		virtual uint64_t LowestVisible() const = 0;
		virtual uint64_t Last() const = 0;
	};
	//! Whether there is something to be done: open the index, or reconcile it with its table. Any number of threads may ask at once.
	bool IsDue(const Commits &commits) const;
	bool IsClosed() const {
		return state == State::CLOSED;
	}
	bool IsDropped() const {
		return state == State::DROPPED;
	}
	bool OptionsKnown() const {
		return !IsClosed() || reason != Reason::OPTIONS_UNKNOWN;
	}
	//! No row is missing.
	bool IsComplete() const {
		return state == State::RECHECK || state == State::IN_STEP;
	}
	//! See `Opened`: row ids tell which rows are missing, no vector can have changed.
	bool IsTrusted() const {
		return trusted;
	}
	//! Exclusive end of the row ids that the index was handed.
	idx_t Covered() const {
		return covered;
	}
	//! The last commit before the one that has deleted rows last; `NEVER` if none has. As long as it is the last commit, that one is
	//! not done, and a scan of committed rows does not see what it deletes. Shared, as the index may be dropped during a comparison.
	shared_ptr<const atomic<uint64_t>> DeletedAfter() const {
		return deleted_after;
	}

	//! Why the stored image could not be used, or the table could not be compared; empty if nothing is wrong.
	void SetProblem(string text);
	//! For users: whether the index serves a table with this next row id, and what was or is wrong.
	string Describe(idx_t next_row_id) const;

private:
	atomic<State> state;
	atomic<Reason> reason {Reason::FOR_NOW};
	atomic<bool> trusted {false};
	//! While the index was closed.
	atomic<bool> missed {false};
	atomic<idx_t> covered {0};
	atomic<uint64_t> recheck_after {NEVER};
	shared_ptr<atomic<uint64_t>> deleted_after = make_shared_ptr<atomic<uint64_t>>(NEVER);
	//! UNKNOWN: nothing can be done while somebody sees no commit from this one on.
	mutable atomic<uint64_t> wait_for {0};
	//! Published by a transaction that may not have been committed when `wait_for` was taken.
	mutable atomic<bool> creating {false};
	mutable mutex problem_lock;
	string problem;
};

} // namespace duckdb
