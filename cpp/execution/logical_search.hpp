//! What the operators that search an index have in common, as they are planned.
#pragma once

#include "duckdb/planner/operator/logical_extension_operator.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "execution/search_plan.hpp"

namespace duckdb {

class PhysicalHNSWSearch;
class SearchRecord;
struct SearchInputs;

//! A search that takes the place of a table scan, and emits the columns of that scan. `expressions[0]` is the query
//! vector. If the query vector is no constant of the execution, the last child yields the rows from which it is
//! computed, the probes. With a filter, there is another child before the probes.
class LogicalHNSWSearch : public LogicalExtensionOperator {
public:
	//! From now on the searches are measured, if they are for the nearest rows.
	virtual shared_ptr<SearchRecord> Record();
	//! Only rows whose ids `filter` yields are emitted. The plan of `filter` becomes the first child.
	void SetFilter(RowFilter filter);

	vector<ColumnBinding> GetColumnBindings() override;
	vector<TableIndex> GetTableIndex() const override;
	optional_ptr<const string> GetTypeBindingVerificationIdentifier() const noexcept override;
	string GetName() const override {
		return IndexSearch::SCAN;
	}
	InsertionOrderPreservingMap<string> ParamsToString() const override;
	string GetExtensionName() const override {
		return "vss";
	}
	bool SupportSerialization() const override {
		return false;
	}

protected:
	//! `table`: the scan of the searched table, possibly below projections. `probes` may be null.
	LogicalHNSWSearch(unique_ptr<LogicalOperator> table, IndexSearch search, unique_ptr<Expression> query,
	                  unique_ptr<LogicalOperator> probes);

	void ResolveTypes() override;

	//! The scan at the bottom of `table`.
	LogicalGet &Get() const;
	//! The searched table. Must not be called after `Inputs`.
	DuckTableEntry &Table() const;
	//! The child with the query vectors, if there is one.
	optional_ptr<LogicalOperator> Probes() const;

	//! Takes the query vector and the parts of the scan for the physical operator. May be called once, with types
	//! resolved.
	SearchInputs Inputs(PhysicalPlanGenerator &planner);
	//! Plans the children of `physical`: the comparison of the index with its table, and those of this operator.
	void PlanChildren(PhysicalPlanGenerator &planner, PhysicalHNSWSearch &physical);

	unique_ptr<LogicalOperator> table;
	IndexSearch search;
	//! The columns of the filter that are kept for its rows.
	vector<idx_t> key_columns;

private:
	//! The column of the filter that holds the ids of the rows that qualify; invalid if all do.
	optional_idx row_id_column;
};

} // namespace duckdb
