"""Which folder of `src/` and `cpp/` may use which, and that the sources keep to it. `make lint` runs it; Python's library is enough.

An edge is a `crate::<folder>` in Rust, or an `#include "<folder>/…"` in C++; tests inside a folder may use anything.
"""

import pathlib
import re
import sys

#: Folder or file of `src/`, and those that it may use: always those of lower lines.
RUST = {
    "lib": {"bridge"},
    "bridge": {"search", "index", "graph", "memory", "options", "host", "error", "digest"},
    "search": {"index", "graph", "vectors", "memory", "options", "host", "error", "bits"},
    "index": {"format", "graph", "vectors", "memory", "options", "host", "error", "bits", "random", "sync"},
    "graph": {"vectors", "memory", "options", "error", "bits", "sync"},
    "format": {"options", "error"},
    "vectors": {"memory", "options", "error", "random"},
    "memory": {"host", "error", "sync"},
    "testing": {"options", "random"},
    "options": {"error"},
    "host": {"error"},
    "bits": set(),
    "digest": set(),
    "random": set(),
    "sync": set(),
    "error": set(),
}

#: The same for `cpp/`; `bridge` is the header that cxx makes of `src/bridge/mod.rs`, and includes `host`.
CPP = {
    "extension": {"functions", "optimizer", "index", "host"},
    "optimizer": {"execution", "index", "host", "bridge"},
    "functions": {"optimizer", "execution", "index", "host", "bridge"},
    "execution": {"index", "host", "bridge"},
    "index": {"host", "bridge"},
    "host": {"bridge"},
    "graph": set(),
}

#: Words that only some may say.
WORDS = {
    "duckdb": r"src/(bridge/.*|lib\.rs)|cpp/.*",
    "usearch": r"src/(graph/.*|lib\.rs)|cpp/graph/.*",
}


def room(path):
    """The folder that a file is in, or the file itself."""
    parts = path.parts[1:]
    return parts[0] if len(parts) > 1 else path.stem


def code(path):
    """The lines of a file that are no comments, with their numbers, up to the tests of a Rust module."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if path.suffix == ".rs" and line.startswith("mod tests {"):
            return
        if not line.lstrip().startswith("//"):
            yield number, line


def edges(path):
    """The folders that a file uses, with the numbers of the lines."""
    for number, line in code(path):
        if path.suffix == ".rs":
            for used in re.findall(r"\bcrate::(\w+)", line):
                yield number, used
            for names in re.findall(r"\bcrate::\{([^}]*)\}", line):
                for used in re.findall(r"(?:^|,)\s*(\w+)", names):
                    yield number, used
        else:
            for used in re.findall(r'#include "(?:vss/src/)?(\w+)/(?!src)', line):
                yield number, used


def circle(allowed):
    """A folder that reaches itself, if there is one."""
    left = dict(allowed)
    while left:
        free = [folder for folder, uses in left.items() if not uses & left.keys()]
        if not free:
            return sorted(left)
        for folder in free:
            del left[folder]
    return []


def is_test(path):
    return "tests" in path.parts or path.stem == "tests"


def broken(root):
    """What does not keep to the tables, a line each."""
    for name, allowed in [("src", RUST), ("cpp", CPP)]:
        if circle(allowed):
            yield f"the table of {name}/ has a circle: {', '.join(circle(allowed))}"
        for path in sorted((root / name).rglob("*")):
            if path.suffix not in (".rs", ".cpp", ".hpp"):
                continue
            here = path.relative_to(root)
            if room(here) not in allowed:
                yield f"{here}: {room(here)} is not in the table of {name}/"
                continue
            if not is_test(here):
                for number, used in edges(path):
                    if used not in ("duckdb", "rust") and used != room(here) and used not in allowed[room(here)]:
                        yield f"{here}:{number}: {room(here)} may not use {used}"
            for word, places in WORDS.items():
                if not re.fullmatch(places, str(here)):
                    for number, line in code(path):
                        if re.search(word, line, re.IGNORECASE):
                            yield f"{here}:{number}: only {places} may name {word}"


if __name__ == "__main__":
    found = list(broken(pathlib.Path(__file__).parents[1]))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
