//! HNSW_VACUUM: compacts the indexes of a table that is vacuumed.
#pragma once

#include "duckdb/planner/operator/logical_extension_operator.hpp"

namespace duckdb {

class DuckTableEntry;

//! Its child is DuckDB's VACUUM or ANALYZE. The compactions are part of the execution, because clients can only stop
//! what is executed. DuckDB's own call to an index would come with the table's index list locked.
class LogicalHNSWVacuum : public LogicalExtensionOperator {
public:
	LogicalHNSWVacuum(DuckTableEntry &table, unique_ptr<LogicalOperator> vacuum);

	//! Puts such an operator above `plan` if `plan` vacuums a table with HNSW indexes.
	static void Add(unique_ptr<LogicalOperator> &plan);

	vector<ColumnBinding> GetColumnBindings() override;
	optional_ptr<const string> GetTypeBindingVerificationIdentifier() const noexcept override;
	PhysicalOperator &CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) override;
	string GetName() const override {
		return "HNSW_VACUUM";
	}
	string GetExtensionName() const override {
		return "vss";
	}
	bool SupportSerialization() const override {
		return false;
	}

protected:
	void ResolveTypes() override;

private:
	DuckTableEntry &table;
};

} // namespace duckdb
