#include "optimizer/plan_notes.hpp"

#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "execution/search_plan.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! Set per thread, since one thread plans a query from start to end.
static thread_local PlanNotes *current = nullptr;

PlanNotes::PlanNotes() : outer(current) {
	current = this;
}

PlanNotes::~PlanNotes() {
	current = outer;
}

void PlanNotes::Add(const TableCatalogEntry &table, const string &index, Stage stage, const string &text) {
	if (!current) {
		return;
	}
	auto &note = current->notes[{&table, index}];
	if (note.stage < stage) {
		note = Note {stage, text};
	}
}

void PlanNotes::AddBelow(const LogicalOperator &op, Stage stage, const string &text) {
	if (!current) {
		return;
	}
	if (op.type == LogicalOperatorType::LOGICAL_GET) {
		auto table = op.Cast<LogicalGet>().GetTable();
		if (table) {
			Add(*table, string(), stage, text);
		}
	}
	for (auto &child : op.children) {
		AddBelow(*child, stage, text);
	}
}

void PlanNotes::AddUse(const TableCatalogEntry &table, const IndexSearch &search, const string &name) {
	if (!search.covers) {
		Add(table, search.index_name, Stage::PLAN,
		    "the index has not seen all rows of its table: its status in pragma_hnsw_index_info() says why");
	} else if (search.strategy == vss::Strategy::Scan) {
		Add(table, search.index_name, Stage::PLAN, "so many rows are wanted that the table is read from end to end");
	} else {
		Add(table, search.index_name, Stage::USED, name);
	}
}

void PlanNotes::AddPlan() {
	if (current) {
		current->has_plan = true;
	}
}

bool PlanNotes::AreTaken() {
	return current;
}

void PlanNotes::EachRefusal(
    const std::function<void(const TableCatalogEntry &table, const string &index, const string &text)> &each) const {
	for (auto &entry : notes) {
		auto table = entry.first.first;
		auto is_used = std::any_of(notes.begin(), notes.end(), [&](const decltype(notes)::value_type &other) {
			return other.first.first == table && other.second.stage == Stage::USED;
		});
		if (!is_used && entry.second.stage >= Stage::INDEX) {
			each(*table, entry.first.second, entry.second.text);
		}
	}
}

PlanNotes::Note PlanNotes::Of(const TableCatalogEntry &table, const string &index) const {
	Note result;
	for (auto &name : {index, string()}) {
		auto entry = notes.find({&table, name});
		if (entry != notes.end() && entry->second.stage > result.stage) {
			result = entry->second;
		}
	}
	return result;
}

} // namespace duckdb
