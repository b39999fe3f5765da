//! What the rules for ranges and for pairs have in common: they take predicates apart, and make bounds of them.
#pragma once

#include "optimizer/distance_matcher.hpp"

namespace duckdb {

//! The parts of `predicate`: it holds where all of them do. A BETWEEN has two, unless its value changes between
//! evaluations.
void AddParts(const Expression &predicate, vector<unique_ptr<Expression>> &parts);
//! The index for the first of `parts`, resolved, that bounds a distance from above; null if there is none. `refusal`
//! takes the reasons why indexes do not serve other parts.
unique_ptr<DistanceMatch> MatchFirstBound(const DistanceMatcher &matcher, const vector<unique_ptr<Expression>> &parts,
                                          Refusal &refusal);
//! Puts a reference to the one column of a chunk in the place of `part`.
void PutReference(unique_ptr<Expression> &expr, const Expression &part, const char *name);
//! The bound on the distance of `match` that `predicate`, resolved, sets. `side` must not be NONE.
DistanceBound MakeBound(const DistanceMatch &match, const Expression &predicate, BoundSide side);
//! Why an index cannot tell all rows within bounds.
Refusal RefuseBounds(const DistanceMatch &match);

} // namespace duckdb
