"""Security headers of every response, and CORS, which is off by default."""

import pytest

from app.http.headers import API_VERSION

OURS, THEIRS = "https://feed.example", "https://evil.example"


@pytest.mark.parametrize("path", ["/health/live", "/post/feed", "/nowhere", "/openapi.json"])
def test_an_answer_is_neither_sniffed_nor_kept(make_app, path):
    headers = make_app().test_client().get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-API-Version"] == API_VERSION
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
def test_the_documentation_says_its_own_and_nothing_twice(make_app, path):
    headers = make_app().test_client().get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert len(headers.getlist("Content-Security-Policy")) <= 1
    assert "no-store" not in headers.get("Cache-Control", "")


def test_the_documentation_may_not_be_framed(make_app):
    policy = make_app().test_client().get("/docs").headers["Content-Security-Policy"]

    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_by_default_no_other_origin_may_read_an_answer(make_app, method):
    headers = make_app().test_client().open("/health/live", method=method, headers={"Origin": OURS}).headers

    assert [name for name in dict(headers) if name.startswith("Access-Control")] == []


def test_an_allowed_origin_may_read_responses_and_exposed_headers(make_app):
    client = make_app(cors_origins=f"https://other.example, {OURS}").test_client()

    headers = client.get("/post/feed", headers={"Origin": OURS}).headers

    assert headers["Access-Control-Allow-Origin"] == OURS
    assert {"X-Request-ID", "Link", "X-API-Version", "X-Feed-Source", "Retry-After"} == set(
        headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("origin", [THEIRS, OURS + ".evil.example", OURS.replace("https", "http"), "null", ""])
def test_another_origin_may_not(make_app, origin):
    headers = make_app(cors_origins=OURS).test_client().get("/health/live", headers={"Origin": origin}).headers

    assert "Access-Control-Allow-Origin" not in headers
    assert "Origin" in headers["Vary"]


def test_a_preflight_needs_no_token_and_says_what_may_be_sent(make_app):
    client = make_app(cors_origins=OURS).test_client()
    asked = {"Origin": OURS, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-auth"}

    answer = client.options("/post/create", headers=asked)

    assert answer.status_code == 200
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"Authorization", "X-Auth", "Content-Type"} <= allowed


def test_any_origin_may_where_that_is_set(make_app):
    headers = make_app(cors_origins="*").test_client().get("/health/live", headers={"Origin": THEIRS}).headers

    assert headers["Access-Control-Allow-Origin"] == THEIRS
