#include "index/binding.hpp"

#include "duckdb/storage/table/data_table_info.hpp"
#include "duckdb/storage/table/index_entry.hpp"

namespace duckdb {

vector<shared_ptr<IndexEntry>> ListedIndexes(DataTableInfo &table) {
	vector<shared_ptr<IndexEntry>> result;
	for (auto entry : table.GetIndexes().IndexEntries()) {
		result.push_back(std::move(entry));
	}
	return result;
}

void BindUnlessDropped(ClientContext &context, DataTableInfo &table, const string &index_type) {
	auto before = ListedIndexes(table);
	try {
		table.BindIndexes(context, index_type);
	} catch (const InternalException &) {
		// One that was dropped has left the list before its entry is emptied.
		auto listed = ListedIndexes(table);
		auto is_listed = [&](const shared_ptr<IndexEntry> &entry) {
			return std::find(listed.begin(), listed.end(), entry) != listed.end();
		};
		if (std::all_of(before.begin(), before.end(), is_listed)) {
			throw;
		}
	}
}

} // namespace duckdb
