"""The command."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from benchmarks.capacity import constants, table
from benchmarks.capacity.model import Capacity, Inputs


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each input; --users may be given more than once."""
    for each in reversed(fields(Inputs)):
        rule = each.metadata
        numbers = click.IntRange if each.type is int else click.FloatRange
        several: dict[str, Any] = {"multiple": True, "default": [each.default]} if each.name == "users" else {}
        command = click.option(
            f"--{each.name.replace('_', '-')}",
            type=numbers(rule["least"], rule["most"] if rule["most"] != float("inf") else None),
            help=rule["help"] + ("; repeatable" if several else "") + ".",
            show_default=True,
            **({"default": each.default} | several),
        )(command)
    return command


@click.command()
@_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--constants", "show_constants", is_flag=True, help="Print the measured constants and exit.")
def main(users: tuple[int, ...], as_json: bool, show_constants: bool, **inputs: Any) -> None:
    """Say how many servers Lenta needs at a size, and where the first limit is.

    Everything is a formula over these inputs and measured constants: docs/scaling.md shows both.
    """
    if show_constants:
        click.echo(constants.render())
        return
    capacities = [Capacity(Inputs(users=number, **inputs)) for number in users]
    if as_json:
        click.echo(json.dumps([table.as_dict(capacity) for capacity in capacities], indent=2))
    else:
        click.echo(table.render(capacities))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.capacity")
