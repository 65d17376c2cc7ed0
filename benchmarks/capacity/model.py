"""The capacity model, from user behaviour to server load: inputs, formulas, results.

Followers have a heavy tail: a Pareto distribution whose mean is that of followees, because every follow is one of both.
Its least is mean * (1 - 1/tail); of all follows, the share that goes to authors above F followers is
(least / F)^(tail - 1).
"""

from dataclasses import dataclass, field, fields
from functools import cached_property
from math import ceil
from typing import Any

from benchmarks.capacity.constants import BYTES, COSTS, PROGRAMS, RELAY_EVENTS

DAY = 86_400
GB = 10**9


def _input(default: float, help_: str, *, least: float = 0, most: float = float("inf")) -> Any:
    return field(default=default, metadata={"help": help_, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs: user behaviour, settings and servers. Each is an option of the command."""

    users: int = _input(1_000_000, "registered users", least=100, most=10**10)
    active_share: float = _input(0.2, "share of users active per day", most=1)
    cached_share: float = _input(0.5, "share of users with a feed in Redis (active within FEED_TTL)", most=1)
    reads_per_day: float = _input(20, "pages of the feed that an active user reads a day")
    posts_per_day: float = _input(0.5, "posts that an active user writes a day")
    follows_per_day: float = _input(0.2, "follows and unfollows of an active user a day")
    logins_per_day: float = _input(1, "log-ins of an active user a day: as JWT_TTL has it")
    cold_share: float = _input(0.005, "share of reads that find their feed cold", most=1)
    followees: float = _input(50, "authors that a user follows, mean; so of followers too", least=1)
    author_bias: float = _input(2, "followers of a post's author relative to the mean, as popular authors write more")
    tail: float = _input(
        1.5, "exponent of the tail of followers; the nearer to 1, the larger the celebrities", least=1.05
    )
    top_followers: int = _input(0, "followers of the most followed author; 0: as the tail has it")
    text_bytes: float = _input(200, "bytes of a post's text, mean")
    days: float = _input(365, "days that posts have been kept", least=1)
    peak: float = _input(3, "the busiest minute beside the mean of a day", least=1)
    busy: float = _input(0.6, "how busy a core is meant to be at the peak", least=0.01, most=1)
    feed_cap: int = _input(1000, "FEED_CAP", least=1, most=5000)
    post_ttl: int = _input(7 * DAY, "POST_TTL", least=1)
    feed_fanout_batch: int = _input(2000, "FEED_FANOUT_BATCH", least=1, most=10_000)
    feed_bulk_followers: int = _input(10_000, "FEED_BULK_FOLLOWERS", least=1)
    feed_pull_followers: int = _input(0, "FEED_PULL_FOLLOWERS; 0 disables pulling")
    database_pool_size: int = _input(8, "DATABASE_POOL_SIZE, twice for the posts of a web process", least=1)
    worker_threads: int = _input(4, "threads of a worker", least=1)
    redis_node_gb: float = _input(32, "memory of a Redis server that is given to feeds and bodies, GB", least=0.01)
    database_cores: int = _input(32, "cores of a PostgreSQL server", least=1)
    database_tb: float = _input(4, "disk of a PostgreSQL server, TB", least=0.01)
    broker_cores: int = _input(4, "cores that RabbitMQ makes use of: each of its queues has one", least=1)
    connections: int = _input(500, "connections that a PostgreSQL server bears", least=1)
    patience: float = _input(60, "seconds until a post may be with the last follower of the most followed", least=1)
    bulk_workers: int = _input(2, "worker-bulk processes, which do that", least=1)


DEFAULTS = {each.name: each.default for each in fields(Inputs)}


class Capacity:
    """Requirements at the peak. Every figure is a formula over `inputs`; names include the unit."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    # Operations per second at the peak.

    def _peak(self, per_active_user_and_day: float) -> float:
        return self.inputs.users * self.inputs.active_share * per_active_user_and_day / DAY * self.inputs.peak

    @cached_property
    def rates(self) -> dict[str, float]:
        """Actions a second at the peak, by the names of COSTS."""
        inputs = self.inputs
        posts, reads = self._peak(inputs.posts_per_day), self._peak(inputs.reads_per_day)
        return {
            "read": reads,
            "cold_read": reads * inputs.cold_share,
            "login": self._peak(inputs.logins_per_day),
            "post": posts,
            "delivery": posts * inputs.followees * inputs.author_bias * (1 - self.pulled_share),
            "follow": self._peak(inputs.follows_per_day),
        }

    @property
    def pulled_share(self) -> float:
        """Share of deliveries that pulling saves."""
        return self.share_above(self.inputs.feed_pull_followers) if self.inputs.feed_pull_followers else 0.0

    @property
    def bulk_share(self) -> float:
        """Share of deliveries that go through the bulk queue."""
        return max(0.0, self.share_above(self.inputs.feed_bulk_followers) - self.pulled_share)

    def share_above(self, followers: float) -> float:
        """Share of follows that go to authors above so many followers."""
        if followers >= self.top_followers:
            return 0.0
        return min(1.0, float((self._least_followers / followers) ** (self.inputs.tail - 1)))

    @property
    def _least_followers(self) -> float:
        return self.inputs.followees * (1 - 1 / self.inputs.tail)

    @property
    def top_followers(self) -> float:
        """Estimate the largest of `draws` from the tail, at most all users."""
        expected = self._least_followers * float(self.inputs.users ** (1 / self.inputs.tail))
        return min(self.inputs.top_followers or expected, self.inputs.users)

    # Cores.

    @cached_property
    def cores(self) -> dict[str, float]:
        """Cores by program, `busy` at the peak."""
        return {
            program: sum(rate * COSTS[action].of(program) for action, rate in self.rates.items())
            / 1e6
            / self.inputs.busy
            for program in PROGRAMS
        }

    @property
    def replica_cores(self) -> float:
        """PostgreSQL's cores for reads that build feeds, which a replica can take over."""
        builds = self.rates["cold_read"] + self.rates["follow"]
        return builds * COSTS["cold_read"].postgresql / 1e6 / self.inputs.busy

    @property
    def web_processes(self) -> int:
        return max(2, ceil(self.cores["web"]))

    @property
    def worker_processes(self) -> int:
        """By cores, or as many as have to run a relay."""
        events = self.rates["post"] + self.rates["follow"]
        return max(2, ceil(self.cores["worker"]), ceil(events / RELAY_EVENTS / self.inputs.busy))

    # Redis.

    @property
    def entries(self) -> float:
        """Posts in a feed: those of the followees, up to the cap."""
        written = self.inputs.followees * self.inputs.active_share * self.inputs.posts_per_day * self.inputs.days
        return min(self.inputs.feed_cap, written)

    @property
    def feeds_gb(self) -> float:
        feeds = self.inputs.users * self.inputs.cached_share
        return feeds * (BYTES.feed + self.entries * BYTES.entry) / GB

    @property
    def bodies_gb(self) -> float:
        posts = self._posts_a_day * min(self.inputs.post_ttl / DAY, self.inputs.days)
        return posts * (BYTES.body + self.inputs.text_bytes) / GB

    @property
    def redis_gb(self) -> float:
        return self.feeds_gb + self.bodies_gb

    @property
    def redis_nodes(self) -> int:
        """By memory or by cores, whichever needs more: a Redis server has one core for commands."""
        return max(1, ceil(self.redis_gb / self.inputs.redis_node_gb), ceil(self.cores["redis"]))

    # PostgreSQL.

    @property
    def _posts_a_day(self) -> float:
        return self.inputs.users * self.inputs.active_share * self.inputs.posts_per_day

    @property
    def database_gb(self) -> float:
        users = self.inputs.users * (BYTES.user + self.inputs.followees * BYTES.follow)
        return (users + self._posts_a_day * self.inputs.days * (BYTES.post + self.inputs.text_bytes)) / GB

    @property
    def wal_mb_s(self) -> float:
        rates = self.rates
        return (rates["post"] * BYTES.post_wal + rates["follow"] * BYTES.follow_wal) / 1e6

    @property
    def connections(self) -> int:
        """To the database of posts, at most. A worker has two for each thread, and one for its relay."""
        web = 2 * self.inputs.database_pool_size
        return self.web_processes * web + self.worker_processes * (2 * self.inputs.worker_threads + 1)

    # RabbitMQ.

    @property
    def messages_s(self) -> float:
        """Messages, at most: one per event, one batch of deliveries per post, and one more per full batch."""
        rates = self.rates
        return 2 * rates["post"] + rates["delivery"] / self.inputs.feed_fanout_batch + rates["follow"]

    # Durations.

    @property
    def top_post_s(self) -> float:
        """Until the most followed author's post is with the last follower: the bulk queue's workers or Redis, whichever
        is slower."""
        if 0 < self.inputs.feed_pull_followers < self.top_followers:
            return 0.0
        delivery = COSTS["delivery"]
        slowest = max(delivery.worker / self.inputs.bulk_workers, delivery.redis / self.redis_nodes)
        return self.top_followers * slowest / 1e6

    @property
    def warm_min(self) -> float:
        """Minutes to warm every feed, by as many processes as the workers'."""
        return self.inputs.users * COSTS["warm"].worker / 1e6 / self.worker_processes / 60
