#include "functions/vector_arithmetic.hpp"

#include "duckdb/function/scalar_function.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "host/array_elements.hpp"
#include "functions/list_overloads.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace duckdb {

namespace {

//! Writes the arrays of a result.
template <class T>
class ArrayWriter {
public:
	ArrayWriter(Vector &result_p, idx_t size_p)
	    : result(result_p), elements(ArrayVector::GetChildMutable(result_p)),
	      values(FlatVector::GetDataMutable<T>(elements)), size(size_p) {
	}

	T *Row(idx_t row) {
		return values + row * size;
	}
	void SetNull(idx_t row) {
		FlatVector::SetNull(result, row, true);
	}
	void SetElementNull(idx_t row, idx_t d) {
		FlatVector::SetNull(elements, row * size + d, true);
	}

private:
	Vector &result;
	Vector &elements;
	T *values;
	const idx_t size;
};

template <class T>
struct Plus {
	static T Operation(T left, T right) {
		return left + right;
	}
};

template <class T>
struct Minus {
	static T Operation(T left, T right) {
		return left - right;
	}
};

template <class T, class OP>
void ByElement(DataChunk &args, ExpressionState &, Vector &result) {
	ArrayElements<T> left(args.data[0]);
	ArrayElements<T> right(args.data[1]);
	ArrayWriter<T> sums(result, left.Size());
	for (idx_t row = 0; row < args.size(); row++) {
		if (left.IsNull(row) || right.IsNull(row)) {
			sums.SetNull(row);
			continue;
		}
		auto x = left.Row(row);
		auto y = right.Row(row);
		auto into = sums.Row(row);
		for (idx_t d = 0; d < left.Size(); d++) {
			into[d] = OP::Operation(x[d], y[d]);
		}
		if (!left.MayHaveNullElements() && !right.MayHaveNullElements()) {
			continue;
		}
		for (idx_t d = 0; d < left.Size(); d++) {
			if (left.IsElementNull(row, d) || right.IsElementNull(row, d)) {
				sums.SetElementNull(row, d);
			}
		}
	}
	if (args.size() == 1) {
		result.SetVectorType(VectorType::CONSTANT_VECTOR);
	}
}

template <class T>
void Scale(DataChunk &args, ExpressionState &, Vector &result) {
	ArrayElements<T> vectors(args.data[0]);
	auto factors = args.data[1].Values<double>();
	ArrayWriter<T> scaled(result, vectors.Size());
	for (idx_t row = 0; row < args.size(); row++) {
		if (vectors.IsNull(row) || !factors[row].IsValid()) {
			scaled.SetNull(row);
			continue;
		}
		auto factor = factors[row].GetValue();
		auto x = vectors.Row(row);
		auto into = scaled.Row(row);
		for (idx_t d = 0; d < vectors.Size(); d++) {
			into[d] = static_cast<T>(x[d] * factor);
			if (vectors.MayHaveNullElements() && vectors.IsElementNull(row, d)) {
				scaled.SetElementNull(row, d);
			}
		}
	}
	if (args.size() == 1) {
		result.SetVectorType(VectorType::CONSTANT_VECTOR);
	}
}

template <class T>
double SumOfSquares(const T *x, idx_t size, double unit) {
	double squares = 0;
	for (idx_t d = 0; d < size; d++) {
		auto element = static_cast<double>(x[d]) / unit;
		squares += element * element;
	}
	return squares;
}

//! The Euclidean length of n elements, in multiples of `unit`. Squares of doubles may exceed their range: then the unit
//! is the greatest element.
struct Length {
	template <class T>
	Length(const T *x, idx_t size) : units(std::sqrt(SumOfSquares(x, size, 1))), unit(1) {
		if (std::isnan(units) || (std::isfinite(units) && units * units >= std::numeric_limits<double>::min())) {
			return;
		}
		double greatest = 0;
		for (idx_t d = 0; d < size; d++) {
			greatest = std::max(greatest, std::abs(static_cast<double>(x[d])));
		}
		if (greatest > 0 && std::isfinite(greatest)) {
			unit = greatest;
			units = std::sqrt(SumOfSquares(x, size, unit));
		}
	}

	double units;
	double unit;
};

template <class T>
void Normalize(DataChunk &args, ExpressionState &, Vector &result) {
	ArrayElements<T> vectors(args.data[0]);
	auto size = vectors.Size();
	ArrayWriter<T> units(result, size);
	for (idx_t row = 0; row < args.size(); row++) {
		auto unknown = vectors.IsNull(row);
		for (idx_t d = 0; d < size && !unknown && vectors.MayHaveNullElements(); d++) {
			unknown = vectors.IsElementNull(row, d);
		}
		if (unknown) {
			units.SetNull(row);
			continue;
		}
		auto x = vectors.Row(row);
		Length length(x, size);
		auto into = units.Row(row);
		for (idx_t d = 0; d < size; d++) {
			into[d] = length.units == 0 ? x[d] : static_cast<T>(x[d] / length.unit / length.units);
		}
	}
	if (args.size() == 1) {
		result.SetVectorType(VectorType::CONSTANT_VECTOR);
	}
}

//! All arrays among the arguments must have one size, which is the size of the result.
void ResolveSizes(ResolveScalarFunctionTypesInput &input) {
	auto &function = input.GetBoundFunction();
	auto &types = function.GetArguments();
	optional_idx size;
	for (idx_t i = 0; i < types.size(); i++) {
		auto &given = input.GetArguments()[i]->GetReturnType();
		if (types[i].id() != LogicalTypeId::ARRAY || given.id() != LogicalTypeId::ARRAY) {
			continue;
		}
		auto given_size = ArrayType::GetSize(given);
		if (size.IsValid() && size.GetIndex() != given_size) {
			throw BinderException("%s: the vectors have %llu and %llu elements; use two of one length",
			                      function.GetName().GetIdentifierName(), size.GetIndex(), given_size);
		}
		size = given_size;
	}
	if (!size.IsValid()) {
		function.SetReturnType(LogicalType::UNKNOWN); // a parameter whose type is not known yet
		return;
	}
	for (auto &type : types) {
		if (type.id() == LogicalTypeId::ARRAY) {
			type = LogicalType::ARRAY(ArrayType::GetChildType(type), size);
			function.SetReturnType(type);
		}
	}
}

ScalarFunction OfVectors(const LogicalType &element, scalar_function_t implementation) {
	auto vectors = LogicalType::ARRAY(element, optional_idx());
	ScalarFunction function({}, vectors, std::move(implementation));
	function.SetResolveTypesCallback(ResolveSizes);
	// otherwise DuckDB makes a constant of a NULL before sizes are resolved, and its type has no size
	function.SetNullHandling(FunctionNullHandling::SPECIAL_HANDLING);
	function.GetSignature().AddParameter("vector", vectors);
	return function;
}

template <template <class> class OP>
ScalarFunctionSet TwoVectors(const char *name) {
	ScalarFunctionSet arrays {Identifier(name)};
	arrays.AddFunction(OfVectors(LogicalType::FLOAT, ByElement<float, OP<float>>));
	arrays.AddFunction(OfVectors(LogicalType::DOUBLE, ByElement<double, OP<double>>));
	arrays.ApplyToFunctions([](ScalarFunction &function) {
		auto vectors = function.GetSignature().GetParameter(0).GetType();
		function.GetSignature().AddParameter("other", vectors);
	});
	auto all = arrays;
	AddListOverloads(arrays, all);
	return all;
}

} // namespace

void RegisterVectorArithmetic(ExtensionLoader &loader) {
	loader.RegisterFunction(TwoVectors<Plus>("array_add"));
	loader.RegisterFunction(TwoVectors<Minus>("array_subtract"));

	ScalarFunctionSet scale("array_scale");
	scale.AddFunction(OfVectors(LogicalType::FLOAT, Scale<float>));
	scale.AddFunction(OfVectors(LogicalType::DOUBLE, Scale<double>));
	scale.ApplyToFunctions(
	    [](ScalarFunction &function) { function.GetSignature().AddParameter("factor", LogicalType::DOUBLE); });
	loader.RegisterFunction(std::move(scale));

	ScalarFunctionSet normalize("array_normalize");
	normalize.AddFunction(OfVectors(LogicalType::FLOAT, Normalize<float>));
	normalize.AddFunction(OfVectors(LogicalType::DOUBLE, Normalize<double>));
	loader.RegisterFunction(std::move(normalize));
}

} // namespace duckdb
