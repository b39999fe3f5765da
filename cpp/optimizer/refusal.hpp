//! Why an index does not serve a query.
#pragma once

#include "optimizer/plan_notes.hpp"

namespace duckdb {

//! A reason in a user's words, or none.
struct Refusal {
	Refusal() = default;
	Refusal(PlanNotes::Stage stage_p, string reason_p) : stage(stage_p), reason(std::move(reason_p)) {
	}

	explicit operator bool() const {
		return stage != PlanNotes::Stage::NOTHING;
	}
	//! Keeps that refusal of the two whose stage is later.
	void Merge(Refusal other) {
		if (other.stage > stage) {
			*this = std::move(other);
		}
	}

	//! How far the index had got.
	PlanNotes::Stage stage = PlanNotes::Stage::NOTHING;
	string reason;
	//! The index, if the reason is about one of them.
	string index;
};

//! What was looked for, or why it was not found.
template <class T>
struct OrRefusal {
	OrRefusal(unique_ptr<T> found_p) : found(std::move(found_p)) { // NOLINT: either is returned as it is
	}
	OrRefusal(Refusal refusal_p) : refusal(std::move(refusal_p)) { // NOLINT
	}

	explicit operator bool() const {
		return found != nullptr;
	}
	T &operator*() const {
		return *found;
	}
	T *operator->() const {
		return found.get();
	}

	unique_ptr<T> found;
	Refusal refusal;
};

} // namespace duckdb
