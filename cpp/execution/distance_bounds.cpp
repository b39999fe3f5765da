#include "execution/distance_bounds.hpp"

#include "duckdb/execution/expression_executor.hpp"

#include <cmath>
#include <cstring>
#include <limits>

namespace duckdb {

//! Maps the numbers of a type to whole numbers, in the same order.
template <class REAL, class BITS>
struct Ordered {
	//! The whole number of infinity.
	static constexpr int64_t LAST = static_cast<int64_t>(BITS(1) << (std::numeric_limits<REAL>::digits - 1)) *
	                                (2 * std::numeric_limits<REAL>::max_exponent - 1);

	static Value At(int64_t number) {
		auto bits = static_cast<BITS>(number < 0 ? -number : number);
		REAL result;
		memcpy(&result, &bits, sizeof(result));
		return Value::CreateValue<REAL>(number < 0 ? -result : result);
	}
};

//! The last distance at which `bound` holds, counted from that end, least or greatest, where it holds if it holds
//! anywhere: what it computes with the distance is monotone. NaN if it holds nowhere.
template <class REAL, class BITS>
static double LastDistance(ClientContext &context, const DistanceBound &bound, const LogicalType &type) {
	ExpressionExecutor executor(context, *bound.over_distance);
	DataChunk chunk;
	chunk.Initialize(Allocator::Get(context), {type}, 1);
	Vector result(LogicalType::BOOLEAN, 1);
	auto holds = [&](int64_t number) {
		chunk.Reset();
		chunk.SetValue(0, 0, Ordered<REAL, BITS>::At(number));
		chunk.SetChildCardinality(1);
		executor.ExecuteExpression(chunk, result);
		auto value = result.GetValue(0);
		return !value.IsNull() && BooleanValue::Get(value);
	};
	constexpr auto LAST = Ordered<REAL, BITS>::LAST;
	int64_t sign = bound.holds_below ? 1 : -1;
	int64_t least = bound.not_negative ? 0 : -LAST;
	int64_t first = bound.holds_below ? least : -LAST;
	int64_t last = bound.holds_below ? LAST : -least;
	if (!holds(sign * first)) {
		return NAN;
	}
	while (first < last) {
		auto middle = MaxValue<int64_t>(first / 2 + last / 2, first + 1);
		if (holds(sign * middle)) {
			first = middle;
		} else {
			last = middle - 1;
		}
	}
	return Ordered<REAL, BITS>::At(sign * first).template GetValue<double>();
}

//! Narrows `request` to the distances at which `bound` holds. False if that cannot be told.
static bool Narrow(ClientContext &context, const DistanceBound &bound, vss::RangeRequest &request) {
	auto last = bound.type.id() == LogicalTypeId::DOUBLE ? LastDistance<double, uint64_t>(context, bound, bound.type)
	                                                     : LastDistance<float, uint32_t>(context, bound, bound.type);
	if (std::isnan(last)) {
		request.nearest = std::numeric_limits<double>::infinity();
		request.farthest = -std::numeric_limits<double>::infinity();
		return true;
	}
	auto distance = vss::distance_at(rust::Str(bound.function), last);
	if (bound.keeps_near) {
		request.farthest = MinValue(request.farthest, distance);
	} else {
		request.nearest = MaxValue(request.nearest, distance);
	}
	return !std::isnan(distance);
}

optional<vss::RangeRequest> DistancesWithin(ClientContext &context, const vector<DistanceBound> &bounds) {
	vss::RangeRequest result;
	result.nearest = -std::numeric_limits<double>::infinity();
	result.farthest = std::numeric_limits<double>::infinity();
	try {
		for (auto &bound : bounds) {
			if (!Narrow(context, bound, result)) {
				return {};
			}
		}
	} catch (const Exception &) {
		// DuckDB evaluates a bound only for rows that reach it: the scan that runs instead fails, too, if there are any
		return {};
	}
	return result;
}

} // namespace duckdb
