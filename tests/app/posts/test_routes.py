"""Create, edit, delete and get posts: as a client sees them."""

import json
from datetime import UTC, datetime, timedelta
from unicodedata import normalize

import pytest
from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.engine import POSTS, commit, execute
from tests.tools.links import pages
from tests.tools.plans import explained, rows_read

NOT_IDS = ["abc", "1.5", "-1", "1e3", "%00", "٣", "1" * 20]
BEYOND_64_BITS = ["9223372036854775808", "9" * 19]
TEXTS_REFUSED = {
    "empty": "",
    "only spaces": " \t\n ",
    "10,001 characters": "x" * 10_001,
    "NUL": "a\0b",
    "half a surrogate pair": "a\ud800b",
    "null": None,
    "a number": 5,
    "a list": ["text"],
}


@pytest.fixture
def ann(world):
    return world.person()


@pytest.fixture
def author(ann, client_of):
    """A client with the token of `ann`."""
    return client_of(ann)


@pytest.fixture
def stranger(world, client_of):
    return client_of(world.person())


def send(client, method, path, **body):
    # json.dumps keeps half a surrogate pair as the escape \ud800, as a client could send it.
    return client.open(path, method=method, data=json.dumps(body), content_type="application/json")


def create(client, text="hello"):
    return send(client, "POST", "/post/create", text=text)


def update(client, post_id, text="edited"):
    return send(client, "PUT", "/post/update", id=post_id, text=text)


def text_of(client, post_id):
    return client.get(f"/post/get/{post_id}").json["text"]


# --- create and get ----------------------------------------------------------------------------------------


def test_creating_a_post_answers_its_id_as_a_json_string_of_19_digits(author):
    answer = create(author)

    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert isinstance(answer.json, str)
    assert len(answer.json) == 19
    assert answer.json.isdigit()


def test_a_text_is_kept_in_one_normal_form(author):
    text = "Ångström é 가"

    post_id = create(author, normalize("NFD", text)).json
    created = text_of(author, post_id)
    update(author, post_id, normalize("NFD", text + "!"))

    assert [created, text_of(author, post_id)] == [text, text + "!"]


def test_a_post_is_shown_with_its_author_and_times(author, ann):
    post_id = create(author).json

    answer = author.get(f"/post/get/{post_id}")

    assert answer.status_code == 200
    assert list(answer.json) == ["id", "text", "author_user_id", "created_at", "updated_at"]
    assert answer.json["id"] == post_id
    assert answer.json["text"] == "hello"
    assert answer.json["author_user_id"] == str(ann)
    assert answer.json["updated_at"] == answer.json["created_at"]
    created_at = datetime.fromisoformat(answer.json["created_at"])
    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=1)


def test_anybody_who_is_logged_in_may_read_a_post(author, stranger):
    post_id = create(author).json

    answer = stranger.get(f"/post/get/{post_id}")

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("x", "x"),
        (" \n hello  world \t", "hello  world"),
        ("x" * 10_000, "x" * 10_000),
        (" " * 100 + "x" * 9_899 + "\n", "x" * 9_899),
        ("🙂" * 10_000, "🙂" * 10_000),
        ("<b>'; DROP TABLE posts; --</b> %s :text", "<b>'; DROP TABLE posts; --</b> %s :text"),
        ("first\r\n\tsecond", "first\r\n\tsecond"),
        ("\u2003\x85\x1d\x1f\u3000", "\x1d\x1f"),  # Python calls the last two white space, Unicode does not
    ],
    ids=["one", "trimmed", "10,000", "10,000 before it is trimmed", "10,000 escaped", "markup", "lines", "controls"],
)
def test_a_text_of_1_to_10000_characters_is_trimmed_and_kept(author, sent, kept):
    answer = create(author, sent)

    assert answer.status_code == 200
    assert text_of(author, answer.json) == kept


@pytest.mark.parametrize("text", TEXTS_REFUSED.values(), ids=TEXTS_REFUSED)
def test_a_text_that_cannot_be_kept_is_400_and_no_post(author, world, text):
    answer = create(author, text)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["text"]
    assert world.events() == []


def test_a_post_needs_a_text(author):
    answer = author.post("/post/create", json={})

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["text"]


def test_the_author_is_who_asks_whatever_the_body_says(author, stranger, ann):
    post_id = send(author, "POST", "/post/create", text="mine", author_id="1", author_user_id="1", id="1").json

    post = stranger.get(f"/post/get/{post_id}").json

    assert (post["id"], post["author_user_id"]) == (post_id, str(ann))


# --- update ------------------------------------------------------------------------------------------------


def test_the_author_edits_a_post(author):
    post_id = create(author).json
    before = author.get(f"/post/get/{post_id}").json

    answer = update(author, post_id, "  edited ")

    after = author.get(f"/post/get/{post_id}").json
    assert (answer.status_code, answer.json) == (200, {})
    assert after["text"] == "edited"
    assert after["created_at"] == before["created_at"]
    assert datetime.fromisoformat(after["updated_at"]) > datetime.fromisoformat(before["updated_at"])


def test_nobody_else_edits_a_post(author, stranger):
    post_id = create(author).json

    answer = update(stranger, post_id)

    assert answer.status_code == 403
    assert answer.json["code"] == 1004
    assert text_of(author, post_id) == "hello"


@pytest.mark.parametrize("post_id", ["1", *BEYOND_64_BITS])
def test_editing_an_unknown_post_is_404(author, post_id):
    answer = update(author, post_id)

    assert answer.status_code == 404
    assert answer.json["code"] == 1005


@pytest.mark.parametrize("post_id", ["abc", "", "-1", "1.5", "1" * 20, 1, None])
def test_editing_takes_the_id_as_a_string_of_digits(author, post_id):
    answer = update(author, post_id)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["id"]


@pytest.mark.parametrize("text", TEXTS_REFUSED.values(), ids=TEXTS_REFUSED)
def test_an_edit_that_cannot_be_kept_is_400_and_changes_nothing(author, text):
    post_id = create(author).json

    answer = update(author, post_id, text)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["text"]
    assert text_of(author, post_id) == "hello"


# --- delete ------------------------------------------------------------------------------------------------


def test_the_author_deletes_a_post(author):
    post_id = create(author).json

    answer = author.put(f"/post/delete/{post_id}")

    assert (answer.status_code, answer.json) == (200, {})
    assert author.get(f"/post/get/{post_id}").status_code == 404


def test_nobody_else_deletes_a_post(author, stranger):
    post_id = create(author).json

    answer = stranger.put(f"/post/delete/{post_id}")

    assert answer.status_code == 403
    assert answer.json["code"] == 1004
    assert text_of(author, post_id) == "hello"


def test_a_deleted_post_is_404_for_every_call(author):
    post_id = create(author).json
    author.put(f"/post/delete/{post_id}")

    answers = [author.get(f"/post/get/{post_id}"), update(author, post_id), author.put(f"/post/delete/{post_id}")]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(404, 1005)] * 3


# --- ids ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("post_id", ["0", "1", "9223372036854775807", *BEYOND_64_BITS])
@pytest.mark.parametrize(("method", "path"), [("GET", "/post/get"), ("PUT", "/post/delete")])
def test_an_id_that_names_no_post_is_404(author, method, path, post_id):
    answer = author.open(f"{path}/{post_id}", method=method)

    assert answer.status_code == 404
    assert answer.json["code"] == 1005


@pytest.mark.parametrize("post_id", NOT_IDS)
@pytest.mark.parametrize(("method", "path"), [("GET", "/post/get"), ("PUT", "/post/delete")])
def test_an_id_that_is_no_number_is_400(author, method, path, post_id):
    answer = author.open(f"{path}/{post_id}", method=method)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["post_id"]


# --- list --------------------------------------------------------------------------------------------------


def test_a_list_has_the_posts_of_one_author_as_get_has_them_newest_first(ann, author, stranger):
    first, second = create(author, "first").json, create(author, "second").json
    create(stranger)

    answer = stranger.get(f"/post/list/{ann}")

    assert answer.status_code == 200
    assert answer.json == [stranger.get(f"/post/get/{post_id}").json for post_id in (second, first)]


def test_the_pages_of_a_list_have_every_post_once_and_the_last_has_no_link(world, ann, author):
    posts = world.posts(ann, 6)[::-1]

    assert pages(author, f"/post/list/{ann}?limit=2") == [posts[:2], posts[2:4], posts[4:]]
    assert pages(author, f"/post/list/{ann}?limit=4") == [posts[:4], posts[4:]]
    assert pages(author, f"/post/list/{ann}?limit=7") == [posts]


def test_a_list_has_10_posts_unless_asked_for_more(world, ann, author):
    world.posts(ann, 11)

    assert [len(page) for page in pages(author, f"/post/list/{ann}")] == [10, 1]


def test_the_list_of_an_author_without_posts_is_empty(ann, author):
    assert pages(author, f"/post/list/{ann}") == [[]]


def test_a_page_of_a_list_is_not_moved_by_a_new_post_or_a_deleted_one(world, ann, author):
    posts = world.posts(ann, 4)[::-1]
    cursor = posts[1]
    create(author)
    author.put(f"/post/delete/{cursor}")

    assert pages(author, f"/post/list/{ann}?before={cursor}") == [posts[2:]]


@pytest.mark.parametrize("before", BEYOND_64_BITS)
def test_every_post_is_older_than_a_cursor_above_all_ids(world, ann, author, before):
    posts = world.posts(ann, 2)[::-1]

    assert pages(author, f"/post/list/{ann}?before={before}") == [posts]


def test_a_page_of_a_list_ends_at_its_bound_in_bytes(make_app, world, ann):
    app = make_app(feed_page_bytes=100_000)
    with app.app_context():
        client = app.test_client()
        headers = {"X-Auth": issue_token(ann)}
        posts = [world.post(ann, "ж" * 10_000) for _ in range(7)][::-1]
        answer = client.get(f"/post/list/{ann}?limit=100", headers=headers)
        rest = client.get(answer.headers["Link"][1:].partition(">")[0], headers=headers)

    assert [int(post["id"]) for post in answer.json + rest.json] == posts
    assert len(answer.json) == 6
    assert "Link" not in rest.headers


@pytest.mark.parametrize("user_id", ["1", *BEYOND_64_BITS])
def test_the_list_of_an_unknown_user_is_404(author, user_id):
    answer = author.get(f"/post/list/{user_id}")

    assert (answer.status_code, answer.json["code"]) == (404, 1005)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=-1", "limit=x", "before=x", "before="])
def test_a_list_names_the_parameter_that_it_cannot_use(ann, author, query):
    answer = author.get(f"/post/list/{ann}?{query}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [query.partition("=")[0]]


def test_any_page_of_a_list_reads_no_other_posts_though_the_author_wrote_most_and_others_the_newest(world, ann, author):
    insert = "INSERT INTO posts (author_id, text) SELECT {}, 'x' FROM generate_series(1, 20000) n"
    for author_id in (ann, "n % 1000"):
        execute(POSTS, text(insert.format(author_id)))
    execute(POSTS, text("ANALYZE posts"))
    middle = execute(POSTS, text(f"SELECT id FROM posts WHERE author_id = {ann} ORDER BY id OFFSET 10000")).scalar()
    commit()

    with explained() as plans:
        assert len(author.get(f"/post/list/{ann}").json) == 10
        assert len(author.get(f"/post/list/{ann}?before={middle}").json) == 10

    of_a_page = [{"pk_suspended_users": 0}, {"ix_posts_author_id_id": 11}]
    assert [rows_read(plan) for plan in plans] == of_a_page * 2
