"""The statements of a page of the documentation, and the answers that it gives them."""

import pathlib
import re

import duckdb

ROOT = pathlib.Path(__file__).resolve().parents[2]
ERROR = re.compile(r"[A-Z][A-Za-z ]* Error: ")


def read(page):
    return (ROOT / page).read_text()


def blocks(page, language="sql"):
    """The blocks of a language, in order: the words after its name, and the text."""
    return re.findall(rf"^```{language} *(.*?)\n(.*?)^```$", read(page), re.DOTALL | re.MULTILINE)


def statements(block):
    """Pairs of a statement and the lines of the comment that follows it."""
    pairs, lines, answer = [], [], []

    def end():
        if lines:
            pairs.append(("\n".join(lines).strip().rstrip(";"), answer[:]))
        lines.clear()
        answer.clear()

    for line in block.splitlines():
        if line.startswith("-- "):
            answer.append(line.removeprefix("-- "))
            continue
        if answer or (lines and lines[-1].rstrip().endswith(";")):
            end()
        lines.append(line)
    end()
    return pairs


def pattern(expected):
    """What an answer must match as a whole: itself, with anything for each `…`."""
    return re.compile(".*".join(re.escape(part) for part in expected.split("…")), re.DOTALL)


def shown(value):
    return "NULL" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def check(con, sql, answer):
    """Runs a statement, whose answer is the one that the page gives, if it gives one."""
    if answer and ERROR.match(answer[0]):
        try:
            con.execute(sql).fetchall()
        except duckdb.Error as error:
            expected = " ".join(answer)
            # the first line: more of them are candidates and hints
            assert pattern(expected).fullmatch(str(error).split("\n")[0]), f"{sql}\nexpected: {expected}\nseen: {error}"
            return
        raise AssertionError(f"does not fail: {sql}\nexpected: {answer}")
    rows = ["  ".join(map(shown, row)) for row in con.execute(sql).fetchall()]
    if answer:
        assert len(rows) == len(answer), f"{sql}\nexpected: {answer}\nseen: {rows}"
        assert all(pattern(line).fullmatch(row) for line, row in zip(answer, rows)), f"{sql}\nexpected: {answer}\nseen: {rows}"


def section(page, title):
    """The text under a heading, up to the next one."""
    headings = list(re.finditer(r"^#+ (.*)$", re.sub(r"^```.*?^```$", lambda m: " " * len(m[0]), read(page), flags=re.M | re.S), re.M))
    (at,) = [n for n, heading in enumerate(headings) if heading[1] == title]
    end = headings[at + 1].start() if at + 1 < len(headings) else None
    return read(page)[headings[at].end() : end]


def headings(page):
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def table(text, *columns):
    """The rows of the table whose head begins with these columns, as lists of cells."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")]
    (start,) = [n for n, row in enumerate(rows) if row[: len(columns)] == list(columns)]
    result = []
    for row in rows[start + 2 :]:
        if row and row[0].startswith("---"):
            result.pop()  # the head of the next table
            break
        result.append(row)
    return result
