#include "functions/blob_cast.hpp"

#include "duckdb/common/operator/cast_operators.hpp"
#include "duckdb/common/types/string_type.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/constant_vector.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

namespace duckdb {

static bool BlobToVector(Vector &source, Vector &result, idx_t count, CastParameters &parameters) {
	auto dimensions = ArrayType::GetSize(result.GetType());
	auto width = dimensions * sizeof(float);
	auto constant = source.GetVectorType() == VectorType::CONSTANT_VECTOR;
	UnifiedVectorFormat format;
	source.ToUnifiedFormat(format);
	auto blobs = UnifiedVectorFormat::GetData<string_t>(format);

	auto rows = constant ? 1 : count;
	FlatVector::SetSize(result, rows);
	auto target = FlatVector::GetDataMutable<float>(ArrayVector::GetChildMutable(result));
	bool all_converted = true;
	for (idx_t i = 0; i < rows; i++) {
		auto idx = format.sel->get_index(i);
		if (!format.validity.RowIsValid(idx)) {
			FlatVector::SetNull(result, i, true);
			continue;
		}
		auto &blob = blobs[idx];
		if (blob.GetSize() != width) {
			HandleCastError::AssignError(
			    StringUtil::Format("a BLOB of %llu bytes is no %s: pass %llu bytes, %llu little-endian 32-bit floats",
			                       blob.GetSize(), result.GetType().ToString(), width, dimensions),
			    parameters);
			FlatVector::SetNull(result, i, true);
			all_converted = false;
			continue;
		}
		// every platform DuckDB supports is little-endian
		memcpy(target + i * dimensions, blob.GetData(), width);
	}
	if (constant) {
		result.SetVectorType(VectorType::CONSTANT_VECTOR);
		FlatVector::SetSize(result, count_t(count));
	}
	return all_converted;
}

static BoundCastInfo BindBlobToArray(BindCastInput &input, const LogicalType &source, const LogicalType &target) {
	if (ArrayType::GetChildType(target).id() != LogicalTypeId::FLOAT) {
		return nullptr; // DuckDB's own cast, which refuses
	}
	return BoundCastInfo(BlobToVector);
}

void RegisterBlobCast(ExtensionLoader &loader) {
	loader.RegisterCastFunction(LogicalType::BLOB, LogicalType::ARRAY(LogicalType::ANY, optional_idx()),
	                            BindBlobToArray);
}

} // namespace duckdb
