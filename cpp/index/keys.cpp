#include "index/keys.hpp"

#include "duckdb/common/allocator.hpp"
#include "duckdb/common/error_data.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"

#include <numeric>

namespace duckdb {

static bool IsFaultOfRow(const std::exception &ex) {
	auto type = ErrorData(ex).Type();
	return type == ExceptionType::CONVERSION || type == ExceptionType::OUT_OF_RANGE ||
	       type == ExceptionType::INVALID_INPUT;
}

namespace {

//! Computes the keys of a part of the rows; if that fails, of each half, down to the rows for which it fails.
class KeysByHalves {
public:
	KeysByHalves(DataChunk &rows_p, DataChunk &keys_p, const compute_key_t &compute_p, vector<column_t> columns_p)
	    : rows(rows_p), keys(keys_p), compute(compute_p), columns(std::move(columns_p)) {
		if (columns.empty()) {
			columns.resize(rows.ColumnCount());
			std::iota(columns.begin(), columns.end(), 0);
		}
		part.InitializeEmpty(rows.GetTypes());
		part_keys.Initialize(Allocator::DefaultAllocator(), keys.GetTypes());
	}

	void Compute(idx_t begin, idx_t end) {
		auto count = end - begin;
		SelectionVector selected(count);
		for (idx_t i = 0; i < count; i++) {
			selected.set_index(i, begin + i);
		}
		for (auto column : columns) {
			part.data[column].Slice(rows.data[column], selected, count);
		}
		part.SetCardinalityUnsafe(count);
		try {
			part_keys.Reset();
			compute(part, part_keys);
			VectorOperations::Copy(part_keys.data[0], keys.data[0], count, 0, begin);
			return;
		} catch (const std::exception &ex) {
			if (!IsFaultOfRow(ex)) {
				throw;
			}
		}
		if (count > 1) {
			auto middle = begin + count / 2;
			Compute(begin, middle);
			Compute(middle, end);
			return;
		}
		auto &type = keys.data[0].GetType();
		auto &element = ArrayType::GetChildType(type);
		keys.data[0].SetValue(begin, Value::ARRAY(element, vector<Value>(ArrayType::GetSize(type), Value(element))));
	}

private:
	DataChunk &rows;
	DataChunk &keys;
	const compute_key_t &compute;
	vector<column_t> columns;
	DataChunk part;
	DataChunk part_keys;
};

} // namespace

void ComputeKeys(DataChunk &rows, DataChunk &keys, const compute_key_t &compute, const vector<column_t> &columns) {
	try {
		compute(rows, keys);
		return;
	} catch (const std::exception &ex) {
		if (!IsFaultOfRow(ex)) {
			throw;
		}
	}
	auto count = rows.size();
	keys.Reset();
	KeysByHalves(rows, keys, compute, columns).Compute(0, count);
	keys.SetChildCardinality(count);
}

} // namespace duckdb
