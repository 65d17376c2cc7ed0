"""Loads openapi.yaml, and inserts the bounds that are settings."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from yaml import CSafeLoader

SOURCE = Path(__file__).with_name("openapi.yaml")


@cache
def as_json(feed_cap: int) -> str:
    """Return `load` as JSON. Kept, as parsing takes some 30 ms."""
    return json.dumps(load(feed_cap), ensure_ascii=False, separators=(",", ":"))


def load(feed_cap: int) -> dict[str, Any]:
    """Return the document of a service whose feeds hold `feed_cap` posts."""
    document: dict[str, Any] = yaml.load(SOURCE.read_bytes(), Loader=CSafeLoader)  # ten times as fast
    del document["x-errors"]  # merged into the responses already
    for parameter in document["paths"]["/post/feed"]["get"]["parameters"]:
        if parameter["name"] == "limit":
            bounds = parameter["schema"]
            bounds["maximum"] = feed_cap
            bounds["default"] = parameter["example"] = min(bounds["default"], feed_cap)
    return document
