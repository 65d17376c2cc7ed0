"""What a route says of itself for /openapi.json. It costs nothing when the route is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

from app.errors import LentaError

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Operation:
    """The description of a route.

    `answer` is a marshmallow schema or a JSON Schema, `example` a body of the answer, `sent` an example of the body of
    the request; `errors` are those that do not follow from the route itself, `links` the operations that an answer
    leads to: (name of an operation, its parameters, its body) by name, in runtime expressions of OpenAPI.
    """

    name: str
    summary: str
    answer: Schema | Mapping[str, Any]
    example: Any
    content_type: str = "application/json"  # of the answer
    many: bool = False
    body: Schema | None = None
    sent: Any = None
    query: Schema | None = None
    optional: tuple[str, ...] = ()  # fields of the answer that may be missing
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[type[LentaError], ...] = ()
    links: Mapping[str, "Link"] = field(default_factory=dict)
    unready: Mapping[str, Any] | None = None  # what 503 carries, where that is no error


@dataclass(frozen=True)
class Link:
    operation: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


EMPTY: Mapping[str, Any] = {"type": "object", "additionalProperties": False}


def describe(**description: Any) -> Callable[[View], View]:
    """Say of a view what an Operation says."""

    def remember(view: View) -> View:
        view.operation = Operation(**description)  # type: ignore[attr-defined]
        return view

    return remember
