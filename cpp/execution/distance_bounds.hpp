//! Bounds of distances: which distances pass the predicates of a range.
#pragma once

#include "duckdb/planner/expression.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

class ClientContext;

//! A predicate over the distance of a row alone. It keeps near rows, or far ones.
struct DistanceBound {
	//! The distance is the one column that it refers to.
	unique_ptr<Expression> over_distance;
	bool keeps_near;
	//! It holds for values of the distance function below some value; if false, for those above. The function may be a
	//! similarity.
	bool holds_below;
	//! The function is never negative.
	bool not_negative;
	//! The type of the distance.
	LogicalType type;
	//! The function that measures it.
	string function;
};

//! The distances at which all `bounds` hold, in the unit of the index's metric. Sets nothing else of the request.
//! Nothing if that cannot be told.
optional<vss::RangeRequest> DistancesWithin(ClientContext &context, const vector<DistanceBound> &bounds);

} // namespace duckdb
