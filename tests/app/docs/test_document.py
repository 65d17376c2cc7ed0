"""openapi.yaml describes every route, in plain sentences, with the bounds that hold. tests/tools/documented.py holds
every response that a test sees against it."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from marshmallow import fields, missing, validate
from openapi_spec_validator import validate as validate_openapi

from app.auth.tokens import public
from app.docs.document import load
from app.factory import MAX_BODY_BYTES
from app.feed import schemas as feed
from app.http.connection import RECEIVE_SECONDS
from app.http.fields import IdList
from app.http.headers import API_VERSION
from app.http.pages import page_query
from app.ids import MAX_ID, parse_id
from app.posts import schemas as posts
from app.users import schemas as users
from app.users.service import SEARCH_LIMIT
from tests.app.auth.test_authorization import TABLE
from tests.app.test_errors import CODES
from tests.tools import documented
from tests.tools.documented import DOCUMENT, operations, resolve

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
SENTENCES = re.compile(r"[A-Z`][^\n]*\.")
ID = "2125011480165912577"
BODIES = {"register": users.registration, "log_in": users.credentials, "create_post": posts.new_post}
BODIES |= {
    "update_post": posts.edited_post,
    "update_user": users.profile_changes,
    "change_password": users.password_change,
    "delete_user": users.deletion,
    "mark_seen": feed.seen,
}
QUERIES = {"read_feed": feed.page_query, "search_users": users.search, "list_posts": page_query}
QUERIES |= {"list_users": users.user_list, "log_out": users.log_out}
QUERIES |= dict.fromkeys(("list_followees", "list_followers", "list_blocks"), posts.cursor_query)


def openapi_path(rule):
    return re.sub(r"<(\w+)>", r"{\1}", rule)


def nodes(node, name=""):
    """All objects in the document, with the key of each."""
    if isinstance(node, dict):
        yield name, node
        for key, child in node.items():
            yield from nodes(child, key)
    elif isinstance(node, list):
        for child in node:
            yield from nodes(child, name)


def responses():
    """(operation, status, response) for all that are documented, references followed."""
    for operation in operations().values():
        for status, response in operation["responses"].items():
            yield operation, int(status), resolve(response)


# --- the whole ---------------------------------------------------------------------------------------------


def test_it_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate_openapi(DOCUMENT)


def test_it_is_served_as_it_is_written(app):
    assert app.test_client().get("/openapi.json").json == load(app.extensions["settings"].feed_cap)


def test_its_version_is_the_projects():
    assert DOCUMENT["info"]["version"] == API_VERSION == tomllib.loads(PYPROJECT.read_text())["project"]["version"]


def test_it_has_every_route_and_no_other(app):
    routes = {
        (method, openapi_path(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert operations().keys() == routes


def test_calls_need_a_token_where_the_authorization_table_says_so():
    public = {call for call, operation in operations().items() if operation.get("security") == []}

    schemes = DOCUMENT["components"]["securitySchemes"]

    assert DOCUMENT["security"] == [{"token": []}, {"bearer": []}]
    assert schemes["token"].items() >= {"in": "header", "name": "X-Auth"}.items()
    assert schemes["bearer"].items() >= {"type": "http", "scheme": "bearer"}.items()
    assert public == {(method, openapi_path(rule)) for (method, rule), row in TABLE.items() if row.public}
    assert all("security" not in operation for call, operation in operations().items() if call not in public)


@pytest.mark.parametrize(("method", "rule"), TABLE, ids=[f"{method} {rule}" for method, rule in TABLE])
def test_a_call_has_the_errors_that_follow_from_the_table_and_its_input(method, rule):
    row, operation = TABLE[method, rule], operations()[method, openapi_path(rule)]
    given = operation["responses"].keys()

    assert {"400", "408", "414", "417", "431", "500", "501", str(row.right)} <= given
    assert row.public or "401" in given
    assert ("403" in given) == (row.another_users == 403 or rule == "/login")  # of a suspended account
    assert ("413" in given) == ("415" in given) == ("requestBody" in operation)
    assert "404" in given or "{" not in openapi_path(rule)


def test_its_codes_are_those_of_the_error_tree():
    enum = DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["enum"]

    assert set(enum) == {code for _, code in CODES.values()}


# --- for people --------------------------------------------------------------------------------------------


def test_every_call_parameter_header_response_and_field_is_described():
    described = [*operations().values(), *DOCUMENT["tags"], *DOCUMENT["servers"]]
    described += [resolve(p) for operation in operations().values() for p in operation.get("parameters", [])]
    described += [operation["requestBody"] for operation in operations().values() if "requestBody" in operation]
    described += [response for *_, response in responses()]
    for kind in ("headers", "parameters", "responses", "schemas", "securitySchemes"):
        described += DOCUMENT["components"][kind].values()
    for name, node in nodes(DOCUMENT):
        if name in ("properties", "links"):
            described += node.values()

    assert len(described) > 250
    for node in described:
        assert SENTENCES.fullmatch(node.get("description", "")), node
    assert all(operation["summary"] for operation in operations().values())


def test_its_only_patterns_are_those_of_ids_and_of_usernames():
    patterns = {node["pattern"] for _, node in nodes(DOCUMENT) if isinstance(node.get("pattern"), str)}

    assert patterns == {"^[0-9]{1,19}$", "^[A-Za-z0-9_]{3,30}$"}


def test_every_call_has_a_name_of_its_own_and_every_link_leads_to_one():
    names = [operation["operationId"] for operation in operations().values()]
    links = [link for *_, response in responses() for link in response.get("links", {}).values()]

    assert len(set(names)) == len(names)
    assert len(links) > 10
    assert {link["operationId"] for link in links} <= set(names)


def test_every_example_fits_its_schema():
    examples = [
        (node["schema"], node["example"]) for _, node in nodes(DOCUMENT) if {"schema", "example"} <= node.keys()
    ]

    assert len(examples) > 50
    for schema, example in examples:
        documented.validate(schema, example)


def test_every_error_shows_the_one_shape_with_a_code_of_its_status():
    for operation, status, response in responses():
        if status < 400 or (operation["operationId"] == "ready" and status == 503):
            continue
        content = response["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Error"}
        assert (status, content["example"]["code"]) in CODES.values()
        assert str(content["example"]["code"]) in response["description"]
        assert "X-Request-ID" in response["headers"]
        assert ("Retry-After" in response["headers"]) == (status in (429, 503))
        assert ("WWW-Authenticate" in response["headers"]) == (status == 401)


def test_the_fields_of_an_example_at_400_are_those_of_the_call():
    for operation, status, response in responses():
        if status == 400:
            named = response["content"]["application/json"]["example"].get("errors", {})
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {"schema": {}})
            inputs = {resolve(parameter)["name"] for parameter in operation.get("parameters", [])}
            inputs |= merged(resolve(body["schema"]))["properties"].keys()
            assert named.keys() <= inputs
            assert named or not inputs or operation["operationId"] in ("docs_file", "web_file")


# --- bounds ------------------------------------------------------------------------------------------------


def bounds(field):
    """Return the rules of a marshmallow field, in JSON Schema."""
    found = {}
    for validator in field.validators:
        if isinstance(validator, validate.Length):
            found |= {"minLength": validator.min, "maxLength": validator.max}
        elif isinstance(validator, validate.Range):
            found |= {"minimum": validator.min, "maximum": validator.max}
        elif isinstance(validator, validate.OneOf):
            found |= {"enum": validator.choices}
    if not field.required and field.load_default not in (None, missing):
        found["default"] = field.load_default
    return {name: value for name, value in found.items() if value not in (None, 0) or name in ("minimum", "default")}


def documented_bounds(schema):
    return {
        name: schema[name]
        for name in ("minLength", "maxLength", "minimum", "maximum", "enum", "default")
        if name in schema
    }


def type_of(field):
    types = {
        fields.Boolean: "boolean",
        fields.Integer: "integer",
        fields.Date: "date",
        fields.String: "string",
        posts.Cursor: "string",
        users.SearchCursor: "string",
        IdList: "array",
    }
    return next((name for kind, name in types.items() if isinstance(field, kind)), "id")


def documented_type(schema):
    schema, shared = (resolve(schema), "$ref" in schema)
    return "id" if shared else "date" if schema.get("format") == "date" else schema["type"]


def merged(schema):
    """The properties of all the alternatives of a schema, and the fields that each requires."""
    forms = [resolve(form) for form in schema.get("oneOf", [schema])]
    properties = {key: node for form in forms for key, node in form.get("properties", {}).items()}
    return {"properties": properties, "required": set.intersection(*(set(form.get("required", [])) for form in forms))}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_has_the_bounds_of_its_schema_and_an_example_that_is_accepted(name):
    (operation,) = (operation for operation in operations().values() if operation["operationId"] == name)
    content = operation["requestBody"]["content"]["application/json"]
    schema = merged(resolve(content["schema"]))

    assert schema["properties"].keys() == BODIES[name].fields.keys()
    assert schema["required"] == {key for key, field in BODIES[name].fields.items() if field.required}
    for key, field in BODIES[name].fields.items():
        assert documented_bounds(schema["properties"][key]) == bounds(field)
        assert documented_type(schema["properties"][key]) == type_of(field)
    assert BODIES[name].load(content["example"])


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_has_the_bounds_of_its_schema_and_an_example_that_is_accepted(app, name):
    (operation,) = (operation for operation in operations().values() if operation["operationId"] == name)
    parameters = {p["name"]: p for p in map(resolve, operation["parameters"]) if p["in"] == "query"}
    bound_by_settings = {"limit": {"maximum": documented.FEED_CAP}} if name == "read_feed" else {}

    assert parameters.keys() == QUERIES[name].fields.keys()
    for key, field in QUERIES[name].fields.items():
        assert parameters[key].get("required", False) == field.required
        assert documented_bounds(parameters[key]["schema"]) == bounds(field) | bound_by_settings.get(key, {})
        assert documented_type(parameters[key]["schema"]) == type_of(field)
    examples = {key: p["example"] for key, p in parameters.items() if "example" in p}
    assert QUERIES[name].load({key: ",".join(e) if isinstance(e, list) else str(e) for key, e in examples.items()})


@pytest.mark.parametrize("cap", [5, 77, 5000])
def test_the_largest_page_is_the_cap_of_the_settings(make_app, cap):
    document = make_app(feed_cap=cap).test_client().get("/openapi.json").json

    (limit,) = (p for p in document["paths"]["/post/feed"]["get"]["parameters"] if p["name"] == "limit")
    assert limit["schema"] == {"type": "integer", "default": min(10, cap), "minimum": 1, "maximum": cap}


def test_bounds_in_words_are_those_that_hold():
    shared = DOCUMENT["components"]["responses"]
    search = operations()["GET", "/user/search"]
    birthdate = DOCUMENT["components"]["schemas"]["Registration"]["properties"]["birthdate"]

    assert f"{MAX_BODY_BYTES // 1024} KiB" in shared["PayloadTooLarge"]["description"]
    assert f"{RECEIVE_SECONDS:.0f} seconds" in shared["RequestTimeout"]["description"]
    assert f"at most {SEARCH_LIMIT} users" in search["description"]
    assert search["responses"]["200"]["content"]["application/json"]["schema"]["maxItems"] == SEARCH_LIMIT
    listed = operations()["GET", "/user/list"]
    assert f"up to {users.MAX_LISTED} users" in listed["description"]
    assert resolve(listed["parameters"][0])["schema"]["maxItems"] == users.MAX_LISTED
    assert listed["responses"]["200"]["content"]["application/json"]["schema"]["maxItems"] == users.MAX_LISTED
    assert str(users.EARLIEST_BIRTH) in birthdate["description"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "-1", "+1", "1.0", " 1", "1 ", "٣", "0", "00", "1" * 18, "1" * 19, "9" * 19, "1" * 20, "0" * 19),
        *(str(MAX_ID + change) for place in range(19) for change in (-(10**place), 0, 10**place)),
    ],
)
def test_the_pattern_of_ids_takes_what_is_taken(text):
    def is_id():
        try:
            parse_id(text)
        except ValueError:
            return False
        return True

    assert bool(re.search(DOCUMENT["components"]["schemas"]["Id"]["pattern"], text)) == is_id()


# --- the check of responses --------------------------------------------------------------------------------

HEADERS = {"Content-Type": "application/json", "X-Request-ID": "a"}
FEED_HEADERS = HEADERS | {"X-Feed-Source": "cache"}
RETRY = {"Retry-After": "1"}
GONE = {"message": "There is no such user.", "code": 1005, "request_id": "a"}
USER = {
    "id": ID,
    "username": None,
    "first_name": "A",
    "second_name": "L",
    "birthdate": "1990-01-31",
    "biography": "",
    "city": "",
}
USER |= {"is_followed": True, "follows_you": False, "is_blocked": False, "followers": 0, "following": 0, "posts": 0}
SEEN = ("GET", f"/user/get/{ID}", 200, HEADERS, USER)

UNDOCUMENTED = {
    "a status": ("GET", f"/user/get/{ID}", 409, HEADERS, GONE),
    "a status where nothing is": ("GET", "/nowhere", 200, HEADERS, {}),
    "a method": ("DELETE", "/post/feed", 200, HEADERS, {}),
    "a method that is refused without Allow": ("DELETE", "/post/feed", 405, HEADERS, GONE | {"code": 1006}),
    "a field more": ("GET", f"/user/get/{ID}", 200, HEADERS, USER | {"email": "a"}),
    "a field less": ("GET", f"/user/get/{ID}", 200, HEADERS, {"id": ID}),
    "a number as an id": ("GET", f"/user/get/{ID}", 200, HEADERS, USER | {"id": 1}),
    "a date that is none": ("GET", f"/user/get/{ID}", 200, HEADERS, USER | {"birthdate": "31.1.1990"}),
    "an error without a code": ("GET", f"/user/get/{ID}", 404, HEADERS, {"message": "a", "request_id": "a"}),
    "an error of a test's route in another shape": ("GET", "/test/crash", 500, HEADERS, {"error": "a"}),
    "a content type": ("GET", f"/user/get/{ID}", 200, HEADERS | {"Content-Type": "text/plain"}, USER),
    "a response without its id": ("GET", f"/user/get/{ID}", 200, {"Content-Type": "application/json"}, USER),
    "503 without Retry-After": ("GET", f"/user/get/{ID}", 503, HEADERS, GONE | {"code": 1010}),
    "a header": ("GET", f"/user/get/{ID}", 200, HEADERS | {"X-Feed-Source": "cache"}, USER),
    "a header of HTTP that asks something of the client": ("GET", "/post/feed", 200, FEED_HEADERS | RETRY, []),
    "a feed of another source": ("GET", "/post/feed", 200, HEADERS | {"X-Feed-Source": "memory"}, []),
}


@pytest.mark.parametrize("response", [SEEN, ("GET", "/post/feed", 200, FEED_HEADERS, [])], ids=["a user", "a feed"])
def test_a_documented_response_passes(response):
    *head, body = response

    documented.check(*head, json.dumps(body).encode())


@pytest.mark.parametrize("response", UNDOCUMENTED.values(), ids=UNDOCUMENTED)
def test_a_response_that_is_not_documented_fails(response):
    *head, body = response

    with pytest.raises((AssertionError, ValueError)):
        documented.check(*head, json.dumps(body).encode())


def test_headers_of_every_response_are_described_at_the_head():
    assert {
        name for name in documented.OF_EVERY_RESPONSE if name not in DOCUMENT["info"]["description"].lower()
    } == set()


def test_the_test_client_fails_where_a_response_is_not_documented(app):
    app.view_functions["health.live"] = public(lambda: {"status": "undead"})

    with pytest.raises(ValueError, match="undead"):
        app.test_client().get("/health/live")
