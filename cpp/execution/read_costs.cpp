#include "execution/read_costs.hpp"

#include "duckdb/planner/operator/logical_get.hpp"

namespace duckdb {

//! What reading a column costs, in nanoseconds: measured on compressed columns of a file.
struct ColumnCosts {
	//! A value that is looked up by its row id.
	double looked_up;
	//! A vector of 2048 values, some of which are selected.
	double skimmed;
	//! Each selected value.
	double selected;
	//! A vector of 2048 values, all of which are wanted.
	double scanned;
};

static ColumnCosts CostsOf(const LogicalType &type) {
	switch (type.InternalType()) {
	case PhysicalType::VARCHAR:
		return {5000, 150'000, 0, 150'000};
	case PhysicalType::LIST:
		// DuckDB reads the elements of the list's segment from the first one on
		return {500'000, 600'000, 0, 600'000};
	case PhysicalType::STRUCT: {
		ColumnCosts result {1000, 4000, 0, 4000};
		for (auto &child : StructType::GetChildTypes(type)) {
			auto cost = CostsOf(child.second);
			result = {result.looked_up + cost.looked_up, result.skimmed + cost.skimmed, result.selected + cost.selected,
			          result.scanned + cost.scanned};
		}
		return result;
	}
	case PhysicalType::ARRAY: {
		auto size = static_cast<double>(ArrayType::GetSize(type));
		auto elements = CostsOf(ArrayType::GetChildType(type)).scanned * size;
		return {5000 + elements / STANDARD_VECTOR_SIZE, 5000, 1250 + 8.5 * size, elements};
	}
	default:
		return {300, 5000, 0, 5000};
	}
}

//! The costs of a column on which the scan filters. The scan applies its filters in turn, so it also reads values of
//! many rows that are not wanted.
static ColumnCosts FilteredCosts(const LogicalType &type) {
	auto result = CostsOf(type);
	if (type.InternalType() == PhysicalType::ARRAY) {
		result.skimmed = 0.55 * result.scanned;
		result.selected = 750;
	}
	return result;
}

vss::ReadCosts CostsOf(const LogicalGet &get) {
	//! The time for each row, whatever is read of it.
	constexpr double LOOKED_UP = 100;
	//! The time to measure the distance of a row and compare it with others.
	constexpr double MEASURED = 70;
	vss::ReadCosts result {LOOKED_UP, LOOKED_UP, 0, 0, MEASURED};
	auto &columns = get.GetColumnIds();
	auto &emitted = get.projection_ids;
	for (auto column : ProjectionIndex::GetIndexes(columns.size())) {
		auto is_emitted = emitted.empty() || std::find(emitted.begin(), emitted.end(), column) != emitted.end();
		auto is_filtered = get.table_filters.HasFilter(column);
		auto &type = get.GetColumnType(columns[column]);
		auto costs = is_filtered ? FilteredCosts(type) : CostsOf(type);
		if (is_emitted) {
			result.looked_up += costs.looked_up;
		}
		if (is_emitted || is_filtered) {
			result.checked += costs.looked_up;
			result.skimmed += costs.skimmed / STANDARD_VECTOR_SIZE;
			result.selected += costs.selected;
			result.scanned += costs.scanned / STANDARD_VECTOR_SIZE;
		}
	}
	return result;
}

double ScanTime(const vss::ReadCosts &costs, const vector<int64_t> &row_ids, idx_t table_rows) {
	//! The time to skip a vector.
	constexpr double SKIPPED = 1000;
	//! The time to begin a scan.
	constexpr double BEGUN = 30'000;
	unordered_set<int64_t> vectors;
	for (auto row_id : row_ids) {
		vectors.insert(row_id / UnsafeNumericCast<int64_t>(STANDARD_VECTOR_SIZE));
	}
	auto found = static_cast<double>(row_ids.size());
	auto skimmed = static_cast<double>(vectors.size() * STANDARD_VECTOR_SIZE);
	auto skipped = static_cast<double>(table_rows) / STANDARD_VECTOR_SIZE * SKIPPED;
	return BEGUN + skipped + skimmed * costs.skimmed + found * costs.selected;
}

} // namespace duckdb
