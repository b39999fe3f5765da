#include "execution/measured_query.hpp"

#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "execution/logical_search.hpp"
#include "execution/physical_after_child.hpp"

#include <cmath>

namespace duckdb {

//---------------------------------------------------------------------------------------------------------------------
// Records
//---------------------------------------------------------------------------------------------------------------------

SearchRecord::SearchRecord(string index_name_p, idx_t k_p, bool codes_p)
    : index_name(std::move(index_name_p)), k(k_p), codes(codes_p) {
}

void SearchRecord::Clear() {
	lock_guard<mutex> guard(lock);
	recalls.clear();
	index_ms = 0;
	exact_ms = 0;
}

void SearchRecord::Add(idx_t ef_p, const vss::SearchRecall &measured) {
	lock_guard<mutex> guard(lock);
	ef = ef_p;
	index_ms += measured.index_ms;
	exact_ms += measured.exact_ms;
	if (!std::isnan(measured.recall)) {
		recalls.push_back(measured.recall);
	}
}

vector<Value> SearchRecord::Row() const {
	lock_guard<mutex> guard(lock);
	auto report = vss::mean_recall({recalls.data(), recalls.size()}, index_ms, exact_ms);
	return RecallColumns::Row(index_name, k, ef, codes, report);
}

vector<Identifier> RecallColumns::Names() {
	return {"index_name", "k",           "queries",  "ef_search", "recall",
	        "recall_low", "recall_high", "index_ms", "exact_ms",  "judged_by"};
}

vector<LogicalType> RecallColumns::Types() {
	vector<LogicalType> result {LogicalType::VARCHAR, LogicalType::BIGINT, LogicalType::BIGINT, LogicalType::BIGINT};
	result.resize(Names().size() - 1, LogicalType::DOUBLE);
	result.push_back(LogicalType::VARCHAR);
	return result;
}

vector<Value> RecallColumns::Row(const string &index_name, idx_t k, idx_t ef, bool codes,
                                 const vss::RecallReport &report) {
	auto number = [&](double value) { return report.queries > 0 ? Value::DOUBLE(value) : Value(LogicalType::DOUBLE); };
	auto whole = [](idx_t value) { return Value::BIGINT(NumericCast<int64_t>(value)); };
	return {Value(index_name),       whole(k),
	        whole(report.queries),   whole(ef),
	        number(report.recall),   number(report.low),
	        number(report.high),     number(report.index_ms),
	        number(report.exact_ms), Value(codes ? "codes" : "vectors")};
}

//---------------------------------------------------------------------------------------------------------------------
// The operator
//---------------------------------------------------------------------------------------------------------------------

namespace {

//! Takes the rows of the query, then emits what its searches have recorded.
class PhysicalMeasuredQuery : public PhysicalAfterChild {
public:
	PhysicalMeasuredQuery(PhysicalPlan &physical_plan, vector<LogicalType> types, PhysicalOperator &query,
	                      vector<shared_ptr<SearchRecord>> records_p)
	    : PhysicalAfterChild(physical_plan, std::move(types), query, records_p.size()), records(std::move(records_p)) {
	}

	const vector<shared_ptr<SearchRecord>> records;

	string GetName() const override {
		return "HNSW_RECALL";
	}
	unique_ptr<GlobalSinkState> GetGlobalSinkState(ClientContext &context) const override {
		// this may have run before, as a part of a recursive query
		for (auto &record : records) {
			record->Clear();
		}
		return PhysicalOperator::GetGlobalSinkState(context);
	}
	unique_ptr<GlobalSourceState> GetGlobalSourceState(ClientContext &context) const override;

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &chunk,
	                                 OperatorSourceInput &input) const override;
};

class MeasuredQueryState : public GlobalSourceState {
public:
	idx_t next = 0;
};

} // namespace

unique_ptr<GlobalSourceState> PhysicalMeasuredQuery::GetGlobalSourceState(ClientContext &context) const {
	return make_uniq<MeasuredQueryState>();
}

SourceResultType PhysicalMeasuredQuery::GetDataInternal(ExecutionContext &context, DataChunk &chunk,
                                                        OperatorSourceInput &input) const {
	auto &state = input.global_state.Cast<MeasuredQueryState>();
	idx_t count = 0;
	for (; count < STANDARD_VECTOR_SIZE && state.next < records.size(); count++) {
		auto row = records[state.next++]->Row();
		for (idx_t col = 0; col < row.size(); col++) {
			chunk.data[col].Append(row[col]);
		}
	}
	chunk.SetChildCardinality(count);
	return state.next < records.size() ? SourceResultType::HAVE_MORE_OUTPUT : SourceResultType::FINISHED;
}

LogicalMeasuredQuery::LogicalMeasuredQuery(TableIndex table_index_p, unique_ptr<LogicalOperator> query)
    : table_index(table_index_p) {
	query->ResolveOperatorTypes();
	auto bindings = query->GetColumnBindings();
	// Refers to all columns, so that none is taken out: the query is planned as it would be on its own.
	for (idx_t i = 0; i < bindings.size(); i++) {
		expressions.push_back(make_uniq<BoundColumnRefExpression>(query->types[i], bindings[i]));
	}
	children.push_back(std::move(query));
}

static void RecordSearches(LogicalOperator &op, vector<shared_ptr<SearchRecord>> &records) {
	auto search = dynamic_cast<LogicalHNSWSearch *>(&op);
	if (search) {
		auto record = search->Record();
		if (record) {
			records.push_back(std::move(record));
		}
	}
	for (auto &child : op.children) {
		RecordSearches(*child, records);
	}
}

void LogicalMeasuredQuery::Record(LogicalOperator &plan) {
	auto measured = dynamic_cast<LogicalMeasuredQuery *>(&plan);
	if (measured) {
		measured->records.clear();
		RecordSearches(*measured->children[0], measured->records);
	}
	for (auto &child : plan.children) {
		Record(*child);
	}
}

vector<ColumnBinding> LogicalMeasuredQuery::GetColumnBindings() {
	return GenerateColumnBindings(table_index, RecallColumns::Types().size());
}

vector<TableIndex> LogicalMeasuredQuery::GetTableIndex() const {
	return {table_index};
}

optional_ptr<const string> LogicalMeasuredQuery::GetTypeBindingVerificationIdentifier() const noexcept {
	static const string IDENTIFIER = "vss.hnsw_recall";
	return &IDENTIFIER;
}

void LogicalMeasuredQuery::ResolveTypes() {
	types = RecallColumns::Types();
}

PhysicalOperator &LogicalMeasuredQuery::CreatePlan(ClientContext &context, PhysicalPlanGenerator &planner) {
	if (records.empty()) {
		throw InvalidInputException("hnsw_recall: no HNSW index is searched for the nearest rows in this query; "
		                            "hnsw_explain('<query>') says why");
	}
	auto &query = planner.CreatePlan(*children[0]);
	return planner.Make<PhysicalMeasuredQuery>(types, query, std::move(records));
}

} // namespace duckdb
