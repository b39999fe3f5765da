# How DuckDB's own CMake build finds this extension and its tests. In a checkout of DuckDB:
#
#     make EXTENSION_CONFIGS=/path/to/vss/extension_config.cmake
#     build/release/test/unittest --test-dir /path/to/vss "test/sql/*"
#
# builds it as a loadable extension against that DuckDB, and runs test/sql with DuckDB's own test runner.
duckdb_extension_load(vss
    SOURCE_DIR ${CMAKE_CURRENT_LIST_DIR}
    INCLUDE_DIR ${CMAKE_CURRENT_LIST_DIR}/cpp
    EXTENSION_VERSION v0.2.0
    LOAD_TESTS
    TEST_DIR ${CMAKE_CURRENT_LIST_DIR}/test/sql)
