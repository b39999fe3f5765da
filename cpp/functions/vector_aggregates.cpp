#include "functions/vector_aggregates.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/aggregate_function_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
#include "duckdb/function/aggregate_function.hpp"
#include "duckdb/main/database.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/storage/arena_allocator.hpp"
#include "host/array_elements.hpp"

#include <algorithm>
#include <cmath>

namespace duckdb {

namespace {

//! The state of a group of vectors, each n elements long. The arrays belong to the arena: a state has no destructor, so
//! DuckDB may export it and drop its arena when memory is short.
struct VectorSumState {
	//! Rows that are not NULL.
	uint64_t rows = 0;
	//! The sum of each element; null while there are no rows.
	double *sums = nullptr;
	//! The number of these rows in which each element is NULL; null while there are none.
	uint64_t *missing = nullptr;

	//! n, once there are rows. An imported state may have another n than its function.
	idx_t size = 0;

	double *Sums(ArenaAllocator &arena, idx_t size_p) {
		if (!sums) {
			sums = Zeros<double>(arena, size_p);
			size = size_p;
		}
		return sums;
	}
	//! Only for a state that has sums.
	uint64_t *Missing(ArenaAllocator &arena) {
		if (!missing) {
			missing = Zeros<uint64_t>(arena, size);
		}
		return missing;
	}
	uint64_t Counted(idx_t d) const {
		return rows - (missing ? missing[d] : 0);
	}
	//! Adds the rows of another state, each `times` times.
	void Add(const VectorSumState &other, uint64_t times, ArenaAllocator &arena) {
		auto into = Sums(arena, other.size);
		for (idx_t d = 0; d < size; d++) {
			into[d] += other.sums[d] * static_cast<double>(times);
		}
		if (other.missing) {
			auto counts = Missing(arena);
			for (idx_t d = 0; d < size; d++) {
				counts[d] += other.missing[d] * times;
			}
		}
		rows += other.rows * times;
	}

private:
	template <class T>
	static T *Zeros(ArenaAllocator &arena, idx_t size) {
		auto zeros = reinterpret_cast<T *>(arena.AllocateAligned(size * sizeof(T)));
		std::fill_n(zeros, size, T(0));
		return zeros;
	}
};

struct SumOfVectors {
	static constexpr const char *NAME = "sum";
	static double Element(double sum, uint64_t) {
		return sum;
	}
};

struct MeanOfVectors {
	static constexpr const char *NAME = "avg";
	static double Element(double sum, uint64_t count) {
		return sum / static_cast<double>(count);
	}
};

//! n. Taken from the argument, because the return type changes while states are exported.
idx_t VectorSize(const BoundAggregateFunction &function) {
	return ArrayType::GetSize(function.GetArguments()[0]);
}

void CheckSize(const VectorSumState &state, idx_t size) {
	if (state.size != 0 && state.size != size) {
		throw InvalidInputException("a state of sum or avg has %llu sums, but its vectors have %llu elements",
		                            state.size, size);
	}
}

idx_t StateSize(AggregateStateInput &) {
	return sizeof(VectorSumState);
}

void InitializeStates(AggregateStateInput &, data_ptr_t *states, idx_t count) {
	for (idx_t i = 0; i < count; i++) {
		new (states[i]) VectorSumState();
	}
}

template <class T>
void Update(Vector inputs[], AggregateInputData &input, idx_t, Vector &state_vector, idx_t count) {
	ArrayElements<T> vectors(inputs[0]);
	auto size = vectors.Size();
	auto states = state_vector.Values<VectorSumState *>();
	for (idx_t i = 0; i < count; i++) {
		if (vectors.IsNull(i)) {
			continue;
		}
		auto &state = *states[i].GetValue();
		auto sums = state.Sums(input.allocator, size);
		auto row = vectors.Row(i);
		if (vectors.MayHaveNullElements()) {
			for (idx_t d = 0; d < size; d++) {
				if (vectors.IsElementNull(i, d)) {
					state.Missing(input.allocator)[d]++;
				} else {
					sums[d] += row[d];
				}
			}
		} else {
			for (idx_t d = 0; d < size; d++) {
				sums[d] += row[d];
			}
		}
		state.rows++;
	}
}

//! With multiplicities, each state stands for that many equal ones, since DuckDB may aggregate before it joins.
void Combine(Vector &source_vector, Vector &target_vector, AggregateInputData &input, idx_t count) {
	auto size = VectorSize(input.function);
	auto sources = source_vector.Values<VectorSumState *>();
	auto targets = target_vector.Values<VectorSumState *>();
	UnifiedVectorFormat multiplicities;
	if (input.combine_multiplicities) {
		input.combine_multiplicities->ToUnifiedFormat(multiplicities);
	}
	for (idx_t i = 0; i < count; i++) {
		int64_t times = 1;
		if (input.combine_multiplicities) {
			auto position = multiplicities.sel->get_index(i);
			if (!multiplicities.validity.RowIsValid(position)) {
				continue;
			}
			times = UnifiedVectorFormat::GetData<int64_t>(multiplicities)[position];
			if (times < 0) {
				throw InvalidInputException("combine_aggr: the multiplicity is %lld; use 0 or more", times);
			}
			if (times == 0) {
				continue;
			}
		}
		auto &source = *sources[i].GetValue();
		CheckSize(source, size);
		if (source.rows == 0) {
			continue;
		}
		auto &target = *targets[i].GetValue();
		if (times == 1 && !target.sums && input.combine_type == AggregateCombineType::ALLOW_DESTRUCTIVE) {
			target = source;
			continue;
		}
		target.Add(source, static_cast<uint64_t>(times), input.allocator);
	}
}

template <class T, class OP>
void Finalize(Vector &state_vector, AggregateFinalizeInputData &input, Vector &result, idx_t count, idx_t offset) {
	auto size = VectorSize(input.function);
	auto states = state_vector.Values<VectorSumState *>();
	auto &elements = ArrayVector::GetChildMutable(result);
	auto values = FlatVector::GetDataMutable<T>(elements);
	auto &validity = FlatVector::ValidityMutable(elements);
	for (idx_t i = 0; i < count; i++) {
		auto &state = *states[i].GetValue();
		if (state.rows == 0) {
			FlatVector::SetNull(result, offset + i, true);
			continue;
		}
		CheckSize(state, size);
		auto start = (offset + i) * size;
		for (idx_t d = 0; d < size; d++) {
			auto counted = state.Counted(d);
			if (counted == 0) {
				validity.SetInvalid(start + d);
				continue;
			}
			auto element = OP::Element(state.sums[d], counted);
			values[start + d] = static_cast<T>(element);
			if (std::isfinite(element) && !std::isfinite(values[start + d])) {
				throw OutOfRangeException(
				    "%s: element %llu of the result is %g, beyond the range of FLOAT; cast the vectors to DOUBLE[%llu]",
				    OP::NAME, d + 1, element, size);
			}
		}
	}
}

//! An exported state: STRUCT("rows" UBIGINT, sums DOUBLE[], missing UBIGINT[]). An array that a state does not have is
//! empty. The fields are lists because of how DuckDB stores what it exports: for arrays, it makes room for 2,048 in
//! each of many partitions; for lists, only for the elements they have.
using EXPORTED_STATE = VectorStructType<uint64_t, VectorListType<double>, VectorListType<uint64_t>>;

AggregateStateLayout StateLayout(AggregateLayoutInput &) {
	AggregateStateLayout layout;
	layout.type = LogicalType::STRUCT({{"rows", LogicalType::UBIGINT},
	                                   {"sums", LogicalType::LIST(LogicalType::DOUBLE)},
	                                   {"missing", LogicalType::LIST(LogicalType::UBIGINT)}});
	layout.total_state_size = AlignValue<idx_t>(sizeof(VectorSumState));
	// marks the state as one that refers to the arena: only such states are exported when memory is short
	layout.field.kind = AggregateFieldKind::LIST;
	return layout;
}

void ExportStates(Vector &state_vector, AggregateFinalizeInputData &, Vector &result, idx_t count, idx_t offset) {
	auto states = state_vector.Values<VectorSumState *>();
	auto exported = FlatVector::Writer<EXPORTED_STATE>(result, count, offset);
	for (idx_t i = 0; i < count; i++) {
		auto &state = *states[i].GetValue();
		exported.WriteValue([&](auto &rows, auto &sums, auto &missing) {
			rows.WriteValue(state.rows);
			idx_t d = 0;
			for (auto &sum : sums.WriteList(state.size)) {
				sum.WriteValue(state.sums[d++]);
			}
			d = 0;
			for (auto &count_of_nulls : missing.WriteList(state.missing ? state.size : 0)) {
				count_of_nulls.WriteValue(state.missing[d++]);
			}
		});
	}
}

//! Copies a list to an array of the arena.
template <class T, class LIST>
void ImportList(const LIST &list, T *array) {
	for (const auto element : list.GetChildValues()) {
		if (!element.IsValid()) {
			throw InvalidInputException("a state of sum or avg has a NULL in a list; use numbers");
		}
		*array++ = element.GetValue();
	}
}

//! States may have been written by hand, with `to_aggregate_state`.
void ImportStates(AggregateImportInputData &input) {
	auto entries = input.input_vec.Values<EXPORTED_STATE>();
	for (idx_t i = 0; i < input.input_vec.size(); i++) {
		auto &state = *new (input.dest_buffer + i * input.layout.total_state_size) VectorSumState();
		const auto entry = entries[i];
		if (!entry.IsValid()) {
			continue;
		}
		const auto rows = entry.template GetChildValue<0>();
		const auto sums = entry.template GetChildValue<1>();
		const auto missing = entry.template GetChildValue<2>();
		if (!rows.IsValid() || !sums.IsValid() || !missing.IsValid()) {
			throw InvalidInputException(
			    "a field of a state of sum or avg is NULL; use 0 rows and empty lists for no rows");
		}
		auto size = sums.GetListLength();
		if ((rows.GetValue() > 0) != (size > 0) || (missing.GetListLength() > 0 && missing.GetListLength() != size)) {
			throw InvalidInputException(
			    "a state of sum or avg has %llu rows, %llu sums and %llu counts of NULLs; use as many counts as "
			    "sums, or none, and no sums without rows",
			    rows.GetValue(), size, missing.GetListLength());
		}
		if (size == 0) {
			continue;
		}
		state.rows = rows.GetValue();
		ImportList(sums, state.Sums(input.allocator, size));
		if (missing.GetListLength() > 0) {
			ImportList(missing, state.Missing(input.allocator));
			if (*std::max_element(state.missing, state.missing + size) > state.rows) {
				throw InvalidInputException("a state of sum or avg has %llu rows and more NULLs than that", state.rows);
			}
		}
	}
}

//! Gives the result the size of the argument.
template <class T>
unique_ptr<FunctionData> Bind(BindAggregateFunctionInput &input) {
	auto &function = input.GetBoundFunction();
	auto &given = input.GetArguments()[0]->GetReturnType();
	if (given.IsUnknown()) {
		throw ParameterNotResolvedException();
	}
	auto element = std::is_same<T, float>::value ? LogicalType::FLOAT : LogicalType::DOUBLE;
	auto type = LogicalType::ARRAY(element, ArrayType::GetSize(given));
	function.GetArguments()[0] = type;
	function.SetReturnType(type);
	return nullptr;
}

template <class T, class OP>
AggregateFunction VectorAggregate(const LogicalType &element) {
	auto vectors = LogicalType::ARRAY(element, optional_idx());
	AggregateFunction function({}, vectors, StateSize, InitializeStates, Update<T>, Combine, Finalize<T, OP>,
	                           AggregateFunction::NoClusterUpdate(), Bind<T>);
	function.GetSignature().AddParameter("vector", vectors);
	function.SetStateExportCallbacks(StateLayout, ExportStates, ImportStates);
	function.SetOrderDependent(AggregateOrderDependent::NOT_ORDER_DEPENDENT);
	function.SetFallible();
	return function;
}

//! Does for aggregates what DuckDB's loader does for scalar functions: it has no overloads of aggregates.
template <class OP>
void AddOverloads(ExtensionLoader &loader, const Identifier &name) {
	auto &db = loader.GetDatabaseInstance();
	auto transaction = CatalogTransaction::GetSystemTransaction(db);
	auto &schema = Catalog::GetSystemCatalog(db).GetSchema(transaction, Identifier::DefaultSchema());
	auto entry = schema.GetEntry(transaction, CatalogType::AGGREGATE_FUNCTION_ENTRY, name);
	if (!entry) {
		throw InvalidInputException("this DuckDB has no function %s, of which vss adds an overload", name);
	}
	for (auto function :
	     {VectorAggregate<float, OP>(LogicalType::FLOAT), VectorAggregate<double, OP>(LogicalType::DOUBLE)}) {
		function.SetName(name);
		function.SetQualifiedName(schema.GetQualifiedName(entry->name));
		entry->Cast<AggregateFunctionCatalogEntry>().functions.AddFunction(std::move(function));
	}
}

} // namespace

void RegisterVectorAggregates(ExtensionLoader &loader) {
	AddOverloads<SumOfVectors>(loader, "sum");
	AddOverloads<MeanOfVectors>(loader, "avg");
	AddOverloads<MeanOfVectors>(loader, "mean");
}

} // namespace duckdb
