"""Every benchmark, in the order of the table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import (
    committing,
    delivering,
    following,
    live,
    pulling,
    reading,
    reading_busy,
    rebuilding,
    redis_lists,
    writing,
)
from benchmarks.comparison import Contest
from benchmarks.environment import Stage


@dataclass(frozen=True)
class Benchmark:
    """`contests` prepares a contest, yields it to be run, and cleans up."""

    number: str
    name: str
    contests: Callable[[Stage], Iterator[Contest]]


CATALOG = (
    Benchmark("1", "read", reading.read),
    Benchmark("1a", "read-logged", reading.read_logged),
    Benchmark("1b", "read-memory", reading.read_memory),
    Benchmark("2", "read-sql", reading.read_sql),
    Benchmark("2a", "read-busy", reading_busy.read_busy),
    Benchmark("3", "deliver", delivering.deliver),
    Benchmark("4", "deliver-plain", delivering.deliver_plain),
    Benchmark("5", "push", redis_lists.push),
    Benchmark("6", "memory", redis_lists.memory),
    Benchmark("7", "warm", rebuilding.warm),
    Benchmark("8a", "rebuild", rebuilding.average),
    Benchmark("8b", "rebuild-heavy", rebuilding.heavy),
    Benchmark("9", "publish", writing.publish),
    Benchmark("10", "visible", writing.visible),
    Benchmark("11", "scale", delivering.scale),
    Benchmark("12", "depth", reading.depth),
    Benchmark("13", "pull", pulling.pull),
    Benchmark("14", "follow", following.follow),
    Benchmark("15", "live", live.live),
    Benchmark("16", "create", committing.posts),
    Benchmark("17", "commit", committing.commits),
)
