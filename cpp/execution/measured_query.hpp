//! HNSW_RECALL: runs a query, and measures how many of the nearest rows its searches find.
#pragma once

#include "duckdb/common/mutex.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

//! What the searches of one operator have found of the rows that exact searches find.
class SearchRecord {
public:
	SearchRecord(string index_name, idx_t k, bool codes);

	const string index_name;
	//! As planned. A search may ask for more.
	const idx_t k;
	//! The index keeps codes; recall is judged by their distances.
	const bool codes;

	//! Forgets the searches so far: the query runs again.
	void Clear();
	//! Adds the measurement of a search with the width `ef`.
	void Add(idx_t ef, const vss::SearchRecall &measured);
	//! The row of `hnsw_recall` for this operator.
	vector<Value> Row() const;

private:
	mutable mutex lock;
	idx_t ef = 0;
	vector<double> recalls;
	double index_ms = 0;
	double exact_ms = 0;
};

//! The columns of `hnsw_recall`, of an index or of a query.
struct RecallColumns {
	static vector<Identifier> Names();
	static vector<LogicalType> Types();
	//! Values of these columns. `recall`, `low`, `high` and the times are NULL without queries.
	static vector<Value> Row(const string &index_name, idx_t k, idx_t ef, bool codes, const vss::RecallReport &report);
};

//! Its child is the query. It emits a row for each operator of the query that searches an index.
class LogicalMeasuredQuery : public LogicalExtensionOperator {
public:
	LogicalMeasuredQuery(TableIndex table_index, unique_ptr<LogicalOperator> query);

	//! Has the searches of each measured query in `plan` recorded; they must be planned by now.
	static void Record(LogicalOperator &plan);

	vector<ColumnBinding> GetColumnBindings() override;
	vector<TableIndex> GetTableIndex() const override;
	optional_ptr<const string> GetTypeBindingVerificationIdentifier() const noexcept override;
	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	string GetName() const override {
		return "HNSW_RECALL";
	}
	string GetExtensionName() const override {
		return "vss";
	}
	bool SupportSerialization() const override {
		return false;
	}

protected:
	void ResolveTypes() override;

private:
	const TableIndex table_index;
	vector<shared_ptr<SearchRecord>> records;
};

} // namespace duckdb
