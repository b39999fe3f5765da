//! `hnsw_metric`: by which metric to compare vectors, if nobody says.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Registers `hnsw_metric(vectors, metric, otherwise, caller)`, the name of the metric `metric`. Where that is NULL, it is that of the
//! index on `vectors` or, without one, `otherwise`. Which index there is follows from the plan, so it is found out after binding: from then
//! on the function is a constant, and the optimizers see the distance that the macros choose by it.
void RegisterIndexMetric(ExtensionLoader &loader);

} // namespace duckdb
