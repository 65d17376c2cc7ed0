"""Faults of a PostgreSQL primary and its standby: parted, frozen, restarted, failed over.

Each begins and ends with a standby that streams.
"""

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic

from tests.tools.chaos.model import Failover
from tests.tools.chaos.partitions import WAYS
from tests.tools.chaos.scene import Scene, on_a_whole
from tests.tools.network import Host

LAG_SHARE = 0.1, 0.5  # of a failover's time, in which the standby gets nothing


_on_a_whole_pair = on_a_whole(lambda service: service.pair.wait())


@_on_a_whole_pair
def fail_over(scene: Scene) -> None:
    """Promote a standby that lacks the last commits.

    The old primary crashed, or no host reaches it. It comes back as a standby.
    """
    pair, network, model = scene.service.pair, scene.service.network, scene.world.model
    old, others = pair.primary, [host for host in network.hosts.values() if host != pair.primary.host]
    with ExitStack() as dark:
        dark.enter_context(network.parted(old.host, [pair.standby.host]))
        scene.wait(scene.seconds * scene.random.uniform(*LAG_SHARE))
        if scene.random.random() < 0.5:
            old.stop(signal.SIGQUIT)
        else:
            dark.enter_context(network.parted(old.host, others))
        failover = Failover(pair.safe_at(), monotonic())
        model.failed_over(failover)
        pair.promote()
        failover.served_at = monotonic()
        scene.wait()
        old.stop(signal.SIGQUIT)
    old.copy(pair.primary)


@_on_a_whole_pair
def freeze(scene: Scene) -> None:
    with scene.service.pair.primary.frozen():
        scene.wait()


@_on_a_whole_pair
def restart(scene: Scene) -> None:
    """Stop the primary, in order or not, and start it again."""
    primary = scene.service.pair.primary
    primary.stop(scene.random.choice((signal.SIGINT, signal.SIGQUIT)))
    scene.wait()
    primary.start()


@_on_a_whole_pair
def cut_standby(scene: Scene) -> None:
    _cut(scene, [scene.service.pair.standby.host])


@_on_a_whole_pair
def cut_web(scene: Scene) -> None:
    _cut(scene, [scene.service.network.here])


@_on_a_whole_pair
def cut_worker(scene: Scene) -> None:
    _cut(scene, [scene.service.network.hosts["worker"]])


def _cut(scene: Scene, others: Sequence[Host]) -> None:
    """Part the primary from these, both ways or one of them."""
    sends, receives = scene.random.choice(WAYS)
    with scene.service.network.parted(scene.service.pair.primary.host, others, sends=sends, receives=receives):
        scene.wait()
