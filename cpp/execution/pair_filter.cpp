#include "execution/pair_filter.hpp"

#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/buffer_manager.hpp"
#include "execution/positions.hpp"
#include "host/errors.hpp"

#include <numeric>

namespace duckdb {

//! Sets that are kept for further query vectors: enough for a few kinds or days, not for very many keys.
static constexpr idx_t MAX_SETS = 64;

//---------------------------------------------------------------------------------------------------------------------
// The conditions
//---------------------------------------------------------------------------------------------------------------------

//! Whether `expr` refers only to positions in [first, end), and to at least one.
static bool IsOver(const Expression &expr, idx_t first, idx_t end) {
	bool any = false;
	bool others = false;
	ExpressionIterator::VisitExpression<BoundReferenceExpression>(expr, [&](const BoundReferenceExpression &ref) {
		auto in_range = ref.Index() >= first && ref.Index() < end;
		any = any || in_range;
		others = others || !in_range;
	});
	return any && !others;
}

static bool IsEquality(const Expression &condition) {
	auto type = condition.GetExpressionType();
	return BoundComparisonExpression::IsComparison(condition) &&
	       (type == ExpressionType::COMPARE_EQUAL || type == ExpressionType::COMPARE_NOT_DISTINCT_FROM);
}

PairFilter::PairFilter(vector<unique_ptr<Expression>> conditions, idx_t keys) {
	auto renumber = [&](BoundReferenceExpression &ref) {
		if (ref.Index() < keys) {
			return;
		}
		ref.IndexMutable() = keys + PositionOrAdd(probe_columns, ref.Index() - keys);
	};
	for (auto &part : conditions) {
		ExpressionIterator::VisitExpressionMutable<BoundReferenceExpression>(
		    part, [&](BoundReferenceExpression &ref, unique_ptr<Expression> &) { renumber(ref); });
	}
	auto end = keys + probe_columns.size();
	for (auto &part : conditions) {
		if (IsEquality(*part)) {
			auto &equality = part->Cast<BoundFunctionExpression>();
			reference<const Expression> row(BoundComparisonExpression::Left(equality));
			reference<const Expression> probe(BoundComparisonExpression::Right(equality));
			if (IsOver(probe, 0, keys)) {
				std::swap(row, probe);
			}
			if (IsOver(row, 0, keys) && IsOver(probe, keys, end) &&
			    row.get().GetReturnType() == probe.get().GetReturnType()) {
				row_sides.push_back(row.get().Copy());
				probe_sides.push_back(probe.get().Copy());
			}
		}
	}
	condition = BoundConjunctionExpression::Create(ExpressionType::CONJUNCTION_AND, std::move(conditions));
}

//---------------------------------------------------------------------------------------------------------------------
// The rows
//---------------------------------------------------------------------------------------------------------------------

static vector<LogicalType> WithRowId(vector<LogicalType> types) {
	types.push_back(LogicalType::ROW_TYPE);
	return types;
}

KeyedRows::KeyedRows(ClientContext &context, vector<LogicalType> types)
    : rows(context, WithRowId(std::move(types))), memory(BufferManager::GetBufferManager(context)) {
}

void KeyedRows::Group(ClientContext &context, const vector<unique_ptr<Expression>> &sides) {
	// All chunks of a thread are full but the last: there are few more places than rows.
	auto places_end = rows.ChunkCount() * STANDARD_VECTOR_SIZE;
	if (sides.empty() || places_end > NumericLimits<uint32_t>::Maximum()) {
		return;
	}
	auto groups = NextPowerOfTwo(MaxValue<idx_t>(rows.Count(), 1));
	memory.Resize((groups + 1 + rows.Count()) * sizeof(uint32_t) + rows.Count() * sizeof(uint32_t));
	vector<uint32_t> group_of_row;
	group_of_row.reserve(rows.Count());
	begins.assign(groups + 1, 0);

	ExpressionExecutor executor(context, sides);
	DataChunk chunk;
	DataChunk computed;
	rows.InitializeScanChunk(chunk);
	vector<LogicalType> types;
	for (auto &side : sides) {
		types.push_back(side->GetReturnType());
	}
	computed.Initialize(Allocator::Get(context), types);
	Vector hashes(LogicalType::HASH, STANDARD_VECTOR_SIZE);
	for (idx_t number = 0; number < rows.ChunkCount(); number++) {
		rows.FetchChunk(number, chunk);
		computed.Reset();
		executor.Execute(chunk, computed);
		computed.Hash(hashes);
		hashes.Flatten(chunk.size());
		auto values = FlatVector::GetData<hash_t>(hashes);
		for (idx_t i = 0; i < chunk.size(); i++) {
			auto group = UnsafeNumericCast<uint32_t>(values[i] & (groups - 1));
			group_of_row.push_back(group);
			begins[group + 1]++;
		}
	}
	std::partial_sum(begins.begin(), begins.end(), begins.begin());
	// Each row goes to the next place of its group. Afterwards each `begins` entry is where its group ends, and the
	// next one begins.
	places.resize(rows.Count());
	idx_t row = 0;
	for (idx_t number = 0; number < rows.ChunkCount(); number++) {
		rows.FetchChunk(number, chunk);
		for (idx_t i = 0; i < chunk.size(); i++) {
			auto place = UnsafeNumericCast<uint32_t>(number * STANDARD_VECTOR_SIZE + i);
			places[begins[group_of_row[row++]]++] = place;
		}
	}
	std::copy_backward(begins.begin(), begins.end() - 1, begins.end());
	begins[0] = 0;
	grouped = true;
	memory.Resize((begins.size() + places.size()) * sizeof(uint32_t));
}

bool KeyedRows::Scan(hash_t hash, idx_t &next, DataChunk &chunk) const {
	if (!grouped) {
		if (next == rows.ChunkCount()) {
			return false;
		}
		rows.FetchChunk(next++, chunk);
		return true;
	}
	auto group = hash & (begins.size() - 2);
	auto at = begins[group] + next;
	auto end = begins[group + 1];
	if (at == end) {
		return false;
	}
	auto number = places[at] / STANDARD_VECTOR_SIZE;
	SelectionVector selected(STANDARD_VECTOR_SIZE);
	idx_t count = 0;
	for (; at < end && places[at] / STANDARD_VECTOR_SIZE == number; at++) {
		selected.set_index(count++, places[at] % STANDARD_VECTOR_SIZE);
	}
	next += count;
	rows.FetchChunk(number, chunk);
	chunk.Slice(selected, count);
	return true;
}

//---------------------------------------------------------------------------------------------------------------------
// Sets of rows
//---------------------------------------------------------------------------------------------------------------------

shared_ptr<QualifyingRows::Set> QualifyingRows::Find(const string &values) {
	lock_guard<mutex> guard(lock);
	auto entry = sets.find(values);
	return entry == sets.end() ? nullptr : entry->second;
}

void QualifyingRows::Add(const string &values, shared_ptr<Set> set) {
	lock_guard<mutex> guard(lock);
	if (sets.size() == MAX_SETS) {
		sets.clear();
	}
	sets.emplace(values, std::move(set));
}

PairFilterExecutor::PairFilterExecutor(ClientContext &context_p, const PairFilter &filter_p, const KeyedRows &rows_p,
                                       const vss::RowSet &all_p, QualifyingRows &found_p)
    : context(context_p), filter(filter_p), rows(rows_p), all(all_p), found(found_p),
      executor(context_p, *filter_p.condition), probe_executor(context_p, filter_p.probe_sides) {
	auto &allocator = Allocator::Get(context);
	rows.rows.InitializeScanChunk(allocator, chunk);
	vector<LogicalType> types;
	for (auto &side : filter.probe_sides) {
		types.push_back(side->GetReturnType());
	}
	sides.Initialize(allocator, types);
}

shared_ptr<QualifyingRows::Set> PairFilterExecutor::Qualifying(DataChunk &probes, idx_t probe,
                                                               const vss::HostInterrupt &interrupt) {
	auto keys = chunk.ColumnCount() - 1;
	if (pairs.ColumnCount() == 0) {
		auto types = rows.rows.Types();
		types.pop_back();
		for (auto column : filter.probe_columns) {
			types.push_back(probes.data[column].GetType());
		}
		pairs.Initialize(Allocator::Get(context), types);
	}
	string values;
	for (auto column : filter.probe_columns) {
		values += probes.data[column].GetValue(probe).ToSQLString();
		values += '\0';
	}
	if (auto known = found.Find(values)) {
		return known;
	}
	auto pair_with = [&](idx_t count) {
		for (idx_t i = 0; i < filter.probe_columns.size(); i++) {
			ConstantVector::Reference(pairs.data[keys + i], count_t(count), probes.data[filter.probe_columns[i]], probe,
			                          probes.size());
		}
		pairs.SetCardinalityUnsafe(count);
	};
	hash_t hash = 0;
	if (!filter.probe_sides.empty() && rows.rows.Count() > 0) {
		pairs.Reset();
		pair_with(1);
		sides.Reset();
		probe_executor.Execute(pairs, sides);
		Vector hashes(LogicalType::HASH, 1);
		sides.Hash(hashes);
		hash = hashes.GetValue(0).GetValue<hash_t>();
	}
	auto set = all.beside();
	SelectionVector passed(STANDARD_VECTOR_SIZE);
	for (idx_t next = 0; rows.Scan(hash, next, chunk);) {
		interrupt.Check();
		for (idx_t key = 0; key < keys; key++) {
			pairs.data[key].Reference(chunk.data[key]);
		}
		pair_with(chunk.size());
		auto count = executor.SelectExpression(pairs, passed);
		UnifiedVectorFormat format;
		chunk.data.back().ToUnifiedFormat(format);
		auto ids = UnifiedVectorFormat::GetData<row_t>(format);
		row_ids.clear();
		for (idx_t i = 0; i < count; i++) {
			auto row_id = ids[format.sel->get_index(passed.get_index(i))];
			if (row_id < MAX_ROW_ID) {
				row_ids.push_back(row_id);
			}
		}
		Translate([&] { set->insert({row_ids.data(), row_ids.size()}); });
	}
	auto result = make_shared_ptr<QualifyingRows::Set>(std::move(set));
	found.Add(values, result);
	return result;
}

} // namespace duckdb
