"""URL rules compiled once for all applications of a test run.

Werkzeug compiles the URL builders of each rule of each application: most of the time that `create_app` takes.
"""

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule


def compile_rules_once() -> None:
    """Let rules of the same text share their URL builders. These refer to a rule as `self` alone."""
    compiled: dict[tuple[str, tuple[str, ...], bool], Callable[..., Any]] = {}
    compile_builder: Any = Rule._compile_builder

    def compile_once(rule: Rule, append_unknown: bool = True) -> Callable[..., Any]:
        key = rule.rule, tuple(rule.defaults or ()), append_unknown
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    Rule._compile_builder = compile_once
