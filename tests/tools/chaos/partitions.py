"""Faults of a group of Redis servers on hosts: cut from each other, frozen, killed, failed over on purpose.

Each begins and ends with a group that is whole.
"""

from collections.abc import Sequence
from contextlib import suppress

import redis

from tests.tools.chaos.scene import Scene, on_a_whole
from tests.tools.network import Host
from tests.tools.redis_groups import Server

WAYS = (True, True), (True, False), (False, True)  # whether the one sends, and receives


_on_a_whole_group = on_a_whole(lambda service: service.group.wait())


@_on_a_whole_group
def cut_primary(scene: Scene) -> None:
    """Part a primary from all others, but not from the service: it may go on taking writes."""
    primary = _primary(scene).host
    _cut(scene, primary, [host for host in scene.service.group.hosts if host != primary])


@_on_a_whole_group
def cut_pair(scene: Scene) -> None:
    """Part two hosts, the web's and the worker's among them."""
    one, other = scene.random.sample(_hosts(scene), 2)
    _cut(scene, one, [other])


@_on_a_whole_group
def cut_worker(scene: Scene) -> None:
    """Part the worker from Redis, or from RabbitMQ, while the web has all."""
    network = scene.service.network
    others = scene.random.choice((scene.service.group.hosts, [network.here]))
    _cut(scene, network.hosts["worker"], others)


@_on_a_whole_group
def flap(scene: Scene) -> None:
    """Lose and delay packets between a host and all others."""
    one = scene.random.choice(_hosts(scene))
    others = [host for host in _hosts(scene) if host != one]
    scene.service.network.flap(one, others, lambda: scene.is_over, scene.random)


@_on_a_whole_group
def freeze(scene: Scene) -> None:
    with _primary(scene).frozen():
        scene.wait()


@_on_a_whole_group
def kill(scene: Scene) -> None:
    primary = _primary(scene)
    primary.kill()
    scene.wait()
    primary.start()


@_on_a_whole_group
def fail_over(scene: Scene) -> None:
    with suppress(redis.ResponseError):  # one is under way
        scene.service.group.fail_over()
    scene.wait()


def _hosts(scene: Scene) -> list[Host]:
    """Return the hosts of Redis, the web and the worker. For PostgreSQL there are other faults."""
    network = scene.service.network
    return [*scene.service.group.hosts, network.here, network.hosts["worker"]]


def _primary(scene: Scene) -> Server:
    return scene.random.choice(scene.service.group.primaries())


def _cut(scene: Scene, one: Host, others: Sequence[Host]) -> None:
    """Cut both ways, or one of them."""
    sends, receives = scene.random.choice(WAYS)
    with scene.service.network.parted(one, others, sends=sends, receives=receives):
        scene.wait()
