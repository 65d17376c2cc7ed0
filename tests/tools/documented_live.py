"""Holds messages of live events against the AsyncAPI document."""

from functools import cache
from typing import Any

import jsonschema_rs

from app.docs.document import load_live

DOCUMENT = load_live()
CHANNELS = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}


def resolve(node: Any) -> Any:
    """Follow a reference, if `node` is one."""
    while "$ref" in node:
        found: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


@cache
def validator(address: str, name: str) -> Any:
    message = resolve(CHANNELS[address]["messages"][name])
    schema = message["payload"] | {"components": DOCUMENT["components"]}
    return jsonschema_rs.Draft7Validator(schema, validate_formats=True)


def check(address: str, name: str, data: Any) -> None:
    """Fail unless the document describes this message."""
    assert name in CHANNELS[address]["messages"], f"{address} sends {name}, which is not in app/docs/asyncapi.yaml"
    validator(address, name).validate(data)
