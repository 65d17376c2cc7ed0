"""Feeds end exactly as SQL says, after any interleaving, repetition, loss or crash.

LENTA_EXAMPLES=2500 LENTA_STEPS=50 pytest tests/system/protocol/test_machine.py    for a long run
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from app.redis.client import is_cluster
from tests.tools.protocol.machine import Stage, on

EXAMPLES = int(os.environ.get("LENTA_EXAMPLES", "50"))
ROUNDS = 5  # at most, until a feed was merged with the lists of pulled authors: in a short one there may be none
STEPS = int(os.environ.get("LENTA_STEPS", "40"))


def test_every_feed_ends_as_sql_says(stage: Stage) -> None:
    examples = EXAMPLES // 4 if is_cluster() else EXAMPLES
    profile = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    for _ in range(ROUNDS):
        run_state_machine_as_test(on(stage), settings=profile)
        if stage.pulled or examples < EXAMPLES:
            break

    assert stage.pulled > 0 or examples < EXAMPLES, "no author was pulled at any quiet moment"
    print(f"{stage.pulled} merged feeds in {stage.examples} examples")  # noqa: T201
