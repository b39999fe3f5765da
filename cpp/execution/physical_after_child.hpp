//! What operators share that do something once their child is done.
#pragma once

#include "duckdb/execution/physical_operator.hpp"

namespace duckdb {

//! Takes the rows of its child; after that it is the source of a pipeline of its own.
class PhysicalAfterChild : public PhysicalOperator {
public:
	static constexpr const PhysicalOperatorType TYPE = PhysicalOperatorType::EXTENSION;

	PhysicalAfterChild(PhysicalPlan &physical_plan, vector<LogicalType> types, PhysicalOperator &child,
	                   idx_t estimated_cardinality)
	    : PhysicalOperator(physical_plan, TYPE, std::move(types), estimated_cardinality) {
		children.push_back(child);
	}

	bool IsSink() const override {
		return true;
	}
	bool ParallelSink() const override {
		return true;
	}
	SinkResultType Sink(ExecutionContext &context, DataChunk &chunk, OperatorSinkInput &input) const override {
		return SinkResultType::NEED_MORE_INPUT;
	}
	bool IsSource() const override {
		return true;
	}
};

} // namespace duckdb
