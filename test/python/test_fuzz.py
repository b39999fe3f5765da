"""A short run of the differential fuzzer: each answer is the one without the index. `make fuzz` is the long one."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fuzz import answers
from fuzz.parent import Child
from fuzz.sequence import Sequence
from fuzz.shrink import describe
from fuzz.steps import Query

QUERIES = 40
#: Why an answer cannot be judged: DuckDB refuses to compute the distance of a row, NULL elements fail the search, or an error ended
#: the transaction in which both queries should be asked.
UNJUDGED = ["unknown distances", "NULL elements", "in a transaction"]
#: Seconds spent on making the script of a failure short.
SHRINKING = 30


@pytest.fixture(scope="module")
def children(extension):
    """A process that works in memory, and one that works in files."""
    children = [Child(extension, QUERIES, in_file) for in_file in [False, True]]
    yield children
    for child in children:
        child.stop()


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        seeds = metafunc.config.getoption("--seeds")
        runs = [(seed, False) for seed in range(seeds)] + [(seed, True) for seed in range(seeds // 4)]
        metafunc.parametrize("seed, in_file", runs)


def test_every_answer_is_the_one_without_the_index(children, seed, in_file):
    child = children[in_file]
    result = child.run(seed)
    if "kind" in result:
        pytest.fail(describe(child, Sequence(seed, QUERIES, in_file), result, SHRINKING), pytrace=False)
    unjudged = [result["errors"].get(reason, 0) for reason in UNJUDGED]
    assert sum(result["compared"].values()) + sum(unjudged) >= QUERIES
    assert max(unjudged) <= QUERIES / 10


#: Distances of the rows 1 to 5; 2 and 3 are equally far.
DISTANCES = {("", 1): ["0.5"], ("", 2): ["1.0"], ("", 3): ["1.0"], ("", 4): ["2.0"], ("", 5): ["NULL"]}
EXACT = [("", 1, "0.5"), ("", 2, "1.0"), ("", 4, "2.0")]


@pytest.mark.parametrize(
    "rows, wrong",
    [
        (EXACT, ""),
        ([("", 1, "0.5"), ("", 3, "1.0"), ("", 4, "2.0")], ""),
        ([("", 1, None), ("", 3, None), ("", 4, None)], ""),
        (EXACT[:2], "2 rows instead of 3"),
        ([*EXACT[:2], ("", 5, "NULL")], "place 2"),
        ([EXACT[1], EXACT[0], EXACT[2]], "place 0"),
        ([*EXACT[:2], ("", 9, "2.0")], "row 9 is not visible"),
        ([*EXACT[:2], ("", 2, "1.0")], "row 2 comes 2 times"),
        ([*EXACT[:2], ("", 4, "1.9")], "row 4 shows distance 1.9"),
    ],
)
def test_the_fuzzer_tells_wrong_from_right(rows, wrong):
    query = Query(0, "", "", "")
    found, _ = answers.compare(answers.Answer(rows), answers.Answer(EXACT), DISTANCES, query, exactly=True)
    assert found.startswith(wrong) and bool(found) == bool(wrong)


def test_the_fuzzer_counts_recall_of_approximate_answers():
    rows = [*EXACT[:2], ("", 5, "NULL")]
    compared = answers.compare(answers.Answer(rows), answers.Answer(EXACT), DISTANCES, Query(0, "", "", ""), exactly=False)
    assert compared == ("", pytest.approx(2 / 3))
