"""The page of the web client and its files, without a browser."""

import gzip
import re

import pytest

from app.web.routes import FILES, HERE, VERSION

MAX_FIRST_LOAD = 80_000  # bytes, compressed, with the page and the fonts


def test_the_page_allows_only_files_of_this_service(app):
    response = app.test_client().get("/")
    policy = response.headers["Content-Security-Policy"]

    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert re.findall(r"https?:|//|<style|style=|<script>|\son\w+=", response.text) == []


def test_the_page_names_files_that_are_served(app):
    client = app.test_client()

    named = re.findall(r'(?:src|href)="([^"]*)"', client.get("/").text)

    assert len(named) > 20
    assert {path: client.get(path).status_code for path in named} == dict.fromkeys(named, 200)


def test_behind_a_prefix_the_page_names_files_there(app):
    page = app.test_client().get("/", environ_overrides={"SCRIPT_NAME": '/a"b'})

    assert f'src="/a&#34;b/web/{VERSION}/client/main.js"' in page.text


def test_a_page_that_is_known_is_not_sent_again(app):
    client = app.test_client()
    first = client.get("/")

    again = client.get("/", headers={"If-None-Match": first.headers["ETag"]})

    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("client/main.js", "text/javascript"),
        ("vendor/preact.mjs", "text/javascript"),
        ("client/style.css", "text/css"),
        ("client/icon.svg", "image/svg+xml"),
        ("vendor/madefor-latin.woff2", "font/woff2"),
        ("vendor/htm.LICENSE", "text/plain"),
    ],
)
def test_a_file_has_its_type_and_may_be_kept(app, name, mimetype):
    response = app.test_client().get(f"/web/{VERSION}/{name}")

    assert (response.status_code, response.mimetype) == (200, mimetype)
    assert {"public", "immutable", "max-age=31536000"} <= set(response.headers["Cache-Control"].split(", "))
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_of_another_version_gets_this_one_and_keeps_it_not(app):
    response = app.test_client().get("/web/0/client/main.js")

    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("accepted", ["gzip", "gzip;q=0", "identity"])
def test_a_file_is_compressed_for_those_that_take_it(app, accepted):
    response = app.test_client().get(f"/web/{VERSION}/client/main.js", headers={"Accept-Encoding": accepted})
    is_compressed = response.headers.get("Content-Encoding") == "gzip"

    assert is_compressed == (accepted == "gzip")
    assert response.headers["Vary"] == "Accept-Encoding"
    assert (gzip.decompress(response.data) if is_compressed else response.data) == FILES["client/main.js"]


@pytest.mark.parametrize("path", ["/web/0/client/routes.py", "/web/0/../routes.py", "/web/0/client/%2e%2e%2froutes.py"])
def test_nothing_else_is_served(app, path):
    response = app.test_client().get(path)

    assert (response.status_code, response.json["code"]) == (404, 1005)


def test_switched_off_the_root_leads_to_the_documentation(make_app):
    client = make_app(web_client="off").test_client()

    page = client.get("/", environ_overrides={"SCRIPT_NAME": "/lenta"})

    assert (page.status_code, page.headers["Location"]) == (302, "/lenta/docs")
    assert client.get(f"/web/{VERSION}/client/main.js").status_code == 404


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_first_load_is_small(app, language):
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT_ENCODING"] = "gzip"
    page = client.get("/")
    named = set(re.findall(r'(?:src|href)="([^"]*)"', gzip.decompress(page.data).decode()))
    named.add(f"/web/{VERSION}/words/{language}.js")
    if language == "ru":
        named.add(f"/web/{VERSION}/vendor/madefor-cyrillic.woff2")

    size = len(page.data) + sum(len(client.get(path).data) for path in named)

    assert 40_000 < size <= MAX_FIRST_LOAD


def words_of(language):
    """The keys of a language, and whether each has forms by number."""
    text = (HERE / "words" / f"{language}.js").read_text()
    return {key: value == "{" for key, value in re.findall(r"^    (\w+): ([{\"])", text, re.MULTILINE)}


def test_both_languages_have_the_same_words():
    assert words_of("en") == words_of("ru")
    assert len(words_of("en")) > 120


def test_every_word_of_a_screen_is_there():
    sources = [path.read_text() for folder in ("client", "screens") for path in (HERE / folder).glob("*.js")]
    used = {key for text in sources for key in re.findall(r'\bt\("(\w+)"', text)}

    assert len(used) > 80
    assert used - words_of("en").keys() == set()


def test_the_client_loads_nothing_from_elsewhere_and_makes_no_markup_of_text():
    for name in FILES:
        if name.startswith(("client/", "screens/", "words/")) and not name.endswith(".svg"):
            text = (HERE / name).read_text()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
            assert "://" not in re.sub(r"https\?:\\/\\/", "", text), name
