//! `hnsw_metric`: the metric by which to compare vectors if the caller names none.
#pragma once

namespace duckdb {

class ExtensionLoader;

//! Registers `hnsw_metric(vectors, metric, otherwise, caller)`, which returns the name of the metric `metric`. If
//! `metric` is NULL, it returns the metric of the index on `vectors` or, without an index, `otherwise`. The plan tells
//! which index there is, so this is decided after binding: from then on the function is a constant, and the optimizers
//! see which distance the macros choose by it.
void RegisterIndexMetric(ExtensionLoader &loader);

} // namespace duckdb
