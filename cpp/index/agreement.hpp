//! How an index and its table stand to each other, as a state machine: whether the index may answer, what it lacks, and
//! what has to be done.
#pragma once

#include "duckdb/common/atomic.hpp"
#include "duckdb/common/limits.hpp"
#include "duckdb/common/mutex.hpp"
#include "duckdb/common/shared_ptr.hpp"
#include "duckdb/common/string.hpp"

namespace duckdb {

//! The events are the methods named in the past tense; docs/architecture.md has a table of states and events. `Opened`
//! and `Closed` need the entry locked exclusively. The other events may come under any lock of the entry, or before the
//! index has an entry.
class Agreement {
public:
	enum class State : uint8_t {
		//! The index takes no rows: its options are not known yet, there is no memory for it, or its key is no vector.
		CLOSED,
		//! The index takes every change, but rows from before may be missing, or gone: queries scan the table.
		UNKNOWN,
		//! No row is missing; rows may be left whose deletion is committed. Queries are served: the table decides what
		//! they see.
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

	//! For an index that DuckDB binds (state CLOSED), or that CREATE INDEX makes (state UNKNOWN).
	explicit Agreement(State state) : state(state) {
	}

	//! CLOSED → UNKNOWN. Rows [0, covered) had been handed to the index. `trusted`: since then only DuckDB's log, which
	//! has been replayed, has changed the table. Changes missed while the index was closed overrule `trusted`.
	void Opened(idx_t covered, bool trusted);
	//! → CLOSED. Changes have been missed, or will be.
	void Closed(Reason reason);
	//! CLOSED: the catalog was asked for the options.
	void OptionsLearnt();
	//! A row came or went. True if the index is closed and so has missed it.
	bool Missed();
	//! Rows below `end` were handed over.
	void Took(idx_t end);
	//! The commit that follows `last_commit` is about to delete rows.
	void Deletes(uint64_t last_commit);
	//! UNKNOWN → RECHECK. CREATE INDEX has handed over all rows of the table. Rows may be left that were deleted by
	//! commits up to the one that follows `last_commit`. It is called twice: before the index hears of deletes, with a
	//! commit that never comes; and once the index hears of all deletes, with the last commit. So it is known which
	//! commits the index has not heard of.
	void Published(idx_t next_row_id, uint64_t last_commit);
	//! As `Published`, if the key may change while its row stays. DuckDB updates columns of some types in place, unless
	//! it knows, when it plans the update, that they are indexed. → UNKNOWN, until no transaction is left that began
	//! before CREATE INDEX was committed: such a transaction may have planned an update without the index, even one
	//! that runs later. Then the table is compared with all vectors. The transaction that creates the index has begun
	//! by `last_commit`.
	void PublishedUnsure(idx_t next_row_id, uint64_t last_commit);
	//! → IN_STEP; → RECHECK if more rows may be found to be gone after the commit `recheck_after`.
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
	//! Whether the index has to be opened, or reconciled with its table. Any number of threads may ask at once.
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
	//! See `Opened`: no vector can have changed, so row ids tell which rows are missing.
	bool IsTrusted() const {
		return trusted;
	}
	//! Exclusive end of the row ids that the index was handed.
	idx_t Covered() const {
		return covered;
	}
	//! The last commit before the one that deleted rows most recently; `NEVER` if none has. As long as it is the last
	//! commit, the deleting one is not done, and a scan of committed rows still sees the rows. Shared, as the index may
	//! be dropped during a comparison.
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
	//! Changes came while the index was closed.
	atomic<bool> missed {false};
	atomic<idx_t> covered {0};
	atomic<uint64_t> recheck_after {NEVER};
	shared_ptr<atomic<uint64_t>> deleted_after = make_shared_ptr<atomic<uint64_t>>(NEVER);
	//! UNKNOWN: nothing can be done until all transactions see all commits up to this one.
	mutable atomic<uint64_t> wait_for {0};
	//! The transaction that creates the index may not have been committed when `wait_for` was set.
	mutable atomic<bool> creating {false};
	mutable mutex problem_lock;
	string problem;
};

} // namespace duckdb
