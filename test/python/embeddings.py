"""Vectors as a model of sentences makes them: of unequal categories, close to surfaces of few dimensions, of unequal norms.

Always the same ones, whatever the machine: drawn with a fixed seed.
"""

import numpy
import pandas

DIMENSIONS = 128
ROWS = 30_000
#: Dimensions of the surface that a category lies on.
RANK = 16
#: Rows by category, in thousandths; the rest is shared by 40 others.
SHARES = {"rare": 1, "common": 60, "largest": 240}
OTHERS = 40


def _draw(count, rng, centres, axes, weights):
    category = rng.choice(len(weights), size=count, p=weights)
    vectors = centres[category] + 0.15 * rng.standard_normal((count, DIMENSIONS))
    for number in range(len(weights)):
        members = category == number
        vectors[members] += rng.standard_normal((members.sum(), RANK)) @ axes[number]
    vectors *= rng.uniform(0.8, 1.2, (count, 1)) / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return category, vectors.astype("<f4")


def load(con, queries):
    """Makes the tables `words` (id, category, v) and `queries` (q), which are drawn alike."""
    rng = numpy.random.default_rng(20)
    names = [*SHARES, *(f"other {number}" for number in range(OTHERS))]
    rest = 1 - sum(SHARES.values()) / 1000
    weights = numpy.array([share / 1000 for share in SHARES.values()] + [rest / OTHERS] * OTHERS)
    centres = rng.standard_normal((len(names), DIMENSIONS))
    axes = rng.standard_normal((len(names), RANK, DIMENSIONS)) / numpy.sqrt(RANK)
    category, vectors = _draw(ROWS, rng, centres, axes, weights)
    words = pandas.DataFrame({"id": range(ROWS), "category": [names[c] for c in category], "v": [v.tobytes() for v in vectors]})
    _, vectors = _draw(queries, rng, centres, axes, weights)
    asked = pandas.DataFrame({"q": [v.tobytes() for v in vectors]})
    con.register("given_words", words)
    con.register("given_queries", asked)
    con.execute(f"CREATE TABLE words AS SELECT id, category, v::BLOB::FLOAT[{DIMENSIONS}] AS v FROM given_words")
    con.execute(f"CREATE TABLE queries AS SELECT q::BLOB::FLOAT[{DIMENSIONS}] AS q FROM given_queries")
    con.unregister("given_words")
    con.unregister("given_queries")
