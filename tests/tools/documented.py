"""Holds responses against the OpenAPI document: status, headers, content type and body.

`Client` does so for each response of Flask's test client, `Web` and `exchange` for those of real servers.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.docs.document import load
from app.errors import BY_STATUS, InternalError, Unavailable, WrongCredentials

FEED_CAP = 1000
DOCUMENT = load(FEED_CAP)
TESTS_OWN = "/test/"  # where tests add routes that no document describes: their errors have the one shape
STATUSES = {kind.code: kind.status for kind in (InternalError, WrongCredentials, Unavailable, *BY_STATUS.values())}
ERROR = {
    "headers": {
        "X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"},
        "Retry-After": {"schema": {"type": "integer"}},
    },
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
# Headers of ours; a response may have others of HTTP itself, of security and of CORS.
OURS = re.compile(r"x-.*|link|retry-after|deprecation|sunset|www-authenticate")
OF_EVERY_RESPONSE = {"x-api-version", "x-content-type-options"}  # described once, at the head of the document
METHODS = ("get", "put", "post", "delete", "patch")


def resolve(node: Any) -> Any:
    """Follow a reference, if `node` is one."""
    while "$ref" in node:
        found: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """All operations by method and path."""
    return {
        (method.upper(), path): item[method]
        for path, item in DOCUMENT["paths"].items()
        for method in METHODS
        if method in item
    }


@cache
def validator(schema: str) -> Any:
    """The validator of a JSON Schema, given as JSON because that can be a key."""
    whole = json.loads(schema) | {"components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def validate(schema: Mapping[str, Any], value: Any) -> None:
    validator(json.dumps(schema)).validate(value)


def path_of(address: str) -> str | None:
    """The path of the document that an address matches; one without parameters first."""
    for path in sorted(DOCUMENT["paths"], key=lambda path: path.count("{")):
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), address):
            return str(path)
    return None


def expected(method: str, address: str, status: int) -> dict[str, Any] | None:
    """The description of a response; None for one that has no body. Fails where the document has none."""
    shared = DOCUMENT["components"]["responses"]
    path = path_of(address)
    if address.startswith(TESTS_OWN):
        return ERROR if status >= 400 else None
    if path is None:
        by_status = {404: shared["AddressNotFound"], 400: shared["BadRequest"]}
        assert status in by_status, f"{method} {address}: {status}, which is not in app/docs/openapi.yaml"
        return by_status[status]
    item = DOCUMENT["paths"][path]
    described = item.get("get" if method == "HEAD" else method.lower())
    if described is None and method == "OPTIONS" and status == 200:
        return None
    if described is None and status == 405:
        return shared["MethodNotAllowed"]
    responses = (described or next(iter(item.values())))["responses"]
    assert str(status) in responses, f"{method} {path}: {status} is not documented"
    return resolve(responses[str(status)])


def check(method: str, address: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fail unless the document describes this response."""
    response = expected(method, address, status)
    if response is None:
        return
    _check(f"{method} {address}: {status}", response, headers, None if method == "HEAD" else body)


def _check(case: str, response: Mapping[str, Any], headers: Mapping[str, str], body: bytes | None) -> None:
    present = {name.lower(): value for name, value in headers.items()}
    described = OF_EVERY_RESPONSE | {name.lower() for name in response.get("headers", {})}
    undescribed = {name for name in present if OURS.fullmatch(name)} - described
    assert not undescribed, f"{case} with {', '.join(sorted(undescribed))}"
    for name, header in response.get("headers", {}).items():
        header, value = resolve(header), present.get(name.lower())
        assert value is not None or not header.get("required"), f"{case} without {name}"
        if value is not None:
            validate(header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
    if "content" not in response:
        assert not body, f"{case} with a body"
        return
    mimetype = present["content-type"].partition(";")[0]
    assert mimetype in response["content"], f"{case} is {mimetype}"
    schema, line = (response["content"][mimetype].get(name) for name in ("schema", "x-line"))
    if line and body is not None:
        for each in body.splitlines():
            validate(line, json.loads(each))
    if schema and body is not None:
        validate(schema, json.loads(body) if mimetype == "application/json" else body.decode())


def check_error(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fail unless the document has this error, for any request."""
    described = [resolve(found["responses"].get(str(status), {})) for found in operations().values()]
    shared = DOCUMENT["components"]["responses"]
    described += [shared[name] for name in ("AddressNotFound", "MethodNotAllowed")]
    errors = [response for response in described if is_error(response, status)]
    assert errors, f"{status} is not documented"
    _check(str(status), errors[0], headers, body)


def is_error(response: Mapping[str, Any], status: int) -> bool:
    """Whether a response has the error shape, and this status."""
    example = response.get("content", {}).get("application/json", {}).get("example")
    return isinstance(example, dict) and "code" in example and STATUSES[example["code"]] == status


class Client(FlaskClient):
    """A test client each of whose responses must be documented."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        for each in (*response.history, response):
            request = each.request
            is_endless = each.mimetype == "text/event-stream"
            body = b"" if is_endless else each.get_data()
            if is_endless:
                each.close()
            check(request.method, request.path, each.status_code, each.headers, body)
        return response
