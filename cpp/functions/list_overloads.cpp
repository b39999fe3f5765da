#include "functions/list_overloads.hpp"

#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/common/exception/binder_exception.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

namespace duckdb {

//! DuckDB's array functions, and the list functions that compute the same.
static constexpr const char *LIST_TWINS[][2] = {{"array_distance", "list_distance"},
                                                {"array_cosine_distance", "list_cosine_distance"},
                                                {"array_cosine_similarity", "list_cosine_similarity"},
                                                {"array_inner_product", "list_inner_product"},
                                                {"array_dot_product", "list_dot_product"},
                                                {"array_negative_inner_product", "list_negative_inner_product"},
                                                {"array_negative_dot_product", "list_negative_dot_product"}};

//! Of an ARRAY and a list, the list becomes an ARRAY of the same size. The other way round, NULL rows of the ARRAY
//! would become lists of NULLs, which DuckDB's functions over lists refuse.
static void ResolveTypes(ResolveScalarFunctionTypesInput &input) {
	auto &function = input.GetBoundFunction();
	auto &types = function.GetArguments();
	auto array_first = types[0].id() == LogicalTypeId::ARRAY;
	auto &array = input.GetArguments()[array_first ? 0 : 1]->GetReturnType();
	if (array.id() == LogicalTypeId::UNKNOWN) {
		function.SetReturnType(LogicalType::UNKNOWN); // a parameter whose type is not known yet
		return;
	}
	if (array.id() != LogicalTypeId::ARRAY) {
		throw BinderException("%s: the length of the vectors is open; write it with a cast, as in ::FLOAT[3]",
		                      function.GetName().GetIdentifierName());
	}
	auto type = LogicalType::ARRAY(ArrayType::GetChildType(types[array_first ? 0 : 1]), ArrayType::GetSize(array));
	types[0] = type;
	types[1] = type;
	if (function.GetReturnType().id() == LogicalTypeId::ARRAY) {
		function.SetReturnType(type);
	}
}

void AddListOverloads(const ScalarFunctionSet &arrays, ScalarFunctionSet &overloads) {
	for (auto &function : arrays.functions) {
		auto &array = function->GetSignature().GetParameter(0).GetType();
		auto &element = ArrayType::GetChildType(array);
		LogicalType of_null = element.id() == LogicalTypeId::FLOAT ? LogicalType::BLOB : LogicalType::SQLNULL;
		for (auto &other : {LogicalType::LIST(element), of_null}) {
			for (idx_t position = 0; position < 2; position++) {
				auto overload = *function;
				overload.GetSignature().GetParameter(position).SetType(other);
				overload.SetResolveTypesCallback(ResolveTypes);
				overloads.AddFunction(std::move(overload));
			}
		}
	}
}

void RegisterListOverloads(ExtensionLoader &loader) {
	for (auto &twin : LIST_TWINS) {
		ScalarFunctionSet overloads(twin[0]);
		AddListOverloads(loader.GetFunction(twin[0]).functions, overloads);
		for (auto &function : loader.GetFunction(twin[1]).functions.functions) {
			auto overload = *function;
			overload.SetName(twin[0]);
			overloads.AddFunction(std::move(overload));
		}
		loader.AddFunctionOverload(std::move(overloads));
	}
}

} // namespace duckdb
