#include "index/agreement.hpp"

namespace duckdb {

//! Raises `value` to at least `least`.
static void Raise(atomic<idx_t> &value, idx_t least) {
	auto before = value.load();
	while (before < least && !value.compare_exchange_weak(before, least)) {
	}
}

void Agreement::Opened(idx_t covered_p, bool trusted_p) {
	covered = covered_p;
	trusted = trusted_p && !missed;
	missed = false;
	state = State::UNKNOWN;
}

void Agreement::Closed(Reason reason_p) {
	reason = reason_p;
	// the rows that the index had are gone
	missed = missed || state != State::CLOSED;
	covered = 0;
	state = State::CLOSED;
}

void Agreement::OptionsLearnt() {
	reason = Reason::FOR_NOW;
}

bool Agreement::Missed() {
	if (!IsClosed()) {
		return false;
	}
	missed = true;
	return true;
}

void Agreement::Took(idx_t end) {
	Raise(covered, end);
}

void Agreement::Deletes(uint64_t last_commit) {
	*deleted_after = last_commit;
}

void Agreement::Published(idx_t next_row_id, uint64_t last_commit) {
	Raise(covered, next_row_id);
	recheck_after = last_commit;
	state = State::RECHECK;
}

void Agreement::PublishedUnsure(idx_t next_row_id, uint64_t last_commit) {
	Raise(covered, next_row_id);
	trusted = false;
	wait_for = last_commit + 1;
	creating = true;
	state = State::UNKNOWN;
}

void Agreement::Reconciled(idx_t next_row_id, uint64_t recheck_after_p) {
	if (IsClosed() || state == State::DROPPED) {
		return;
	}
	Raise(covered, next_row_id);
	recheck_after = recheck_after_p;
	state = recheck_after_p == NEVER ? State::IN_STEP : State::RECHECK;
}

void Agreement::Dropped() {
	covered = 0;
	state = State::DROPPED;
}

bool Agreement::IsDue(const Commits &commits) const {
	// The lowest visible commit first. The other way round, the creator could commit between the two calls:
	// `last_commit` would be older than that commit, and nobody would wait for transactions that began before it.
	auto lowest_visible = commits.LowestVisible();
	auto last_commit = commits.Last();
	switch (state.load()) {
	case State::CLOSED:
		return reason != Reason::FOR_GOOD;
	case State::UNKNOWN: {
		// read before `wait_for`: whoever clears it has raised `wait_for` first
		auto of_creator = creating.load();
		if (lowest_visible <= wait_for) {
			return false;
		}
		if (of_creator) {
			// the creator has ended, so its commit is the last or an earlier one: transactions that see it plan with
			// the index
			wait_for = last_commit;
			creating = false;
			return lowest_visible > last_commit;
		}
		return true;
	}
	case State::RECHECK:
		return recheck_after < last_commit;
	default:
		return false;
	}
}

void Agreement::SetProblem(string text) {
	lock_guard<mutex> guard(problem_lock);
	problem = std::move(text);
}

string Agreement::Describe(idx_t next_row_id) const {
	lock_guard<mutex> guard(problem_lock);
	if (Serves(next_row_id)) {
		return problem.empty() ? "ready" : "ready: built again from the table, as " + problem;
	}
	if (state == State::UNKNOWN && wait_for > 0) {
		return "incomplete: queries scan the table until the transactions that began before the index was created have "
		       "ended";
	}
	return "incomplete: queries scan the table" + (problem.empty() ? string() : "; " + problem);
}

} // namespace duckdb
