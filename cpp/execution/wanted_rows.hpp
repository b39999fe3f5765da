//! A filter on row ids, so that a scan of a table reads only rows that a search wants.
#pragma once

#include "duckdb/common/enums/filter_propagate_result.hpp"
#include "duckdb/planner/table_filter.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class ClientContext;

//! An empty set, charged to the client's memory.
rust::Box<vss::RowSet> MakeRowSet(ClientContext &context);

//! Which rows a scan yields. Set before the scan begins; all its threads read it.
class WantedRows {
public:
	//! `stored`: committed rows by their ids. `own`: the transaction's own rows by their ids minus MAX_ROW_ID. Null:
	//! all of them. Both sets must outlive the scan.
	void Set(optional_ptr<const vss::RowSet> stored, optional_ptr<const vss::RowSet> own);

	bool Contains(row_t row_id) const;
	//! What is true of all rows from `first` to `last`, both included.
	FilterPropagateResult Check(row_t first, row_t last) const;

private:
	optional_ptr<const vss::RowSet> stored;
	optional_ptr<const vss::RowSet> own;
};

//! A filter on row ids that passes wanted rows.
unique_ptr<TableFilter> MakeFilter(shared_ptr<const WantedRows> wanted);

} // namespace duckdb
