"""Prose is plain: banned words, and the first sentences of docstrings, in code, comments, messages and Markdown."""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = ("app", "workers", "local", "benchmarks", "migrations", "tests")
OTHER = (
    *("app/**/*.lua", "deploy/**/*", "docker-compose.yml", "Dockerfile", "Makefile", ".env.example", ".ci/run"),
    *("app/docs/openapi.yaml", "app/docs/asyncapi.yaml", "postman_collection.json"),
)
NOT_COUNTED = {"CHANGELOG.md", "README.ru.md"}  # by BEGINNING and VAGUE

MAX_FIRST_SENTENCE = 15  # words
BANNED = re.compile(
    r"(?<!chown=)\b(?:whom|whoever|somebody|nobody|anybody|anew|meanwhile|whatever)\b"
    r"|\bof\s(?:its|their|our|your|one's)\sown\b",
    re.IGNORECASE,
)
BEGINNING = re.compile(r"(?:^|[.!?:] |^[-*] |\| )(?:Who|What|Of|Those) ", re.MULTILINE)  # of a sentence or a cell
VAGUE = re.compile(r"\b(who|what|whose|whoever|everybody|someone)\b", re.IGNORECASE)
RELATIVE_START = re.compile(r"(?:^|[.!?]\s)(?:Who|What|Whose|Those)\b(?=[^.?]*(?:\.|$))")
DOCSTRING_START = re.compile(r"(?:Who|What|Whose|Of|Those|When)\b")


@cache
def prose_of_python(path: Path) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return the docstrings of a module, and its messages and comments, with their lines."""
    source = path.read_text()
    docstrings, others = [], []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            docstrings.append((node.body[0].lineno, text))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            others.append((node.lineno, node.value))
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    others += [(token.start[0], token.string.lstrip("# ")) for token in tokens if token.type == tokenize.COMMENT]
    return docstrings, others


def python_files() -> Iterator[Path]:
    for folder in PYTHON:
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield from (ROOT / "wsgi.py", ROOT / "gunicorn.conf.py")


def other_files() -> Iterator[Path]:
    for pattern in OTHER:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file() and path.suffix != ".md")


def markdown_files() -> Iterator[Path]:
    yield from sorted(ROOT.glob("*.md"))
    for folder in ("app", "docs", "deploy", "tests"):
        yield from sorted((ROOT / folder).rglob("*.md"))


def prose() -> Iterator[tuple[str, int, str]]:
    """Yield all prose as (path, line, text)."""
    for path in python_files():
        for text in prose_of_python(path)[1]:
            yield relative(path), *text
    for path in (*other_files(), *markdown_files()):
        yield from ((relative(path), *line) for line in enumerate(path.read_text().splitlines(), 1))


def pages() -> Iterator[tuple[str, str]]:
    """Yield the Markdown files and the documents of the API as (path, text without code)."""
    for path in (*markdown_files(), ROOT / "app/docs/openapi.yaml", ROOT / "app/docs/asyncapi.yaml"):
        if relative(path) not in NOT_COUNTED:
            text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
            yield relative(path), re.sub(r"`[^`\n]*`", "", text)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_prose_has_a_banned_word():
    assert findings(BANNED) == []


def test_no_sentence_begins_with_a_relative_pronoun():
    assert findings(RELATIVE_START) == []


def test_no_sentence_of_a_page_begins_with_a_vague_word():
    assert {path: found for path, text in pages() if (found := BEGINNING.findall(text))} == {}


def test_of_a_thousand_words_two_at_most_are_vague():
    text = " ".join(text for _, text in pages())

    assert len(VAGUE.findall(text)) <= 2 * len(text.split()) / 1000


def test_first_sentences_of_docstrings_are_short_and_begin_well():
    found = []
    for path in python_files():
        for line, text in prose_of_python(path)[0]:
            sentence = re.split(r"(?<=[.!?:])\s", text.partition("\n\n")[0].replace("\n", " "))[0]
            if len(sentence.split()) > MAX_FIRST_SENTENCE or DOCSTRING_START.match(sentence):
                found.append(f"{relative(path)}:{line}: {sentence}")

    assert found == []


def findings(pattern: re.Pattern[str]) -> list[str]:
    """Search all prose for a pattern. Returns file:line: match."""
    return [
        f"{path}:{line + text[: match.start()].count(chr(10))}: {match[0]}"
        for path, line, text in prose()
        for match in pattern.finditer(text)
    ]
