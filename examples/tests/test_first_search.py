"""The first search, as `make example` runs it, and the model that embeds a person's own words."""

import re
import subprocess
import sys

import first_search
import model
import numpy as np
import pytest

FOUND = re.compile(r"^   (\d\.\d{3})  (.+?): ", re.MULTILINE)


@pytest.fixture(scope="module")
def own(model_folder):
    return model.Model(model_folder)


@pytest.fixture
def run(extension, model_folder):
    """What the script prints for some words."""

    def run(*words):
        command = [sys.executable, first_search.__file__, extension, model_folder, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run


def answers(printed):
    """By text: the distances and the words that were found."""
    _, *parts = printed.split("\n» ")
    return {part.split("   (")[0]: FOUND.findall(part) for part in parts}


def test_without_words(run):
    printed = run("")
    found = answers(printed)
    assert [len(rows) for rows in found.values()] == [3, 3, 3, 5]
    for rows in found.values():
        assert [float(distance) for distance, _ in rows] == sorted(float(distance) for distance, _ in rows)
    assert "small boat" in [words for _, words in found[first_search.WORDS]]
    assert len(re.findall(r"index built in \d+\.\d s\.", printed)) == 2
    assert printed.endswith(f'make example QUERY="{first_search.AGAIN}"\n')


@pytest.mark.parametrize("words", [["to feel sad after a loss"], ["to", "feel", "sad", "after", "a", "loss"], ["  to feel sad after a loss "]])
def test_own_words(run, words):
    found = answers(run(*words))
    assert list(found) == ["to feel sad after a loss"]
    assert found["to feel sad after a loss"][0][1] == "sadden"


@pytest.mark.parametrize("words", ["'; DROP TABLE words; --", '"$HOME" `ls` %s {}', "\N{SNOWMAN}", "x" * 10_000], ids=str.split)
def test_any_words_are_words(run, words):
    assert [len(rows) for rows in answers(run(words)).values()] == [5]


def test_served_from_the_index(extension, own):
    con = first_search.load(str(extension))
    first_search.add_own_embeddings(con, own)
    first_search.index(con, "own_embedding")
    sql = first_search.SEARCH.format(column="own_embedding", dimensions=model.DIMENSIONS, count=5)
    sql = sql.replace("$query", f"{own.embed(['a boat'])[0].tolist()}")
    assert con.execute("SELECT index_name, used FROM hnsw_explain($1)", [sql]).fetchall() == [("by_own_embedding", True)]
    # each row has the embedding of its own text
    text, vector = con.execute("SELECT array_to_string(words, ', ') || ': ' || definition, own_embedding FROM words WHERE id = 300").fetchone()
    assert np.array_equal(own.embed([text])[0], np.array(vector, np.float32))
    con.close()


def test_a_text_is_the_mean_of_its_tokens(own):
    boat, house, both = own.embed(["boat", "house", "boat house"])
    assert np.allclose(both, (boat + house) / 2, atol=1e-6)
    assert own.embed([]).shape == (0, model.DIMENSIONS)


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_words(own, text):
    with pytest.raises(ValueError, match="without words"):
        own.embed(["boat", text])
