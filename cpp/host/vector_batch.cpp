#include "host/vector_batch.hpp"

#include "duckdb/common/types/value.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/flat_vector.hpp"

#include <limits>

namespace duckdb {

//! Stands for each element of a vector with a NULL element. Such a vector cannot be ranked, but unlike one with NaN or
//! infinity it may be anywhere in an order. DuckDB's own limit is infinity.
static constexpr float NULL_ELEMENT = std::numeric_limits<float>::max();

VectorBatch::VectorBatch(Vector &vectors, Vector &row_ids, idx_t count, idx_t dimensions_p) : dimensions(dimensions_p) {
	UnifiedVectorFormat array_format;
	UnifiedVectorFormat child_format;
	UnifiedVectorFormat row_format;
	vectors.ToUnifiedFormat(array_format);
	ArrayVector::GetChild(vectors).ToUnifiedFormat(child_format);
	row_ids.ToUnifiedFormat(row_format);
	auto rows = UnifiedVectorFormat::GetData<int64_t>(row_format);
	auto values = UnifiedVectorFormat::GetData<float>(child_format);

	auto flat = !array_format.sel->IsSet() && !child_format.sel->IsSet() && !row_format.sel->IsSet();
	if (flat && !array_format.validity.CanHaveNull() && !child_format.validity.CanHaveNull()) {
		size = count;
		row_data = rows;
		value_data = values;
		return;
	}
	owned_rows.reserve(count);
	owned_values.reserve(count * dimensions);
	for (idx_t i = 0; i < count; i++) {
		auto array_idx = array_format.sel->get_index(i);
		auto row_id = rows[row_format.sel->get_index(i)];
		if (!array_format.validity.RowIsValid(array_idx)) {
			null_rows.push_back(row_id);
			continue;
		}
		owned_rows.push_back(row_id);
		bool has_null = false;
		for (idx_t d = 0; d < dimensions; d++) {
			auto child_idx = child_format.sel->get_index(array_idx * dimensions + d);
			has_null = has_null || !child_format.validity.RowIsValid(child_idx);
			owned_values.push_back(values[child_idx]);
		}
		if (has_null) {
			std::fill_n(owned_values.end() - UnsafeNumericCast<int64_t>(dimensions), dimensions, NULL_ELEMENT);
		}
	}
	size = owned_rows.size();
	row_data = owned_rows.data();
	value_data = owned_values.data();
}

vector<float> VectorFromValue(const Value &value) {
	vector<float> result;
	if (value.IsNull()) {
		return result;
	}
	for (auto &element : ArrayValue::GetChildren(value)) {
		if (element.IsNull()) {
			return vector<float>();
		}
		result.push_back(FloatValue::Get(element));
	}
	return result;
}

} // namespace duckdb
