"""Feeds end exactly as SQL says, whatever is interleaved, repeated, lost, or dies half-way.

LENTA_EXAMPLES=2500 LENTA_STEPS=50 pytest tests/protocol/test_machine.py    for a long run
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from app.redis import is_cluster
from tests.protocol.machine import Stage, on

EXAMPLES = int(os.environ.get("LENTA_EXAMPLES", "80"))
STEPS = int(os.environ.get("LENTA_STEPS", "40"))


def test_every_feed_ends_as_sql_says(stage: Stage) -> None:
    profile = settings(
        max_examples=EXAMPLES // 4 if is_cluster() else EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    run_state_machine_as_test(on(stage), settings=profile)

    assert stage.pulled > 0, "nobody was pulled at any quiet point"
    print(f"{stage.pulled} merged feeds in {stage.examples} examples")  # noqa: T201
