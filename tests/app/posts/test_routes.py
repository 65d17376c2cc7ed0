"""Create, edit, delete and get posts: as a client sees them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

NOT_IDS = ["abc", "1.5", "-1", "1e3", "%00", "٣", "9223372036854775808", "1" * 20]
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


def test_editing_an_unknown_post_is_404(author):
    answer = update(author, "1")

    assert answer.status_code == 404
    assert answer.json["code"] == 1005


@pytest.mark.parametrize("post_id", ["abc", "", "-1", "1.5", "9223372036854775808", 1, None])
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


@pytest.mark.parametrize("post_id", ["0", "1", "9223372036854775807"])
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
