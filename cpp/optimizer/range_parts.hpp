//! What the rules for ranges and for pairs within some distance have in common: predicates taken apart, and bounds made of them.
#pragma once

#include "optimizer/distance_matcher.hpp"

namespace duckdb {

//! The parts of `predicate`, all of which hold where it does: a BETWEEN has two, unless its value changes from one to the other.
void AddParts(const Expression &predicate, vector<unique_ptr<Expression>> &parts);
//! The index for the first of the parts of a predicate, resolved, that bounds a distance from above; nothing if none does. `refusal`: takes
//! the reasons why indexes are not for others.
unique_ptr<DistanceMatch> MatchFirstBound(const DistanceMatcher &matcher, const vector<unique_ptr<Expression>> &parts,
                                          Refusal &refusal);
//! Puts a reference to the one column of a chunk in the place of `part`.
void PutReference(unique_ptr<Expression> &expr, const Expression &part, const char *name);
//! The bound that `predicate`, resolved, is for the distance of `match`: of this side, which is not NONE.
DistanceBound MakeBound(const DistanceMatch &match, const Expression &predicate, BoundSide side);
//! Why an index cannot tell all rows within bounds.
Refusal RefuseBounds(const DistanceMatch &match);

} // namespace duckdb
