"""The schedule of faults, a function of the seed."""

from collections.abc import Iterator, Sequence
from random import Random

from tests.tools.chaos.faults import KINDS, Planned

GAP_SECONDS = 0.5, 2.5  # between the starts of two faults
AT_ONCE = 2
LONG_SHARE = 0.15  # of the faults, where long ones are wanted


def deck(seed: int, number: int, kinds: Sequence[str]) -> list[str]:
    """`number` kinds, shuffled so that each comes as often as any other."""
    drawn: list[str] = []
    random = Random(f"{seed} deck")
    while len(drawn) < number:
        drawn += random.sample(kinds, len(kinds))
    return drawn[:number]


def plan(random: Random, kinds: Sequence[str], *, long_ones: bool) -> list[Planned]:
    """Schedule a fault of each kind, at most two at once on different servers."""
    planned: list[Planned] = []
    start = 0.0
    for kind in kinds:
        start = _free_from(planned, kind, start + random.uniform(*GAP_SECONDS))
        shortest, longest, longer = KINDS[kind].seconds
        is_long = long_ones and random.random() < LONG_SHARE
        planned.append(Planned(start, kind, longer if is_long else random.uniform(shortest, longest)))
    return planned


def _free_from(planned: Sequence[Planned], kind: str, start: float) -> float:
    """The first moment from `start` when `kind` may begin."""
    for moment in sorted([start, *(fault.end for fault in planned if fault.end > start)]):
        under_way = [fault for fault in planned if fault.start <= moment < fault.end]
        if len(under_way) < AT_ONCE and not any(_collide(kind, fault.kind) for fault in under_way):
            return moment
    raise AssertionError("after the last end everything is free")


def _collide(one: str, other: str) -> bool:
    return KINDS[one].target == KINDS[other].target


def due(random: Random, number: int, seconds: float, burst: int) -> Iterator[float]:
    """Schedule `number` operations in bursts over `seconds`."""
    bursts = max(1, -(-number // burst))
    for index in range(number):
        if index % burst == 0:
            moment = seconds * (index // burst + random.random()) / bursts
        yield moment
