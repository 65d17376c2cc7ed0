"""The OpenAPI document, from the routes, what they say of themselves (app/operation.py) and their schemas."""

import re
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema
from werkzeug.routing import Rule

from app.auth import HEADER
from app.errors import (
    AddressTooLong,
    HeadersTooLarge,
    InternalError,
    InvalidInput,
    LentaError,
    PayloadTooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from app.fields import ID_PATTERN, Id, Whole
from app.operation import Link, Operation

VERSION = "0.1.0"
SCHEME = "token"

TAGS = {
    "users": "Who somebody is. Registering and logging in need no token.",
    "friends": "Whom one follows.",
    "posts": "What people write.",
    "feed": "The newest posts of those whom one follows.",
    "health": "For balancers and people.",
    "metrics": "For Prometheus.",
}

DESCRIPTION = """
The backend of a social feed that is always ready.

Register, log in with the id that was answered, press **Authorize** and put the token there: every other call needs it,
in the header `X-Auth`. An id is a string: it has 64 bits, a JavaScript number 53.

Every error has one shape: `message` for people, `code` for programs (it never changes), `request_id` to find it in the
logs, and at 400 mostly `errors`, by field. HEAD is answered wherever GET is, OPTIONS everywhere.
"""

REQUEST_ID = {"description": "What the client sent under this name, or a new one", "schema": {"type": "string"}}
RETRY_AFTER = {"description": "Seconds to wait", "schema": {"type": "integer"}}
WAITING = (TooManyRequests, Unavailable)

ERROR = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "code": {"type": "integer"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
    },
    "required": ["message", "code", "request_id"],
    "additionalProperties": False,
}


def build(app: Flask) -> dict[str, Any]:
    """The document of all routes that describe themselves. Must run in an application context."""
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: type(schema).__name__)
    spec = APISpec(
        title="Lenta",
        version=VERSION,
        openapi_version="3.1.0",
        info={"description": DESCRIPTION.strip(), "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        plugins=[plugin],
    )
    assert plugin.converter  # for mypy: APISpec has made it
    plugin.map_to_openapi_type(Id, "string", None)  # type: ignore[no-untyped-call]
    plugin.map_to_openapi_type(Whole, "integer", None)  # type: ignore[no-untyped-call]
    plugin.converter.add_attribute_function(_maximum)  # type: ignore[no-untyped-call]
    spec.components.security_scheme(SCHEME, {"type": "apiKey", "in": "header", "name": HEADER})
    spec.components.schema("Error", ERROR)
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation: Operation | None = getattr(view, "operation", None)
        if operation:
            is_public = getattr(view, "is_public", False)
            (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            described = _operation(spec, plugin, rule, operation, is_public)
            spec.path(re.sub(r"<(\w+)>", r"{\1}", rule.rule), operations={method.lower(): described})
    document = spec.to_dict()
    document["paths"] = dict(sorted(document["paths"].items(), key=lambda path: _place(path[1])))
    return document


def _maximum(_: Any, field: Any, **__: Any) -> dict[str, int]:
    """A bound that only a running application knows."""
    maxima = [validator.maximum() for validator in field.validators if hasattr(validator, "maximum")]
    return {"maximum": min(maxima)} if maxima else {}


def _place(path: dict[str, Any]) -> int:
    """Paths come in the order of TAGS."""
    (operation,) = path.values()
    return list(TAGS).index(operation["tags"][0])


def _operation(
    spec: APISpec, plugin: MarshmallowPlugin, rule: Rule, operation: Operation, is_public: bool
) -> dict[str, Any]:
    parameters = [_path_parameter(name) for name in sorted(rule.arguments)]
    if operation.query:
        parameters += _query_parameters(plugin, operation.query)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [rule.endpoint.partition(".")[0]],
        "security": [] if is_public else [{SCHEME: []}],
        "parameters": parameters,
        "responses": {"200": _answer(spec, operation)},
    }
    if operation.body:
        content = {"schema": _reference(spec, operation.body), "example": operation.sent}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    for error in _errors(operation, is_public, has_input=bool(parameters or operation.body)):
        described["responses"][str(error.status)] = _error(error)
    if operation.unready:
        content = {"application/json": dict(operation.unready)}
        described["responses"]["503"] = {
            "description": "Not ready.",
            "headers": {"X-Request-ID": REQUEST_ID},
            "content": content,
        }
    return described


def _errors(operation: Operation, is_public: bool, *, has_input: bool) -> list[type[LentaError]]:
    errors = {*operation.errors, InternalError, Unavailable}
    if not is_public:
        errors |= {Unauthorized, HeadersTooLarge}
    if has_input:
        errors |= {InvalidInput, AddressTooLong}
    if operation.body:
        errors |= {PayloadTooLarge, UnsupportedMediaType}
    return sorted(errors, key=lambda error: (error.status, error.code))


def _error(error: type[LentaError]) -> dict[str, Any]:
    example: dict[str, Any] = {"message": error.message, "code": error.code, "request_id": "52c6b9b1ea3c2f15"}
    if error is InvalidInput:
        example["errors"] = {"text": ["Length must be between 1 and 10000."]}
    headers = {"X-Request-ID": REQUEST_ID} | ({"Retry-After": RETRY_AFTER} if error in WAITING else {})
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}
    return {
        "description": f"{error.message} Code {error.code}.",
        "headers": headers,
        "content": {"application/json": content},
    }


def _answer(spec: APISpec, operation: Operation) -> dict[str, Any]:
    schema: Any = operation.answer
    if isinstance(schema, Schema):
        schema = _reference(spec, schema, optional=operation.optional)
    if operation.many:
        schema = {"type": "array", "items": schema}
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in operation.headers.items()}
    answer: dict[str, Any] = {
        "description": "Done.",
        "headers": {"X-Request-ID": REQUEST_ID, **headers},
        "content": {operation.content_type: {"schema": schema, "example": operation.example}},
    }
    if operation.links:
        answer["links"] = {name: _link(link) for name, link in operation.links.items()}
    return answer


def _link(link: Link) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": link.operation}
    if link.parameters:
        described["parameters"] = dict(link.parameters)
    if link.body is not None:
        described["requestBody"] = link.body
    return described


def _reference(spec: APISpec, schema: Schema, *, optional: tuple[str, ...] | None = None) -> dict[str, str]:
    """The schema as a component. That of an answer has no other fields, and all of them but the `optional` ones."""
    name = type(schema).__name__
    if name not in spec.components.schemas:
        spec.components.schema(name, schema=schema)
        component = spec.components.schemas[name]
        if optional is not None:
            required = [field for field in component["properties"] if field not in optional]
            component |= {"required": required, "additionalProperties": False}
        else:
            component.pop("additionalProperties")  # what nobody knows is ignored
    return {"$ref": f"#/components/schemas/{name}"}


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": ID_PATTERN}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": "2125011480165912577"}


def _query_parameters(plugin: MarshmallowPlugin, schema: Schema) -> list[dict[str, Any]]:
    assert plugin.converter
    parameters: list[dict[str, Any]] = plugin.converter.schema2parameters(schema, location="query")
    for parameter in parameters:
        if parameter["schema"].get("default", 0) is None:
            del parameter["schema"]["default"]
    return parameters
