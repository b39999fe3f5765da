"""Random vectors, as SQL text, one by one and as expressions over a row number."""

#: Those of "signs" are all of one length.
STYLES = ["grid", "grid", "few", "uniform", "uniform", "clusters", "mixed", "signs"]
ODD = [
    "'nan'::FLOAT",
    "'inf'::FLOAT",
    "'-inf'::FLOAT",
    "3e38",
    "-3e38",
    "1e30",
    "1e-40",
    "0",
]


class Vectors:
    """Vectors of one table: `style` decides how they lie, `nulls` and `odd` how many are none or extreme (0 to 1)."""

    def __init__(self, rng, dimensions, nulls, odd):
        self.rng = rng
        self.dimensions = dimensions
        self.style = rng.choice(STYLES)
        self.nulls = nulls
        self.odd = odd
        self.salt = rng.randrange(1000)
        self.few = [self.of_style("uniform") for _ in range(rng.randrange(1, 6))]

    def vector(self):
        """The elements as SQL text, or None for no vector."""
        if self.rng.random() < self.nulls:
            return None
        if self.rng.random() < self.odd:
            return self.odd_vector()
        return self.of_style(self.style)

    def query(self):
        """The elements of a query vector; never None, rarely odd."""
        if self.rng.random() < self.odd / 3:
            return self.odd_vector()
        return self.of_style(self.rng.choice([self.style, "grid", "uniform", "few"]))

    def odd_vector(self):
        if self.rng.random() < 0.3:
            return ["0"] * self.dimensions
        vector = self.of_style("grid")
        for _ in range(self.rng.choice([1, 1, self.dimensions])):
            vector[self.rng.randrange(self.dimensions)] = self.rng.choice(ODD)
        return vector

    def of_style(self, style):
        rng = self.rng
        if style == "few":
            return list(rng.choice(self.few))
        if style == "clusters":
            centre = rng.randrange(4) - 1.5
            return [f"{centre + rng.gauss(0, 0.01):.6g}" for _ in range(self.dimensions)]
        if style == "mixed":
            scale = rng.choice([1e-12, 1e-3, 1, 1e3, 1e12])
            return [f"{rng.uniform(-1, 1) * scale:.6g}" for _ in range(self.dimensions)]
        if style == "signs":
            return [str(rng.choice([-1, 1])) for _ in range(self.dimensions)]
        if style == "grid":
            return [str(rng.randrange(-2, 3)) for _ in range(self.dimensions)]
        return [f"{rng.uniform(-3, 3):.5g}" for _ in range(self.dimensions)]

    def element(self, row, position):
        """SQL of the element at `position` (SQL, from 0) of the vector of the row with number `row` (SQL)."""
        mixed = f"hash({row} * 64 + {position} + {self.salt})"
        if self.style == "grid":
            return f"({mixed} % 5)::INTEGER - 2"
        if self.style == "signs":
            return f"({mixed} % 2)::INTEGER * 2 - 1"
        if self.style == "few":
            return f"({row}) % 3 + {position}"
        if self.style == "clusters":
            return f"({row}) % 4 - 1.5 + ({mixed} % 1000)::INTEGER / 1e5"
        if self.style == "mixed":
            return f"sin({row} + {position}) * pow(10, ({row}) % 8 - 4)"
        return f"({mixed} % 60001)::INTEGER / 10000.0 - 3"


def literal(vector):
    """A bare list literal."""
    return "NULL" if vector is None else f"[{', '.join(vector)}]"
