"""Loads openapi.yaml, and inserts the bounds that are settings; and asyncapi.yaml."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from yaml import CSafeLoader

SOURCE = Path(__file__).with_name("openapi.yaml")
LIVE_SOURCE = Path(__file__).with_name("asyncapi.yaml")


@cache
def as_json(feed_cap: int) -> str:
    """Return `load` as JSON. Kept, as parsing takes some 30 ms."""
    return _dump(load(feed_cap))


def load(feed_cap: int) -> dict[str, Any]:
    """Return the document of a service whose feeds hold `feed_cap` posts."""
    document = _parse(SOURCE)
    del document["x-errors"]  # merged into the responses already
    for parameter in document["paths"]["/post/feed"]["get"]["parameters"]:
        if parameter["name"] == "limit":
            bounds = parameter["schema"]
            bounds["maximum"] = feed_cap
            bounds["default"] = parameter["example"] = min(bounds["default"], feed_cap)
    return document


@cache
def live_as_json() -> str:
    """Return `load_live` as JSON."""
    return _dump(load_live())


def load_live() -> dict[str, Any]:
    """Return the AsyncAPI document of live events."""
    return _parse(LIVE_SOURCE)


def _parse(source: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(source.read_bytes(), Loader=CSafeLoader)  # ten times as fast
    return document


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
