"""The one error shape, for every kind of error, and stable codes."""

import json
from io import BytesIO

import pytest
from flask import abort
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.auth.tokens import issue_token, public
from app.db.engine import POSTS, USERS, db, execute
from app.errors import LentaError, NotFound
from app.factory import MAX_BODY_BYTES
from app.posts import service as posts

JSON = "application/json"
AWAY = "postgresql://nobody:hidden@127.0.0.1:1/nothing"  # nothing listens there

# A client may branch on a code: change nothing here, only add.
CODES = {
    "InternalError": (500, 1000),
    "InvalidInput": (400, 1001),
    "Unauthorized": (401, 1002),
    "WrongCredentials": (401, 1003),
    "Forbidden": (403, 1004),
    "Blocked": (403, 1017),
    "NotFound": (404, 1005),
    "MethodNotAllowed": (405, 1006),
    "RequestTimeout": (408, 1014),
    "PayloadTooLarge": (413, 1007),
    "UnsupportedMediaType": (415, 1008),
    "TooManyRequests": (429, 1009),
    "Unavailable": (503, 1010),
    "AddressTooLong": (414, 1012),
    "HeadersTooLarge": (431, 1013),
    "ExpectationFailed": (417, 1015),
    "TransferCodingUnsupported": (501, 1016),
    "UsernameTaken": (409, 1018),
    "UpgradeRequired": (426, 1019),
    "AccountSuspended": (403, 1020),
}


@pytest.fixture
def app(make_app):
    """The application, and public routes that fail in ways that no real one should."""
    app = make_app()

    def fail(error):
        raise error

    def query(statement):
        execute(POSTS, text(statement))

    def lose_connections():
        """Answer well, while PostgreSQL restarts behind us."""
        pids = [execute(bind, text("SELECT pg_backend_pid()")).scalar_one() for bind in (USERS, POSTS)]
        with db.engines[POSTS].connect() as other:
            for pid in pids:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return {}

    views = {
        "crash": lambda: fail(RuntimeError("the secret is 42")),
        "lookup": lambda: {}["the secret is 42"],
        "bad-sql": lambda: query("SELECT secret FROM nowhere"),
        "cut-off": lambda: query("SELECT pg_terminate_backend(pg_backend_pid())"),
        "lost-at-the-end": lose_connections,
        "pool-empty": lambda: fail(PoolTimeout("QueuePool limit of size 8 overflow 10 reached")),
        "too-many": lambda: abort(429),
        "teapot": lambda: abort(418),
        "gateway": lambda: abort(502),
        "http-500": lambda: abort(500),
        "our-own": lambda: fail(NotFound("Not this one.", errors={"name": ["why"]})),
    }
    for name, view in views.items():
        app.add_url_rule(f"/test/{name}", name, public(view))
    return app


@pytest.fixture
def client(app):
    """A client with a token."""
    client = app.test_client()
    with app.app_context():
        client.environ_base["HTTP_X_AUTH"] = issue_token(1)
    return client


def post(data, content_type=JSON, **options):
    return lambda client: client.post("/post/create", data=data, content_type=content_type, **options)


def get(path, **options):
    return lambda client: client.get(path, **options)


def streamed(data):
    """Send a body of unknown length, as with Transfer-Encoding: chunked."""
    environ = {"wsgi.input_terminated": True}
    return lambda client: client.post(
        "/post/create", input_stream=BytesIO(data), content_type=JSON, environ_overrides=environ
    )


TOO_LARGE = json.dumps({"text": "x" * MAX_BODY_BYTES}).encode()

WAYS = {
    "JSON cut short": (post('{"text": "a'), 400, 1001),
    "no body": (post(""), 400, 1001),
    "a body that is not UTF-8": (post(b'{"text": "\xff"}'), 400, 1001),
    "a body in UTF-16": (post('{"text": "a"}'.encode("utf-16")), 400, 1001),
    "a body in UTF-16 without a mark": (post('{"text": "a"}'.encode("utf-16-le")), 400, 1001),
    "a body that begins with a byte order mark": (post(b'\xef\xbb\xbf{"text": "a"}'), 400, 1001),
    "JSON that says NaN": (post('{"text": "a", "more": NaN}'), 400, 1001),
    "JSON with NUL in a text": (post(r'{"text": "a\u0000b"}'), 400, 1001),
    "JSON with an id of 20 digits": (
        lambda client: client.put("/post/update", json={"id": "1" * 20, "text": "a"}),
        400,
        1001,
    ),
    "JSON that ends and goes on": (post('{"text": "a"} {}'), 400, 1001),
    "JSON with a number of 5000 digits": (post('{"text": ' + "1" * 5000 + "}"), 400, 1001),
    "JSON that nests 100,000 deep": (post("[" * 100_000), 400, 1001),
    "JSON that is a list": (post('[{"text": "a"}]'), 400, 1001),
    "JSON that is a string": (post('"text"'), 400, 1001),
    "JSON that is a number": (post("1"), 400, 1001),
    "JSON that is null": (post("null"), 400, 1001),
    "a field that is missing": (post("{}"), 400, 1001),
    "a field that is not valid": (post('{"text": 1}'), 400, 1001),
    "a query parameter given twice": (get("/user/search?first_name=A&first_name=B&last_name=C"), 400, 1001),
    "a query parameter that is not valid": (get("/post/feed?limit=many"), 400, 1001),
    "a query that is not UTF-8": (get("/user/search?first_name=%ff&last_name=A"), 400, 1001),
    "a query whose bytes stand there bare": (
        get("/user/search", environ_overrides={"QUERY_STRING": "first_name=\xff&last_name=A"}),
        400,
        1001,
    ),
    "a query with the name of a parameter that is not UTF-8": (get("/post/feed?%ff=1"), 400, 1001),
    "a query with NUL": (get("/user/search?first_name=%00&last_name=A"), 400, 1001),
    "a query parameter that is empty": (get("/post/feed?limit="), 400, 1001),
    "a number below its range": (get("/post/feed?limit=0"), 400, 1001),
    "a number above its range": (get("/post/feed?limit=1001"), 400, 1001),
    "a number beyond 64 bits": (get(f"/post/feed?offset={2**64}"), 400, 1001),
    "a number of 5000 digits": (get("/post/feed?offset=" + "1" * 5000), 400, 1001),
    "a number with a sign": (get("/post/feed?limit=%2B5"), 400, 1001),
    "a number with a blank": (get("/post/feed?limit=%205"), 400, 1001),
    "a number with an underscore": (get("/post/feed?limit=1_0"), 400, 1001),
    "a number in other digits": (get("/post/feed?limit=%D9%A3"), 400, 1001),
    "a number with a fraction": (get("/post/feed?limit=5.0"), 400, 1001),
    "an id of 20 digits in the query": (get("/post/feed?before=" + "1" * 20), 400, 1001),
    "an id of 20 digits in the path": (get("/post/get/" + "1" * 20), 400, 1001),
    "an id beyond 64 bits": (get(f"/post/get/{2**63}"), 404, 1005),
    "a path that is not UTF-8": (get("/post/get/%ff"), 400, 1001),
    "a path with NUL": (get("/post/get/%00"), 400, 1001),
    "an address that leads nowhere and is not UTF-8": (get("/nowhere%ff%00"), 404, 1005),
    "a path parameter that is not valid": (get("/post/get/abc"), 400, 1001),
    "a host that cannot be": (get("/post/feed", headers={"Host": "x" * 80}), 400, 1001),
    "no token": (get("/post/feed", headers={"X-Auth": ""}), 401, 1002),
    "wrong credentials": (
        lambda client: client.post("/login", json={"id": "1", "password": "wrong horse"}),
        401,
        1003,
    ),
    "an address that leads nowhere": (get("/nowhere"), 404, 1005),
    "an address with a slash too many": (get("/post/feed/"), 404, 1005),
    "a thing that is not there": (get("/post/get/1"), 404, 1005),
    "a method that is not taken": (lambda client: client.delete("/post/feed"), 405, 1006),
    "a method that is not taken any more": (lambda client: client.open("/post/feed", method="TRACE"), 405, 1006),
    "an unknown method": (lambda client: client.open("/post/feed", method="BREW"), 405, 1006),
    "an unknown method at an unknown address": (lambda client: client.open("/no", method="BREW"), 404, 1005),
    "OPTIONS where nothing is": (lambda client: client.options("/nowhere"), 404, 1005),
    "a body that is too large": (post(TOO_LARGE), 413, 1007),
    "a body that is too large and streamed": (streamed(TOO_LARGE), 413, 1007),
    "a form": (post({"text": "a"}, content_type="application/x-www-form-urlencoded"), 415, 1008),
    "a body of no type": (post('{"text": "a"}', content_type=None), 415, 1008),
    "JSON called plain text": (post('{"text": "a"}', content_type="text/plain"), 415, 1008),
    "too many requests": (get("/test/too-many"), 429, 1009),
    "an HTTP error of the 400s without a specific code": (get("/test/teapot"), 400, 1001),
    "an HTTP error of the 500s without a specific code": (get("/test/gateway"), 500, 1000),
    "an HTTP error 500": (get("/test/http-500"), 500, 1000),
    "an error of ours": (get("/test/our-own"), 404, 1005),
    "an unexpected exception": (get("/test/crash"), 500, 1000),
    "a KeyError": (get("/test/lookup"), 500, 1000),
    "SQL that is wrong": (get("/test/bad-sql"), 500, 1000),
    "a database that hangs up": (get("/test/cut-off"), 503, 1010),
    "no connection left in the pool": (get("/test/pool-empty"), 503, 1010),
}


def assert_shape(answer, status, code):
    assert answer.status_code == status
    assert answer.mimetype == JSON
    assert set(answer.json) - {"errors"} == {"message", "code", "request_id"}
    assert answer.json["code"] == code
    assert isinstance(answer.json["message"], str)
    assert answer.json["message"]
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    for lines in answer.json.get("errors", {}).values():
        assert lines
        assert all(isinstance(line, str) for line in lines)


# --- the shape ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ask", "status", "code"), WAYS.values(), ids=WAYS)
def test_the_one_shape_answers(client, ask, status, code):
    answer = ask(client)

    assert_shape(answer, status, code)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/post/feed", 200), ("/post/get/1", 404), ("/post/get/abc", 400), ("/post/create", 405), ("/nowhere", 404)],
)
def test_head_is_answered_like_get_without_a_body(client, path, status):
    answer = client.head(path)

    assert answer.status_code == status
    assert answer.mimetype == JSON
    assert answer.data == b""
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize(("path", "methods"), [("/post/feed", {"GET", "HEAD"}), ("/post/create", {"POST"})])
def test_options_names_the_methods_that_are_taken(client, path, methods):
    answer = client.options(path)

    assert answer.status_code == 200
    assert answer.data == b""
    assert set(answer.headers["Allow"].split(", ")) == methods | {"OPTIONS"}


def test_the_one_shape_answers_who_touches_somebody_elses_post(app, client):
    with app.app_context():
        post_id = posts.publish(2, "not of the client's user, 1")

    answer = client.put(f"/post/delete/{post_id}")

    assert_shape(answer, 403, 1004)


@pytest.mark.parametrize("bind", ["users", "posts"])
def test_a_database_that_is_away_is_503_with_retry_after(make_app, bind):
    app = make_app(**{f"{bind}_database_url": AWAY})
    with app.app_context():
        headers = {"X-Auth": issue_token(1)}

    answer = app.test_client().get({"users": "/user/get/1", "posts": "/post/get/1"}[bind], headers=headers)

    assert_shape(answer, 503, 1010)
    assert int(answer.headers["Retry-After"]) > 0
    assert "hidden" not in answer.text


def test_only_503_says_when_to_retry(client):
    assert "Retry-After" in client.get("/test/cut-off").headers
    assert "Retry-After" not in client.get("/test/crash").headers


def test_after_a_connection_was_cut_the_next_request_is_served(client):
    client.get("/test/cut-off")

    answer = client.get("/post/get/1")

    assert answer.status_code == 404


def test_errors_at_400_are_listed_by_field(client):
    answer = client.get("/user/search?first_name=A&first_name=B&last_name=")

    assert answer.json["errors"] == {"first_name": ["Given more than once."]}


def test_405_names_the_methods_that_are_taken(client):
    answer = client.delete("/post/feed")

    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", ["crash", "lookup", "bad-sql", "cut-off", "pool-empty"])
def test_an_unexpected_error_shows_nothing_of_itself(client, path):
    answer = client.get(f"/test/{path}")

    for word in ("secret", "nowhere", "SELECT", "QueuePool", "Error", "Traceback", "psycopg"):
        assert word not in answer.text


def test_an_unexpected_error_is_logged_with_request_id_and_traceback(client, caplog):
    answer = client.get("/test/crash", headers={"X-Request-ID": "find-me"})

    assert answer.json["request_id"] == "find-me"
    assert "find-me" in caplog.text
    assert "the secret is 42" in caplog.text
    assert "Traceback" in caplog.text


def test_a_refused_request_is_no_error_in_the_log(client, caplog):
    client.get("/post/get/abc")
    client.get("/nowhere")

    assert caplog.records == []


# --- the request id ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "0f8b-4c.d:e_F", "x" * 64])
def test_a_sane_request_id_is_kept(client, given):
    found = client.get("/health/live", headers={"X-Request-ID": given})
    lost = client.get("/nowhere", headers={"X-Request-ID": given})

    assert found.headers["X-Request-ID"] == lost.headers["X-Request-ID"] == lost.json["request_id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "two words", "a<script>", "é", "a/b", '"quoted"', "{json}"])
def test_any_other_request_id_is_made_anew(client, given):
    headers = {} if given is None else {"X-Request-ID": given}

    answer = client.get("/nowhere", headers=headers)

    made = answer.headers["X-Request-ID"]
    assert made != given
    assert len(made) == 16
    assert int(made, 16) >= 0


def test_each_request_has_an_id_of_its_own(client):
    ids = {client.get("/nowhere").json["request_id"] for _ in range(3)}

    assert len(ids) == 3


# --- the codes ---------------------------------------------------------------------------------------------


def tree(error=LentaError):
    """All kinds of errors of the application below `error`."""
    kinds = set()
    for kind in error.__subclasses__():
        if kind.__module__.partition(".")[0] == "app":
            kinds |= {kind} | tree(kind)
    return kinds


def test_statuses_and_codes_never_change():
    table = {kind.__name__: (kind.status, kind.code) for kind in tree()}

    assert table == CODES


def test_no_two_errors_share_a_code():
    codes = [kind.code for kind in tree()]

    assert len(set(codes)) == len(codes)
    assert all(type(code) is int for code in codes)


def test_every_error_has_a_sentence_for_the_client():
    for kind in tree():
        assert kind().message.endswith(".")


def test_connections_lost_after_the_work_was_done_spoil_no_answer_and_leave_the_pools(app, client):
    answers = [client.get("/test/lost-at-the-end").status_code for _ in range(3)]

    assert answers == [200, 200, 200]
    with app.app_context():
        assert [db.engines[bind].pool.checkedout() for bind in (USERS, POSTS)] == [0, 0]
