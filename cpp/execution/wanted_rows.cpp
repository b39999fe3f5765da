#include "execution/wanted_rows.hpp"

#include "duckdb/common/vector_operations/unary_executor.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/filter/expression_filter.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "duckdb/storage/statistics/numeric_stats.hpp"
#include "host/errors.hpp"
#include "host/host.hpp"

namespace duckdb {

rust::Box<vss::RowSet> MakeRowSet(ClientContext &context) {
	auto memory = std::make_unique<vss::HostMemory>(BufferManager::GetBufferManager(context));
	return Translate([&] { return vss::create_row_set(std::move(memory)); });
}

void WantedRows::Set(optional_ptr<const vss::RowSet> stored_p, optional_ptr<const vss::RowSet> own_p) {
	stored = stored_p;
	own = own_p;
}

bool WantedRows::Contains(row_t row_id) const {
	if (row_id < MAX_ROW_ID) {
		return !stored || stored->contains(row_id);
	}
	return !own || own->contains(row_id - MAX_ROW_ID);
}

FilterPropagateResult WantedRows::Check(row_t first, row_t last) const {
	auto is_own = first >= MAX_ROW_ID;
	if (!is_own && last >= MAX_ROW_ID) {
		return FilterPropagateResult::NO_PRUNING_POSSIBLE;
	}
	auto &rows = is_own ? own : stored;
	auto offset = is_own ? MAX_ROW_ID : 0;
	if (!rows) {
		return FilterPropagateResult::FILTER_ALWAYS_TRUE;
	}
	return rows->contains_any(first - offset, last - offset) ? FilterPropagateResult::NO_PRUNING_POSSIBLE
	                                                         : FilterPropagateResult::FILTER_ALWAYS_FALSE;
}

//---------------------------------------------------------------------------------------------------------------------
// The filter
//---------------------------------------------------------------------------------------------------------------------

struct WantedRowsData : public FunctionData {
	explicit WantedRowsData(shared_ptr<const WantedRows> wanted_p) : wanted(std::move(wanted_p)) {
	}

	unique_ptr<FunctionData> Copy() const override {
		return make_uniq<WantedRowsData>(wanted);
	}
	bool Equals(const FunctionData &other) const override {
		return wanted == other.Cast<WantedRowsData>().wanted;
	}

	shared_ptr<const WantedRows> wanted;
};

static void IsWanted(DataChunk &args, ExpressionState &state, Vector &result) {
	auto &wanted = *state.expr.Cast<BoundFunctionExpression>().BindInfo()->Cast<WantedRowsData>().wanted;
	UnaryExecutor::Execute<row_t, bool>(args.data[0], result, args.size(),
	                                    [&](row_t row_id) { return wanted.Contains(row_id); });
}

static FilterPropagateResult CheckWanted(const FunctionStatisticsPruneInput &input) {
	auto stats = input.ChildStats(0);
	if (!stats || !NumericStats::HasMinMax(*stats)) {
		return FilterPropagateResult::NO_PRUNING_POSSIBLE;
	}
	auto &wanted = *input.bind_data->Cast<WantedRowsData>().wanted;
	return wanted.Check(NumericStats::GetMin<row_t>(*stats), NumericStats::GetMax<row_t>(*stats));
}

unique_ptr<TableFilter> MakeFilter(shared_ptr<const WantedRows> wanted) {
	ScalarFunction function("hnsw_wanted", {LogicalType::ROW_TYPE}, LogicalType::BOOLEAN, IsWanted);
	function.SetFilterPruneCallback(CheckWanted);
	vector<unique_ptr<Expression>> row_id;
	row_id.push_back(make_uniq<BoundReferenceExpression>(LogicalType::ROW_TYPE, storage_t(0)));
	return make_uniq<ExpressionFilter>(make_uniq<BoundFunctionExpression>(
	    BoundScalarFunction(function), std::move(row_id), make_uniq<WantedRowsData>(std::move(wanted))));
}

//---------------------------------------------------------------------------------------------------------------------
// Costs
//---------------------------------------------------------------------------------------------------------------------

//! What reading a column costs, in microseconds: measured on compressed columns of a file.
struct ReadCost {
	//! A value, looked up by its row id.
	double fetched;
	//! A vector of 2048 values, of which some are selected.
	double scanned;
	//! Each of those selected.
	double selected;
};

static ReadCost CostOf(const LogicalType &type) {
	switch (type.InternalType()) {
	case PhysicalType::VARCHAR:
		return {8, 150, 0};
	case PhysicalType::LIST:
		// DuckDB reads its segment's elements from the first one on
		return {500, 600, 0};
	case PhysicalType::STRUCT: {
		ReadCost result {1, 4, 0};
		for (auto &child : StructType::GetChildTypes(type)) {
			auto cost = CostOf(child.second);
			result = {result.fetched + cost.fetched, result.scanned + cost.scanned, result.selected + cost.selected};
		}
		return result;
	}
	case PhysicalType::ARRAY: {
		auto child = CostOf(ArrayType::GetChildType(type));
		auto size = static_cast<double>(ArrayType::GetSize(type));
		// beyond half the array's size, selected values are read with all others
		return {5 + child.scanned * size / STANDARD_VECTOR_SIZE, 5, 4 + size / 1000};
	}
	default:
		return {0.5, 5, 0};
	}
}

bool ScanPays(const vector<LogicalType> &types, const vector<int64_t> &row_ids, idx_t table_rows) {
	//! To skip a vector.
	constexpr double SKIPPED = 0.5;
	//! To begin a scan.
	constexpr double BEGUN = 30;
	unordered_set<int64_t> vectors;
	for (auto row_id : row_ids) {
		vectors.insert(row_id / UnsafeNumericCast<int64_t>(STANDARD_VECTOR_SIZE));
	}
	auto rows = static_cast<double>(row_ids.size());
	auto read = static_cast<double>(vectors.size());
	auto all = static_cast<double>(table_rows) / STANDARD_VECTOR_SIZE;
	double fetched = 0;
	double scanned = BEGUN;
	for (auto &type : types) {
		auto cost = CostOf(type);
		fetched += rows * cost.fetched;
		scanned += read * cost.scanned + rows * cost.selected + all * SKIPPED;
	}
	return scanned < fetched;
}

} // namespace duckdb
