//! Rewrites EXISTS with a comparison of columns of different types into a form that DuckDB turns into a join.
#pragma once

namespace duckdb {

struct DBConfig;

//! Registers a rewrite after binding, before DuckDB unnests subqueries, of statements with a distance. In an EXISTS,
//! `m.id::BIGINT = t.id` becomes `p.id = t.id`, where p is a projection with the cast; `m.id = t.id::BIGINT` becomes
//! `p.id = t.id`, where p has TRY_CAST(m.id AS INTEGER). DuckDB joins such a subquery with the table itself only if it
//! compares columns. Otherwise DuckDB first reads the table into a CTE, in which no index can be searched.
void RegisterCorrelations(DBConfig &config);

} // namespace duckdb
