#include "optimizer/rewrite.hpp"

#include "duckdb/main/config.hpp"
#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/optimizer/optimizer_extension.hpp"
#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "execution/measured_query.hpp"
#include "execution/vacuum.hpp"
#include "host/log.hpp"
#include "optimizer/nearest.hpp"
#include "optimizer/plan_notes.hpp"
#include "optimizer/prepare.hpp"
#include "optimizer/range.hpp"
#include "optimizer/digests.hpp"
#include "optimizer/union_parts.hpp"

namespace duckdb {

static void PreOptimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	Prepare(input.context, *plan);
}

//! `use`: what the operators above do with the rows of `op`.
static void Rewrite(Binder &binder, unique_ptr<LogicalOperator> &op, const RangeUse &use) {
	auto parts = LimitParts(*op);
	ServeNearest(binder, *op);
	ServeRange(binder, op, use);
	ServePairs(binder, op, use);
	auto below = use.Below(*op);
	for (auto &child : op->children) {
		Rewrite(binder, child, below);
	}
	UnlimitParts(parts);
}

static void Serve(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	Rewrite(input.optimizer.binder, plan, RangeUse());
	DigestVectors(input.context, *plan);
	RestoreLateMaterialization(input.optimizer, plan);
	LogicalMeasuredQuery::Record(*plan);
	LogicalHNSWVacuum::Add(plan);
}

static void Optimize(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan) {
	PlanNotes::AddPlan();
	IndexLog log(input.context);
	if (PlanNotes::AreTaken() || !log.IsOn()) {
		Serve(input, plan);
		return;
	}
	PlanNotes notes;
	Serve(input, plan);
	notes.EachRefusal([&](const TableCatalogEntry &table, const string &index, const string &text) {
		log.Write("refusal", table.name.GetIdentifierName(), index, text);
	});
}

void RegisterRewrite(DBConfig &config) {
	OptimizerExtension extension;
	extension.pre_optimize_function = PreOptimize;
	extension.optimize_function = Optimize;
	OptimizerExtension::Register(config, std::move(extension));
}

} // namespace duckdb
