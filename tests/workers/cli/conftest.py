"""Commands that load a file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner

from workers.cli import import_graph, import_users

Load = Callable[..., Result]


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    app.cli.add_command(import_graph.import_graph)
    app.cli.add_command(import_users.import_users)
    return app.test_cli_runner()


@pytest.fixture
def load_file(runner: FlaskCliRunner, tmp_path: Path) -> Load:
    """Run a command on a file of this name and content."""

    def run(command: str, name: str, content: str | bytes, *options: str) -> Result:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return runner.invoke(args=[command, str(file), *options])

    return run


@pytest.fixture
def load(load_file: Load, request: pytest.FixtureRequest) -> Load:
    """Run the command of the module on a file with this content."""
    return partial(load_file, *request.module.LOADED)
