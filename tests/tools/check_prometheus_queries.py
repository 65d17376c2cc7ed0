"""Runs every query of the dashboard and the alerts on a Prometheus server.

    python -m tests.tools.check_prometheus_queries --url http://127.0.0.1:9090

Prints each with what it returns. Exit code 1 where Prometheus refuses one, or one that must return something returns
nothing; 2 where Prometheus does not answer. `--strict` expects of every panel that it shows something: a service under
load, where `verify-feeds` has run.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "lenta.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
SHOWN = 6
NOT_UNDERSTOOD = (400, 422)

# Queries without data in an idle service.
NEEDS_LOAD = ("histogram_quantile", "lenta_verify_", "lenta_feed_reads_total")


class Query(NamedTuple):
    place: str
    expression: str
    is_alert: bool


class Refused(Exception):
    """Prometheus does not understand a query."""


def panels() -> list[Query]:
    """The queries of the dashboard."""
    return [
        Query(panel["title"], target["expr"], is_alert=False)
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def alerts() -> list[Query]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [Query(rule["alert"], rule["expr"].strip(), is_alert=True) for group in groups for rule in group["rules"]]


def ask(url: str, expression: str, window: str) -> list[dict[str, Any]]:
    """The samples that a query returns now; `window` stands for Grafana's own. Raises Refused, OSError."""
    query = urlencode({"query": expression.replace("$__rate_interval", window)})
    try:
        with urlopen(f"{url}/api/v1/query?{query}", timeout=30) as answer:
            samples: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return samples
    except HTTPError as error:
        if error.code not in NOT_UNDERSTOOD:
            raise
        raise Refused(json.load(error).get("error", str(error))) from error


def evaluate(url: str, window: str, *, strict: bool) -> Iterator[tuple[Query, list[dict[str, Any]], str]]:
    """Yield each query, its result, and its problem, if any."""
    for query in panels() + alerts():
        try:
            samples = ask(url, query.expression, window)
        except Refused as refused:
            yield query, [], f"refused: {refused}"
            continue
        excused = query.is_alert or (not strict and any(name in query.expression for name in NEEDS_LOAD))
        numbers = [sample for sample in samples if sample["value"][1] != "NaN"]
        yield query, samples, "" if numbers or excused else "returns nothing"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.check_prometheus_queries", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--url", default="http://127.0.0.1:9090", help="Prometheus (default: %(default)s)")
    parser.add_argument("--window", default="1m", help="range of rates (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="expect of every panel that it shows something")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    options = parser.parse_args()
    wrong = 0
    try:
        for query, samples, problem in evaluate(options.url, options.window, strict=options.strict):
            wrong += bool(problem)
            show(query, samples, problem, as_json=options.json)
    except OSError as error:
        print(f"{options.url} does not answer: {error}", file=sys.stderr)
        return 2
    print(f"{wrong} wrong", file=sys.stderr)
    return 1 if wrong else 0


def show(query: Query, samples: list[dict[str, Any]], problem: str, *, as_json: bool) -> None:
    if as_json:
        values = [{"labels": sample["metric"], "value": sample["value"][1]} for sample in samples]
        print(json.dumps(query._asdict() | {"values": values, "problem": problem}))
        return
    kind = "alert" if query.is_alert else "panel"
    print(f"{'WRONG' if problem else 'ok':<6}{kind} {query.place}: {' '.join(query.expression.split())}")
    for sample in samples[:SHOWN]:
        labels = ", ".join(f"{name}={value}" for name, value in sample["metric"].items())
        print(f"        {float(sample['value'][1]):<12.6g} {labels}")
    if len(samples) > SHOWN:
        print(f"        … and {len(samples) - SHOWN} more")
    if problem or not samples:
        print(f"        {problem or ('does not fire' if query.is_alert else 'nothing yet')}")


if __name__ == "__main__":
    sys.exit(main())
