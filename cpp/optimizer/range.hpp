//! Recognizes filters and joins that keep all rows within some distance: `distance < r` without a LIMIT.
#pragma once

#include "duckdb/planner/logical_operator.hpp"

namespace duckdb {

class Binder;
class ClientContext;
class LogicalComparisonJoin;
class LogicalGet;
class TableCatalogEntry;

//! What the operators above a filter or a join do with its rows.
struct RangeUse {
	//! They may stop before they have read all rows: a LIMIT without an ORDER BY.
	bool may_stop = false;
	//! They only count the rows, and read no column.
	bool counts_only = false;
	//! The joins above.
	vector<const_reference<LogicalComparisonJoin>> joins;
	//! They change this table as soon as they get a row.
	optional_ptr<TableCatalogEntry> changed;

	//! What is done with the rows of a child of `op`, if this is done with the rows of `op`.
	RangeUse Below(const LogicalOperator &op) const;
	//! Whether a join above tells the scan `get`, before a search measures its rows, that few of them have partners.
	bool HasFewPartners(ClientContext &context, LogicalGet &get) const;
	//! Why there is no search then.
	static constexpr const char *FEW_PARTNERS = "a join above leaves few rows to be compared";
};

//! Puts a search of an index in the place of the scan in `slot`, or of the scan below the filter there. Only rows
//! within some distance may pass, and an index must find all of them.
void ServeRange(Binder &binder, unique_ptr<LogicalOperator> &slot, const RangeUse &use);

//! Puts a search of an index in the place of the join in `slot`: `JOIN t ON distance(q.v, t.v) < r`. Only pairs within
//! some distance may pass, and an index must find all of them.
void ServePairs(Binder &binder, unique_ptr<LogicalOperator> &slot, const RangeUse &use);

} // namespace duckdb
