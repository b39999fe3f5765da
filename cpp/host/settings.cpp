#include "host/settings.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/main/config.hpp"
#include "host/errors.hpp"

namespace duckdb {

static void CheckEfSearch(ClientContext &context, SetScope scope, Value &value) {
	if (!value.IsNull()) {
		Translate([&] { vss::check_ef_search(value.GetValue<int64_t>()); });
	}
}

static void CheckTargetRecall(ClientContext &context, SetScope scope, Value &value) {
	if (!value.IsNull()) {
		Translate([&] { vss::check_target_recall(value.GetValue<double>()); });
	}
}

static void CheckRescore(ClientContext &context, SetScope scope, Value &value) {
	if (!value.IsNull()) {
		Translate([&] { vss::check_rescore(value.GetValue<double>()); });
	}
}

static string Text(const Value &value) {
	return value.IsNull() ? string("NULL") : StringValue::Get(value);
}

static void CheckQuantization(ClientContext &context, SetScope scope, Value &value) {
	Translate([&] { vss::parse_default_quantization(rust::Str(Text(value))); });
}

static void CheckStrategy(ClientContext &context, SetScope scope, Value &value) {
	Translate([&] { vss::parse_strategy(rust::Str(Text(value))); });
}

//! A setting that is NULL by default.
static void AddOptional(DBConfig &config, const char *name, const char *description, const LogicalType &type,
                        set_option_callback_t check) {
	config.AddExtensionOption(name, description, type, Value(type), check);
	Value given;
	if (!config.TryGetCurrentSetting(name, given)) {
		// DuckDB does not store a NULL default, and current_setting() would not know the setting
		config.SetOption(name, Value(type));
	}
}

void RegisterSettings(DBConfig &config) {
	AddOptional(config, EF_SEARCH_SETTING,
	            "Search width (ef) of HNSW index searches in this session; NULL: the index's own", LogicalType::BIGINT,
	            CheckEfSearch);
	AddOptional(config, TARGET_RECALL_SETTING,
	            "Share of the nearest rows that HNSW index searches in this session are to find; NULL: the index's own",
	            LogicalType::DOUBLE, CheckTargetRecall);
	config.AddExtensionOption(
	    RESCORE_SETTING,
	    "Standard errors by which the distances of quantized HNSW indexes may be off: the more, the more rows of "
	    "the table are compared",
	    LogicalType::DOUBLE, Value::DOUBLE(vss::default_rescore()), CheckRescore);
	config.AddExtensionOption(QUANTIZATION_SETTING,
	                          "Quantization of HNSW indexes that are created without the option: none, sq8 or sq4",
	                          LogicalType::VARCHAR, Value("none"), CheckQuantization);
	config.AddExtensionOption(PERSISTENCE_SETTING, "Allow HNSW indexes to be created in database files",
	                          LogicalType::BOOLEAN, Value::BOOLEAN(false));
	config.AddExtensionOption(PREFILTER_SETTING,
	                          "Serve queries with a filter from an HNSW index; false: they scan the table",
	                          LogicalType::BOOLEAN, Value::BOOLEAN(true));
	config.AddExtensionOption(STRATEGY_SETTING, "How HNSW indexes are searched (for benchmarks)", LogicalType::VARCHAR,
	                          Value("auto"), CheckStrategy);
}

static optional_idx EfSearch(ClientContext &context) {
	Value value;
	if (!context.TryGetCurrentSetting(EF_SEARCH_SETTING, value) || value.IsNull()) {
		return optional_idx();
	}
	return optional_idx(value.GetValue<idx_t>());
}

double TargetRecall(ClientContext &context, const vss::IndexOptions &options) {
	Value value;
	if (!context.TryGetCurrentSetting(TARGET_RECALL_SETTING, value) || value.IsNull()) {
		return options.target_recall;
	}
	return value.GetValue<double>();
}

idx_t SearchWidth(ClientContext &context, const vss::IndexHandle &core, const vss::IndexOptions &options, idx_t k) {
	auto session_ef = EfSearch(context);
	if (session_ef.IsValid()) {
		return session_ef.GetIndex();
	}
	auto target = TargetRecall(context, options);
	if (options.ef_given || target == 0) {
		return options.ef_search;
	}
	return core.ef_of_target(k, target);
}

double Rescore(ClientContext &context) {
	Value value;
	if (!context.TryGetCurrentSetting(RESCORE_SETTING, value) || value.IsNull()) {
		return vss::default_rescore();
	}
	return value.GetValue<double>();
}

vss::Quantization DefaultQuantization(ClientContext &context) {
	Value value;
	if (!context.TryGetCurrentSetting(QUANTIZATION_SETTING, value) || value.IsNull()) {
		return vss::Quantization::None;
	}
	return Translate([&] { return vss::parse_default_quantization(rust::Str(value.ToString())); });
}

bool PrefilterEnabled(ClientContext &context) {
	Value value;
	return !context.TryGetCurrentSetting(PREFILTER_SETTING, value) || value.IsNull() || value.GetValue<bool>();
}

vss::Strategy SearchStrategy(ClientContext &context) {
	Value value;
	if (!context.TryGetCurrentSetting(STRATEGY_SETTING, value) || value.IsNull()) {
		return vss::Strategy::Auto;
	}
	return Translate([&] { return vss::parse_strategy(rust::Str(value.ToString())); });
}

bool PersistenceEnabled(ClientContext &context) {
	Value value;
	return context.TryGetCurrentSetting(PERSISTENCE_SETTING, value) && !value.IsNull() && value.GetValue<bool>();
}

} // namespace duckdb
