//! EXISTS that compares columns of different types, in a form that DuckDB turns into a join.
#pragma once

namespace duckdb {

struct DBConfig;

//! Registers what is done after binding, before DuckDB unnests subqueries, for statements with a distance: in an EXISTS,
//! `m.id::BIGINT = t.id` becomes `p.id = t.id` over a projection p with the cast, and `m.id = t.id::BIGINT` becomes `p.id = t.id` over
//! TRY_CAST(m.id AS INTEGER). DuckDB joins such a subquery with the table itself only where it compares columns; otherwise it reads the
//! table into a CTE first, in which no index can be searched.
void RegisterCorrelations(DBConfig &config);

} // namespace duckdb
