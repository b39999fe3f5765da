"""A short run of the differential fuzzer: each answer is the one without the index. `make fuzz` is the long one."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fuzz.parent import Child
from fuzz.sequence import Sequence
from fuzz.shrink import describe

QUERIES = 40


@pytest.fixture(scope="module")
def child(extension):
    child = Child(extension, QUERIES, in_file=False)
    yield child
    child.stop()


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--seeds")))


def test_every_answer_is_the_one_without_the_index(child, seed):
    result = child.run(seed)
    if "kind" in result:
        pytest.fail(describe(child, Sequence(seed, QUERIES, in_file=False), result, shortest=True), pytrace=False)
    assert sum(result["compared"].values()) >= QUERIES
