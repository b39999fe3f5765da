//! The elements of columns of type FLOAT[n] or DOUBLE[n], to compute with.
#pragma once

#include "duckdb/common/types/vector.hpp"
#include "duckdb/common/vector.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/flat_vector.hpp"

namespace duckdb {

//! Reads a chunk of arrays from any kind of vector, of the arrays and of their elements. Borrows from the chunk.
template <class T>
class ArrayElements {
public:
	//! `arrays`: T[n], n is `Size()`.
	explicit ArrayElements(Vector &arrays) : size(ArrayType::GetSize(arrays.GetType())) {
		arrays.ToUnifiedFormat(array_format);
		ArrayVector::GetChild(arrays).ToUnifiedFormat(child_format);
		values = UnifiedVectorFormat::GetData<T>(child_format);
		if (child_format.sel->IsSet()) {
			gathered.resize(size);
		}
	}

	idx_t Size() const {
		return size;
	}
	bool IsNull(idx_t row) const {
		return !array_format.validity.RowIsValid(array_format.sel->get_index(row));
	}
	//! The n elements of a row that is not NULL; valid until the next call. The value of a NULL element is undefined.
	const T *Row(idx_t row) {
		auto start = array_format.sel->get_index(row) * size;
		if (gathered.empty()) {
			return values + start;
		}
		for (idx_t d = 0; d < size; d++) {
			gathered[d] = values[child_format.sel->get_index(start + d)];
		}
		return gathered.data();
	}
	//! Whether any row of the chunk may have NULL elements.
	bool MayHaveNullElements() const {
		return child_format.validity.CanHaveNull();
	}
	bool IsElementNull(idx_t row, idx_t d) const {
		auto position = array_format.sel->get_index(row) * size + d;
		return !child_format.validity.RowIsValid(child_format.sel->get_index(position));
	}

private:
	const idx_t size;
	UnifiedVectorFormat array_format;
	UnifiedVectorFormat child_format;
	const T *values;
	//! A row's elements, if they do not lie side by side.
	vector<T> gathered;
};

} // namespace duckdb
