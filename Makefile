# One command per need; CI runs the same ones.

# DuckDB takes about 40 minutes to compile on two cores, once. Its target directory is kept outside the checkout, where neither
# `make clean` nor a fresh clone loses it.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vss
export CARGO_TARGET_DIR ?= $(CACHE)/target
CORE_TARGET_DIR ?= $(CACHE)/core

DUCKDB_VERSION := 2.0.0
OUT := build/release
EXTENSION := $(OUT)/vss.duckdb_extension
PYTHON := build/venv/bin/python
EXAMPLES_VENV := build/examples-venv
BENCHES_VENV := build/benches-venv
DATA ?= ../shared/data
LIBRARY_NAME := $(if $(filter Darwin,$(shell uname -s)),libvss.dylib,libvss.so)
CORE := CARGO_TARGET_DIR=$(CORE_TARGET_DIR) cargo

.PHONY: release core test rust wheel examples lint bench bench-core bench-peers tuning fuzz crash tsan example clean

# Always the whole workspace: cargo unites features per selection of packages, and another set compiles DuckDB again.
release:
	cargo build --release --workspace
	$(CARGO_TARGET_DIR)/release/package $(CARGO_TARGET_DIR)/release/$(LIBRARY_NAME) $(OUT) v$(DUCKDB_VERSION)

test: core release rust wheel examples

# The index without DuckDB: seconds.
core:
	$(CORE) test --release --no-default-features -p vss

# SQL and integration tests, with the `duckdb` crate as host.
rust: release
	VSS_EXTENSION=$(CURDIR)/$(EXTENSION) cargo test --release --workspace --exclude vss

# Tests of plans: they also run with DuckDB's verification of plans.
PLANS := $(addprefix test/sql/,aggregate explain filter issues join macros mvcc scan)

# The same SQL tests, and the tests that need Python, in the wheel from PyPI.
wheel: release $(PYTHON)
	$(CARGO_TARGET_DIR)/release/sqllogictest --host python --python $(PYTHON) --extension $(EXTENSION) test/sql
	SQLLOGIC_VERIFY="debug_verify_column_bindings debug_verify_stats" \
	$(CARGO_TARGET_DIR)/release/sqllogictest --host python --python $(PYTHON) --extension $(EXTENSION) $(PLANS)
	$(PYTHON) -m pytest -q test/python --extension $(EXTENSION)

# The first search on real data.
example: release $(PYTHON)
	$(PYTHON) examples/first_search.py $(EXTENSION) $(DATA)/wordnet.parquet $(DATA)/wordnet_queries.parquet

# The examples' tests. Their packages are installed apart from the others; where that is not possible, nothing is tested.
examples: release
	if $(MAKE) --silent $(EXAMPLES_VENV)/installed; \
	then DATA=$(DATA) $(EXAMPLES_VENV)/bin/python -m pytest -q -rs examples/tests --extension $(EXTENSION); \
	else echo "examples: not tested, as their packages cannot be installed"; fi

$(EXAMPLES_VENV)/installed: examples/requirements.txt
$(BENCHES_VENV)/installed: benches/requirements.txt
%-venv/installed:
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(PYTHON): test/requirements.txt
	python3 -m venv build/venv
	$(PYTHON) -m pip install --quiet --requirement test/requirements.txt
	touch $(PYTHON)

lint:
	cargo fmt --all --check
	$(CORE) clippy --release --no-default-features -p vss --all-targets -- -D warnings
	cargo clippy --release --workspace --all-targets -- -D warnings
	sh test/layering.sh

bench: bench-core bench-peers

# The core beside usearch's index, and the distance kernels.
bench-core:
	$(CORE) bench --no-default-features -p vss --bench core --bench kernels

# The extension beside its peers, all on an idle machine: 40 minutes on two cores. Writes docs/benchmarks.md and docs/plots.
# Parts of it, or less: `make bench-peers PEERS="--stages libraries --rows 5000"`; all options: PEERS=--help.
bench-peers: release
	$(CORE) bench --no-default-features -p vss --bench raw --no-run
	export PYTHONPATH=benches CARGO_TARGET_DIR=$(CORE_TARGET_DIR) && \
	$$(python3 -m peers.environments build/bench driver) -m peers --data $(DATA) --extension $(EXTENSION) --docs docs $(PEERS)

# The plots and tables of docs/tuning.md, on all of the data: about a quarter of an hour.
tuning: release $(BENCHES_VENV)/installed
	$(BENCHES_VENV)/bin/python benches/tuning.py $(EXTENSION) $(DATA)/wordnet.parquet $(DATA)/wordnet_queries.parquet docs/plots

# The property tests of the core, for longer; then at least 50,000 random queries, each compared with its answer without
# the index, some of them in files that are closed and opened again. Scripts of failures go to build/fuzz.
fuzz: release $(PYTHON)
	PROPTEST_CASES=2000 $(CORE) test --release --no-default-features -p vss
	PYTHONPATH=test $(PYTHON) -m fuzz --extension $(EXTENSION) --seeds 0-849 --shrink
	PYTHONPATH=test $(PYTHON) -m fuzz --extension $(EXTENSION) --seeds 0-199 --file --shrink

# Kills a process that works on a file, a thousand times; about a quarter of an hour. Nothing committed may be lost. Bad files go
# to build/crash.
crash: release $(PYTHON)
	PYTHONPATH=test $(PYTHON) -m crash --extension $(EXTENSION) --kills 1000

# Data races in the index: its concurrency tests under ThreadSanitizer. Needs a nightly toolchain with rust-src, because the
# standard library must be instrumented, too: without, each of its locks looks like a race.
TSAN_TARGET := x86_64-unknown-linux-gnu
tsan:
	CARGO_TARGET_DIR=$(CACHE)/tsan RUSTFLAGS=-Zsanitizer=thread CXXFLAGS_$(subst -,_,$(TSAN_TARGET))=-fsanitize=thread \
	cargo +nightly test -Zbuild-std --release --no-default-features -p vss --lib --target $(TSAN_TARGET) concurrent

clean:
	rm -rf build
