//! Entry of the extension: registers everything, and so serves as table of contents of cpp/.
#include "duckdb/execution/index/index_type.hpp"
#include "duckdb/execution/index/index_type_set.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/database.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

#include "functions/blob_cast.hpp"
#include "index/binding.hpp"
#include "index/create.hpp"
#include "functions/explain.hpp"
#include "functions/health.hpp"
#include "functions/index_metric.hpp"
#include "index/hnsw_index.hpp"
#include "functions/macros.hpp"
#include "functions/list_overloads.hpp"
#include "functions/pragmas.hpp"
#include "functions/recall.hpp"
#include "functions/vector_aggregates.hpp"
#include "functions/vector_arithmetic.hpp"
#include "optimizer/array_windows.hpp"
#include "optimizer/correlations.hpp"
#include "optimizer/rewrite.hpp"
#include "host/log.hpp"
#include "host/settings.hpp"

namespace duckdb {

//! The index type comes last of what is registered: registration is not transactional, and without the index type no
//! index can be made.
static void LoadVss(ExtensionLoader &loader) {
	loader.SetDescription("Vector similarity search with HNSW indexes");
	auto &config = DBConfig::GetConfig(loader.GetDatabaseInstance());
	IndexLog::Register(loader.GetDatabaseInstance());
	RegisterIndexMetric(loader);
	RegisterMacros(loader);
	RegisterPragmas(loader);
	RegisterHealth(loader);
	RegisterRecall(loader);
	RegisterExplain(loader);
	RegisterBlobCast(loader);
	RegisterListOverloads(loader);
	RegisterVectorArithmetic(loader);
	RegisterVectorAggregates(loader);
	RegisterSettings(config);
	RegisterRewrite(config);
	RegisterCorrelations(config);
	RegisterArrayWindows(config);

	IndexType index_type;
	index_type.name = HNSWIndex::TYPE_NAME;
	index_type.create_plan = PhysicalCreateHNSW::Plan;
	index_type.create_instance = HNSWIndex::CreateInstance;
	config.GetIndexTypes().RegisterIndexType(index_type);
	// statements without the extension may have failed to bind indexes
	ReleaseStuckIndexes(loader.GetDatabaseInstance());
}

} // namespace duckdb

//! The Rust entry calls this, see src/lib.rs. Exceptions pass through it to DuckDB.
extern "C" void vss_register(duckdb::ExtensionLoader &loader) {
	duckdb::LoadVss(loader);
}
