#include "functions/macros.hpp"

#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/parser/parsed_data/create_macro_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "vss/src/bridge/mod.rs.h"

namespace duckdb {

void RegisterMacros(ExtensionLoader &loader) {
	for (auto &source : vss::macro_sources()) {
		auto parser = Parser::GetBuiltinParser();
		parser.ParseQuery(string(source));
		for (auto &statement : parser.statements) {
			auto &info = statement->Cast<CreateStatement>().info->Cast<CreateMacroInfo>();
			info.internal = true;
			info.SetQualifiedName(
			    QualifiedName(Identifier(), Identifier::DefaultSchema(), info.GetQualifiedName().Name()));
			loader.RegisterFunction(info);
		}
	}
}

} // namespace duckdb
