#include "scan.hpp"

#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "physical_scan.hpp"

namespace duckdb {

LogicalHNSWScan::LogicalHNSWScan(unique_ptr<LogicalGet> get_p, IndexSearch search_p, unique_ptr<Expression> query,
                                 unique_ptr<LogicalOperator> child, bool get_first_p)
    : get(std::move(get_p)), search(std::move(search_p)), get_first(get_first_p) {
	expressions.push_back(std::move(query));
	if (child) {
		children.push_back(std::move(child));
	}
	estimated_cardinality = search.wanted;
	has_estimated_cardinality = true;
}

//! The left columns followed by the right ones.
template <class T>
static vector<T> Concatenate(vector<T> left, const vector<T> &right) {
	left.insert(left.end(), right.begin(), right.end());
	return left;
}

vector<ColumnBinding> LogicalHNSWScan::GetColumnBindings() {
	auto table_bindings = get->GetColumnBindings();
	if (children.empty()) {
		return table_bindings;
	}
	auto child_bindings = children[0]->GetColumnBindings();
	return get_first ? Concatenate(table_bindings, child_bindings) : Concatenate(child_bindings, table_bindings);
}

void LogicalHNSWScan::ResolveTypes() {
	get->ResolveOperatorTypes();
	if (children.empty()) {
		types = get->types;
	} else {
		types = get_first ? Concatenate(get->types, children[0]->types) : Concatenate(children[0]->types, get->types);
	}
}

vector<TableIndex> LogicalHNSWScan::GetTableIndex() const {
	return get->GetTableIndex();
}

idx_t LogicalHNSWScan::EstimateCardinality(ClientContext &context) {
	return search.wanted;
}

optional_ptr<const string> LogicalHNSWScan::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_index_scan";
	return &IDENTIFIER;
}

InsertionOrderPreservingMap<string> LogicalHNSWScan::ParamsToString() const {
	return SearchParameters(get->GetTable()->Cast<DuckTableEntry>(), search);
}

PhysicalOperator &LogicalHNSWScan::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	auto &table = get->GetTable()->Cast<DuckTableEntry>();
	ResolveOperatorTypes();
	vector<StorageIndex> column_ids;
	for (auto &binding : get->GetColumnBindings()) {
		column_ids.push_back(table.GetStorageIndex(get->GetColumnIndex(binding)));
	}
	auto &table_scan = planner.CreatePlan(static_cast<LogicalOperator &>(*get));
	auto &scan = planner.Make<PhysicalHNSWScan>(types, estimated_cardinality, table, std::move(column_ids), search,
	                                            std::move(expressions[0]), table_scan, get_first);
	if (!children.empty()) {
		scan.children.push_back(planner.CreatePlan(*children[0]));
	}
	return scan;
}

InsertionOrderPreservingMap<string> SearchParameters(DuckTableEntry &table, const IndexSearch &search) {
	InsertionOrderPreservingMap<string> result;
	result["Table"] = table.name.GetIdentifierName();
	result["Index"] = search.index_name;
	result["Metric"] = search.metric;
	result["K"] = to_string(search.wanted);
	result["Search Width"] = to_string(search.ef);
	result["Strategy"] = search.strategy;
	return result;
}

} // namespace duckdb
