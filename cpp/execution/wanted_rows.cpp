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

} // namespace duckdb
