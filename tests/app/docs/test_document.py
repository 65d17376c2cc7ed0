"""/openapi.json tells of every route, and what it tells is true of itself."""

import re
from datetime import date, timedelta

import jsonschema_rs
import pytest

from app.docs.document import build
from app.fields import ID_PATTERN, MAX_ID, parse_id
from app.users.schemas import _birth_pattern

NOT_DESCRIBED = {"/openapi.json", "/docs", "/docs/<name>"}  # the description itself


@pytest.fixture
def document(app):
    return app.test_client().get("/openapi.json").json


def operations(document):
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def nodes(node):
    """All objects in the document."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from nodes(child)


def schema_of(document, schema):
    return jsonschema_rs.Draft202012Validator(schema | {"components": document["components"]})


def test_it_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")


def test_it_needs_no_token_and_is_made_once(app, document):
    assert app.extensions["openapi"] == app.json.dumps(document)


def test_it_tells_of_every_route_and_of_no_other(app, document):
    routes = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule not in NOT_DESCRIBED
    }

    assert operations(document).keys() == routes


def test_a_route_that_needs_a_token_says_so_and_a_public_one_does_not(app, document):
    secured = {route for route, operation in operations(document).items() if operation["security"]}

    for (method, path), operation in operations(document).items():
        answer = app.test_client().open(re.sub(r"\{\w+\}", "1", path), method=method)
        assert ((method, path) in secured) == (answer.status_code == 401)
        assert ("401" in operation["responses"]) or (method, path) not in secured
    assert document["components"]["securitySchemes"] == {"token": {"type": "apiKey", "in": "header", "name": "X-Auth"}}


def test_every_operation_has_a_name_of_its_own_an_answer_and_an_example(document):
    names = [operation["operationId"] for operation in operations(document).values()]

    assert len(set(names)) == len(names)
    for operation in operations(document).values():
        assert operation["summary"]
        for answer in operation["responses"].values():
            (content,) = answer["content"].values()
            assert "example" in content
            assert "X-Request-ID" in answer["headers"]


def test_every_example_is_what_its_schema_says(document):
    contents = [node for node in nodes(document["paths"]) if "example" in node and "schema" in node]

    assert len(contents) > 50
    for content in contents:
        schema_of(document, content["schema"]).validate(content["example"])


def test_every_reference_and_every_link_leads_somewhere(document):
    names = {operation["operationId"] for operation in operations(document).values()}

    for node in nodes(document):
        if "$ref" in node:
            assert node["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        for link in node.get("links", {}).values():
            assert link["operationId"] in names


def test_a_call_with_a_body_says_what_becomes_of_a_bad_one(document):
    with_body = [operation for operation in operations(document).values() if "requestBody" in operation]

    assert len(with_body) == 4
    for operation in with_body:
        assert {"400", "413", "415"} <= operation["responses"].keys()


def test_errors_that_pass_say_when_to_try_again(document):
    for operation in operations(document).values():
        for status in {"429", "503"} & operation["responses"].keys() - (
            {"503"} if operation["tags"] == ["health"] else set()
        ):
            assert "Retry-After" in operation["responses"][status]["headers"]


def test_an_answer_has_all_its_fields_and_no_others(document):
    schema = schema_of(document, {"$ref": "#/components/schemas/Post"})
    (example,) = document["paths"]["/post/feed"]["get"]["responses"]["200"]["content"]["application/json"]["example"]

    assert schema.is_valid(example)
    assert not schema.is_valid(example | {"more": 1})
    assert not any(schema.is_valid({k: v for k, v in example.items() if k != name}) for name in example)


def test_what_a_body_has_more_is_ignored_and_said_to_be(document):
    assert "additionalProperties" not in document["components"]["schemas"]["NewPost"]


def test_the_largest_page_is_the_cap_of_the_settings(make_app):
    app = make_app(feed_cap=77)
    with app.app_context():
        parameters = build(app)["paths"]["/post/feed"]["get"]["parameters"]

    limit = next(parameter for parameter in parameters if parameter["name"] == "limit")
    assert limit["schema"] == {"type": "integer", "default": 10, "minimum": 1, "maximum": 77}


# --- patterns ----------------------------------------------------------------------------------------------


def is_id(text):
    try:
        parse_id(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "-1", "+1", "1.0", " 1", "1 ", "٣", "0", "00", "1" * 18, "1" * 19, "9" * 19, "1" * 20, "0" * 19),
        *(str(MAX_ID + change) for place in range(19) for change in (-(10**place), 0, 10**place)),
    ],
)
def test_the_pattern_of_ids_takes_what_is_taken(text):
    assert bool(re.search(ID_PATTERN, text)) == is_id(text)


def test_the_pattern_of_birthdates_takes_every_day_that_is_taken_up_to_last_year():
    pattern, year = re.compile(_birth_pattern()), date.today().year
    days = [date(1899, 1, 1) + timedelta(n) for n in range(366 * 140)]

    wrong = [day for day in days if bool(pattern.search(day.isoformat())) != (1900 <= day.year < year)]

    assert wrong == []
    assert not any(
        pattern.search(text) for text in ("1990-02-30", "1990-04-31", "1990-13-01", "1901-02-29", "1990-1-1")
    )
