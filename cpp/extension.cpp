//! Entry of the extension: registers everything. The table of contents of cpp/.
#include "duckdb/execution/index/index_type.hpp"
#include "duckdb/execution/index/index_type_set.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/database.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

#include "blob.hpp"
#include "create.hpp"
#include "explain.hpp"
#include "find.hpp"
#include "index.hpp"
#include "macros.hpp"
#include "overloads.hpp"
#include "pragmas.hpp"
#include "recall.hpp"
#include "rewrite.hpp"
#include "settings.hpp"

namespace duckdb {

//! The index type comes last: registration is not transactional, and only with it can an index be made.
static void LoadVss(ExtensionLoader &loader) {
	loader.SetDescription("Vector similarity search with HNSW indexes");
	auto &config = DBConfig::GetConfig(loader.GetDatabaseInstance());
	RegisterMacros(loader);
	RegisterPragmas(loader);
	RegisterRecall(loader);
	RegisterExplain(loader);
	RegisterBlobCast(loader);
	RegisterListOverloads(loader);
	RegisterSettings(config);
	RegisterRewrite(config);

	ReleaseStuckIndexes(loader.GetDatabaseInstance());
	IndexType index_type;
	index_type.name = HNSWIndex::TYPE_NAME;
	index_type.create_plan = PhysicalCreateHNSW::Plan;
	index_type.create_instance = HNSWIndex::CreateInstance;
	config.GetIndexTypes().RegisterIndexType(index_type);
}

} // namespace duckdb

//! Called by the exported Rust entry, see src/lib.rs. Exceptions pass through it to DuckDB.
extern "C" void vss_register(duckdb::ExtensionLoader &loader) {
	duckdb::LoadVss(loader);
}
