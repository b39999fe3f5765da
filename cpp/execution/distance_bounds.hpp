//! Bounds of distances: which distances pass the predicates of a range.
#pragma once

#include "duckdb/planner/expression.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class ClientContext;

//! A predicate over the distance of a row alone, which keeps those that are near, or those that are far.
struct DistanceBound {
	//! The distance is the one column that it refers to.
	unique_ptr<Expression> over_distance;
	bool keeps_near;
	//! It holds for what is less than some value of the distance function, which may be a similarity; if not, for what is greater.
	bool holds_below;
	//! The function is never negative.
	bool not_negative;
	//! Of the distance.
	LogicalType type;
	//! The function that measures it.
	string function;
};

//! The distances at which all `bounds` hold, in the unit of the index's metric; nothing else of the request is set. Nothing if nobody can
//! tell.
optional<vss::RangeRequest> DistancesWithin(ClientContext &context, const vector<DistanceBound> &bounds);

} // namespace duckdb
