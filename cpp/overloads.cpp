#include "overloads.hpp"

#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

namespace duckdb {

//! Array function → DuckDB's list function that computes the same.
static constexpr const char *LIST_TWINS[][2] = {{"array_distance", "list_distance"},
                                                {"array_cosine_distance", "list_cosine_distance"},
                                                {"array_cosine_similarity", "list_cosine_similarity"},
                                                {"array_inner_product", "list_inner_product"},
                                                {"array_dot_product", "list_dot_product"},
                                                {"array_negative_inner_product", "list_negative_inner_product"},
                                                {"array_negative_dot_product", "list_negative_dot_product"}};

void RegisterListOverloads(ExtensionLoader &loader) {
	for (auto &twin : LIST_TWINS) {
		ScalarFunctionSet overloads(twin[0]);
		for (auto &function : loader.GetFunction(twin[1]).functions.functions) {
			auto overload = *function;
			overload.SetName(twin[0]);
			overloads.AddFunction(std::move(overload));
		}
		loader.AddFunctionOverload(std::move(overloads));
	}
}

} // namespace duckdb
