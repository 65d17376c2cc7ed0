"""The Markdown files: links resolve, files and functions that they name exist, and tables are complete."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from app import errors
from app.db.engine import db
from workers.cli import commands

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.md")
    if not {".venv", ".git", ".hypothesis", ".pytest_cache"} & set(path.relative_to(ROOT).parts)
    and not path.relative_to(ROOT).parts[0].startswith(".data")
)
ARCHITECTURE = "docs/architecture.md"
each_page = pytest.mark.parametrize("page", PAGES)


@cache
def text_of(page):
    return (ROOT / page).read_text()


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    without_blocks = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.+?) *$", without_blocks, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", target):
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        known = anchors(str(file.resolve().relative_to(ROOT))) if file.suffix == ".md" and file.is_file() else set()
        if not file.exists() or (anchor and anchor not in known):
            broken.append(target)
    assert broken == []


# --- docs/architecture.md, CONTRIBUTING.md ----------------------------------------------------------------

CODE = re.compile(r"`((?:app|workers|local|migrations|benchmarks|deploy|tests)/[\w./-]*)(?::([\w.]+))?`")


@cache
def names_in(file):
    """Everything that a Python file defines, also in classes: `commit`, `Lease.estimated_oldest_id`."""
    found = set()

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                found.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    visit(ast.parse((ROOT / file).read_text()), "")
    return found


NAMED = "".join(text_of(page) for page in PAGES if page != "CHANGELOG.md")


@pytest.mark.parametrize(("file", "name"), sorted(set(CODE.findall(NAMED))))
def test_a_file_or_function_that_is_named_exists(file, name):
    assert (ROOT / file).exists()
    assert not name or name in names_in(file)


IN_EVERY_SUBJECT = {"routes", "service", "store", "schemas", "models"}  # of users, posts and the feed, says "Rooms"


def test_each_module_is_named_in_rooms():
    rooms = text_of(ARCHITECTURE).partition("## Rooms")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `((?:app|workers)/[\w/]*)` \| (.*) \|$", rooms, re.MULTILINE))

    def is_named(module):
        folder, name = f"{module.parent}/", module.name
        is_of_a_subject = folder in {"app/users/", "app/posts/", "app/feed/"} and module.stem in IN_EVERY_SUBJECT
        return is_of_a_subject or f"`{module}`" in rooms or f"`{name}`" in rows.get(folder, "")

    modules = [path.relative_to(ROOT) for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 50
    assert [str(module) for module in modules if module.name != "__init__.py" and not is_named(module)] == []


def test_each_script_and_no_other_has_a_row():
    rows = re.findall(r"^\| `(\w+\.lua)` \| ", text_of(ARCHITECTURE), re.MULTILINE)

    assert sorted(rows) == sorted(path.name for path in (ROOT / "app/feed/lua").glob("*.lua"))


def test_each_key_in_redis_is_spelled_by_the_owner_that_is_named():
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| .*\| `(app/[\w/]+\.py)` \|$", text_of(ARCHITECTURE), re.MULTILINE)

    assert len(rows) > 10
    assert [key for key, owner in rows if re.split(r"[<{…]", key)[0] not in text_of(owner)] == []


def test_each_table_has_a_row_with_its_columns(app):
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?:\w+(?: \([^)]*\))?(?:, )?)+) \| ", text_of(ARCHITECTURE), re.MULTILINE))
    documented = {name: re.sub(r" \([^)]*\)", "", columns).split(", ") for name, columns in rows.items()}
    tables = {
        name: [column.name for column in table.columns]
        for metadata in db.metadatas.values()
        for name, table in metadata.tables.items()
    }

    assert {name: sorted(documented.get(name, [])) for name in tables} == {
        name: sorted(columns) for name, columns in tables.items()
    }


def test_each_actor_is_in_the_row_of_its_queue():
    source = text_of("workers/actors.py")
    actors = re.findall(
        r"^@dramatiq\.actor\(\s*queue_name=queue\(\"(\w+)\"\).*?^def (\w+)", source, re.MULTILINE | re.DOTALL
    )
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \| ", text_of(ARCHITECTURE), re.MULTILINE)

    assert {(queue, actor) for queue, cell in rows for actor in re.findall(r"\w+", cell)} == set(actors)


# --- docs/commands.md, docs/api.md -------------------------------------------------------------------------


def test_each_command_and_no_other_is_documented(app):
    commands.init_app(app)
    of_flask = {"db", "routes", "run", "shell"}
    rows = re.findall(r"^\| `([a-z-]+)[^`]*` (?:· |\|)", text_of("docs/commands.md"), re.MULTILINE)
    there = {name for name, command in app.cli.commands.items() if not command.hidden}

    assert set(rows) - {"db", "gunicorn", "dramatiq", "make"} == there - of_flask


def test_each_route_is_documented(app):
    documented = re.findall(r"`([A-Z]+) (/[^`]*)`", text_of("docs/api.md"))
    routes = {
        (method, re.sub(r"<\w+>", "{}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule not in ("/docs/<name>", "/web/<version>/<folder>/<name>")
    }

    assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in documented} == routes


def test_each_error_is_documented():
    rows = re.findall(r"^\| (\d{3}) \| (\d{4}) \|", text_of("docs/api.md"), re.MULTILINE)

    def subclasses(error):
        return {error} | {each for child in error.__subclasses__() for each in subclasses(child)}

    assert {(int(status), int(code)) for status, code in rows} == {
        (error.status, error.code) for error in subclasses(errors.LentaError)
    }
