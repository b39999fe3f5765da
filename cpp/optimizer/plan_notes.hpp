//! What happened to the HNSW indexes of a query's tables, noted by the optimizer rule while hnsw_explain plans the
//! query.
#pragma once

#include "duckdb/common/common.hpp"
#include "duckdb/common/map.hpp"
#include "duckdb/common/string.hpp"

#include <functional>

namespace duckdb {

struct IndexSearch;
class LogicalOperator;
class TableCatalogEntry;

//! While it lives, it takes notes of all planning on its thread. Without one, notes are dropped.
class PlanNotes {
public:
	//! How far an index got on the way to being used. Of several reasons, the one of the latest stage counts.
	enum class Stage { NOTHING, TABLE, KEY, INDEX, LIMIT, PLAN, USED };

	struct Note {
		Stage stage = Stage::NOTHING;
		//! The name of the operator that uses the index, or why none does.
		string text;
	};

	PlanNotes();
	~PlanNotes();
	PlanNotes(const PlanNotes &) = delete;
	PlanNotes &operator=(const PlanNotes &) = delete;

	//! A reason that holds for `index` of `table`; for all indexes of `table` if `index` is empty.
	static void Add(const TableCatalogEntry &table, const string &index, Stage stage, const string &text);
	//! A reason that holds for all indexes of the tables scanned below `op`.
	static void AddBelow(const LogicalOperator &op, Stage stage, const string &text);
	//! The operator `name` uses the index of `search`. If the index does not cover its table, or so many rows are
	//! wanted that the table is scanned, this is noted instead.
	static void AddUse(const TableCatalogEntry &table, const IndexSearch &search, const string &name);
	//! Notes that the rule has seen a plan.
	static void AddPlan();

	//! Whether anybody collects notes on this thread.
	static bool AreTaken();

	//! Calls `each` with the reasons why indexes of tables are not used that might be.
	void EachRefusal(
	    const std::function<void(const TableCatalogEntry &table, const string &index, const string &text)> &each) const;
	//! The note on `index` of `table` that counts.
	Note Of(const TableCatalogEntry &table, const string &index) const;
	bool HasPlan() const {
		return has_plan;
	}

private:
	map<std::pair<const TableCatalogEntry *, string>, Note> notes;
	bool has_plan = false;
	PlanNotes *outer;
};

} // namespace duckdb
