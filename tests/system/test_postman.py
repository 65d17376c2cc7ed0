"""postman_collection.json against the application's routes, without sending anything."""

import json
import re
from pathlib import Path

import pytest
from werkzeug.exceptions import HTTPException

from app.auth.tokens import HEADER, is_public
from app.factory import create_app
from app.settings import Settings

COLLECTION = json.loads((Path(__file__).parents[2] / "postman_collection.json").read_text())
NOT_COVERED = {"/metrics", "/openapi.json", "/asyncapi.json"}  # for machines
NOT_COVERED |= {"/", "/web/<version>/<folder>/<name>", "/docs", "/docs/<name>"}  # for browsers
SENT_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def requests_of(item):
    if "request" in item:
        return [item]
    return [request for child in item["item"] for request in requests_of(child)]


REQUESTS = requests_of(COLLECTION)
each_request = pytest.mark.parametrize("item", REQUESTS, ids=[item["name"] for item in REQUESTS])


def script(item, listen):
    return "\n".join(line for event in item["event"] if event["listen"] == listen for line in event["script"]["exec"])


def assertions_of(item):
    return script(item, "test")


@pytest.fixture(scope="module")
def app():
    """Only its routes are asked for: nothing connects."""
    return create_app(
        Settings(
            users_database_url="postgresql:///nowhere",
            posts_database_url="postgresql:///nowhere",
            redis_url="redis://127.0.0.1:1",
            broker_url="redis://127.0.0.1:1",
            jwt_secret_key="a key for tests, which has more than 32 bytes",
        )
    )


def endpoint_of(app, item):
    """The endpoint that answers a request of the collection; None where none does."""
    path = item["request"]["url"]["raw"].removeprefix("{{baseUrl}}").partition("?")[0]
    try:
        return app.url_map.bind("").match(re.sub(r"\{\{\w+\}\}", "1", path), item["request"]["method"])[0]
    except HTTPException:
        return None


def test_the_collection_covers_every_route(app):
    routes = {
        (rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods & SENT_METHODS
        if rule.rule not in NOT_COVERED
    }

    sent = {(endpoint_of(app, item), item["request"]["method"]) for item in REQUESTS}

    assert routes - sent == set()


@each_request
def test_a_request_is_answered_by_a_route(app, item):
    assert endpoint_of(app, item) is not None


@each_request
def test_a_request_carries_a_token_unless_it_needs_none_or_tries_without(app, item):
    headers = {header["key"]: header["value"] for header in item["request"]["header"]}

    with app.app_context():
        needs_token = not is_public(endpoint_of(app, item)) and "without a token" not in item["name"]

    assert bool(headers.keys() & {HEADER, "Authorization"}) == needs_token


@each_request
def test_a_request_asserts_something_about_its_answer(item):
    assert "pm.test(" in assertions_of(item)
    assert re.search(r"have\.status\(\d{3}\)", assertions_of(item))


@each_request
def test_a_request_that_is_to_fail_says_so_in_its_name(item):
    (status,) = set(re.findall(r"have\.status\((\d{3})\)", assertions_of(item)))

    assert re.findall(r": (\d{3})$", item["name"]) == ([] if status == "200" else [status])


@each_request
def test_a_request_is_repeated_only_up_to_a_bound(item):
    if "setNextRequest" in assertions_of(item):
        assert "attempt < attempts" in assertions_of(item)


def test_names_are_unique_because_a_repeated_request_is_found_by_its_name():
    names = [item["name"] for item in REQUESTS]

    assert len(names) == len(set(names))


def test_every_variable_is_declared_or_set_by_an_earlier_request():
    known = {variable["key"] for variable in COLLECTION["variable"] if variable["value"]}

    for item in REQUESTS:
        known |= set(re.findall(r'collectionVariables\.set\("(\w+)"', script(item, "prerequest")))
        used = set(re.findall(r"\{\{(\w+)\}\}", json.dumps(item["request"])))
        assert used <= known, item["name"]
        known |= set(re.findall(r'collectionVariables\.set\("(\w+)"', assertions_of(item)))
