"""Every command of docs/operations.md works as described."""

import os
import shutil

import pytest

from tests.tools import runbook


def test_every_command_on_the_page_can_be_run_in_its_order(rabbitmq_url):
    missing = [name for name in runbook.NEEDED if shutil.which(name) is None]
    if missing:
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") else pytest.skip)(f"needs {', '.join(missing)}")

    done = runbook.run(rabbitmq_url)

    assert done.returncode == 0, done.stdout[-5000:]
    assert "0 divergent" in done.stdout
