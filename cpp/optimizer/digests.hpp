//! Joins and groups that only tell query vectors apart compare a few bytes in the place of each vector.
//!
//! DuckDB unnests a LATERAL: the results for each of the distinct query vectors are grouped by the vector, and then joined
//! with the rows that it came from. So it hashes, copies and compares the vector of every result twice, which takes as
//! long as the search for them.
#pragma once

namespace duckdb {

class ClientContext;
class LogicalOperator;

//! Replaces query vectors, in the conditions of joins and in the groups below, by `vss::vector_digest` of them. Only where
//! the groups are made of what an index finds for many query vectors, and where nothing else needs the vectors of the
//! groups.
void DigestVectors(ClientContext &context, LogicalOperator &plan);

} // namespace duckdb
