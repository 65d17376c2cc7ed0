"""The capacity model: its formulas on numbers worked out by hand, and the tables of docs/scaling.md."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.settings import Settings
from benchmarks.capacity import model
from benchmarks.capacity.__main__ import main
from benchmarks.capacity.constants import Bytes, Cost
from benchmarks.capacity.limits import LIMITS, first
from benchmarks.capacity.model import Capacity, Inputs
from benchmarks.capacity.table import number

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
EXAMPLES = re.findall(r"```console\n\$ python -m benchmarks\.capacity ?(.*?)\n(.*?)\n```", PAGE, re.DOTALL)


def printed(arguments):
    """Run the command and return its output; a backslash joins a line with the next."""
    result = CliRunner().invoke(main, shlex.split(arguments.replace("\\\n", "")))
    assert result.exit_code == 0, result.output
    return result.output.rstrip("\n")


@pytest.fixture
def round_constants(monkeypatch):
    """Constants with which one can work things out by hand."""
    costs = {
        "read": Cost(how="", web=1_000, redis=100),
        "cold_read": Cost(how="", web=1_000, redis=1_000, postgresql=2_000),
        "login": Cost(how="", web=100_000),
        "post": Cost(how="", web=2_000, worker=4_000, redis=1_000, postgresql=2_000, rabbitmq=1_000),
        "delivery": Cost(how="", worker=5, redis=4, postgresql=2, rabbitmq=1),
        "follow": Cost(how="", web=3_000, worker=3_000, redis=1_000, postgresql=3_000, rabbitmq=1_000),
        "warm": Cost(how="", worker=600),
    }
    kept = Bytes(entry=10, feed=300, body=400, user=500, follow=100, post=150, post_wal=1_000, follow_wal=2_000)
    monkeypatch.setattr(model, "COSTS", costs)
    monkeypatch.setattr(model, "BYTES", kept)


# 864,000 users, a tenth of them active: 86,400, so that "once a day" is once a second, and at the peak twice.
BY_HAND = Inputs(
    users=864_000,
    active_share=0.1,
    cached_share=0.5,
    reads_per_day=10,
    posts_per_day=1,
    follows_per_day=0.5,
    logins_per_day=0.5,
    cold_share=0.1,
    followees=30,
    author_bias=2,
    tail=1.5,
    top_followers=100_000,
    text_bytes=100,
    days=100,
    peak=2,
    busy=0.5,
    feed_pull_followers=0,
)


@pytest.mark.usefixtures("round_constants")
class TestByHand:
    def test_rates(self):
        rates = Capacity(BY_HAND).rates

        assert rates == pytest.approx(
            {"read": 20, "cold_read": 2, "login": 1, "post": 2, "delivery": 2 * 30 * 2, "follow": 1}
        )

    def test_cores_of_the_web(self):
        # 20 pages of 1 ms, 2 cold ones of 1 ms more, a log-in of 100 ms, 2 posts of 2 ms, a follow of 3 ms: 129 ms
        assert Capacity(BY_HAND).cores["web"] == pytest.approx(0.129 / 0.5)

    def test_cores_of_the_workers(self):
        # 2 posts of 4 ms, 120 deliveries of 5 µs, a follow of 3 ms: 11.6 ms a second
        assert Capacity(BY_HAND).cores["worker"] == pytest.approx(0.0116 / 0.5)

    def test_cores_of_the_servers(self):
        cores = Capacity(BY_HAND).cores

        # Redis: 20 pages of 0.1 ms, 2 rebuilds, 2 posts, a follow of 1 ms each, 120 deliveries of 4 µs
        assert cores["redis"] == pytest.approx(0.00748 / 0.5)
        # PostgreSQL: 2 rebuilds of 2 ms, 2 posts of 2 ms, 120 deliveries of 2 µs, a follow of 3 ms
        assert cores["postgresql"] == pytest.approx(0.01124 / 0.5)
        # RabbitMQ: 2 posts of 1 ms, 120 deliveries of 1 µs, a follow of 1 ms
        assert cores["rabbitmq"] == pytest.approx(0.00312 / 0.5)

    def test_what_a_replica_takes_are_the_rebuilds(self):
        # 2 cold reads and a follow, of 2 ms each
        assert Capacity(BY_HAND).replica_cores == pytest.approx(0.006 / 0.5)

    def test_a_feed_holds_what_its_authors_wrote_up_to_the_cap(self):
        # 30 authors; a tenth of them writes a post on each of 100 days
        assert Capacity(BY_HAND).entries == pytest.approx(300)
        assert Capacity(Inputs(**vars(BY_HAND) | {"feed_cap": 200})).entries == 200

    def test_memory_of_redis(self):
        capacity = Capacity(BY_HAND)

        # 432,000 feeds of 300 + 300 x 10 bytes; 7 days of 86,400 posts of 400 + 100 bytes
        assert capacity.feeds_gb == pytest.approx(432_000 * 3_300 / 1e9)
        assert capacity.bodies_gb == pytest.approx(604_800 * 500 / 1e9)
        assert capacity.redis_gb == pytest.approx(1.728)

    def test_servers_of_redis_by_memory_or_by_cores(self):
        by_memory = Capacity(Inputs(**vars(BY_HAND) | {"redis_node_gb": 0.5}))
        by_cores = Capacity(Inputs(**vars(BY_HAND) | {"busy": 0.005}))

        assert by_memory.redis_nodes == 4  # 1.728 GB
        assert by_cores.redis_nodes == 2  # 0.00748 / 0.005 = 1.5 cores

    def test_size_of_postgresql(self):
        # 864,000 users of 500 bytes and 30 follows of 100; 8.64 million posts of 150 + 100 bytes
        assert Capacity(BY_HAND).database_gb == pytest.approx((864_000 * 3_500 + 8_640_000 * 250) / 1e9)

    def test_what_postgresql_writes(self):
        # 2 posts of 1000 bytes, a follow of 2000
        assert Capacity(BY_HAND).wal_mb_s == pytest.approx(0.004)

    def test_connections_of_postgresql(self):
        # 2 processes with two pools of 8; 2 workers of 4 threads and a relay
        assert Capacity(BY_HAND).connections == 2 * 16 + 2 * 9

    def test_messages(self):
        # 2 posts: an event and a message each; 120 deliveries by two thousand; a follow
        assert Capacity(BY_HAND).messages_s == pytest.approx(2 * 2 + 0.06 + 1)

    def test_the_tail_of_followers(self):
        capacity = Capacity(BY_HAND)

        # least: 30 x (1 - 1/1.5) = 10. Above 1,000: (10 / 1,000)^0.5 = 0.1 of all follows; above 100,000: none.
        assert capacity.share_above(1_000) == pytest.approx(0.1)
        assert capacity.share_above(5) == 1
        assert capacity.share_above(100_000) == 0

    def test_the_most_followed_author_by_the_tail(self):
        # 10 x 1,000,000^(1/1.5) = 100,000; of few users never more than all of them
        of_a_million = Capacity(Inputs(**vars(BY_HAND) | {"users": 1_000_000, "top_followers": 0}))
        of_a_hundred = Capacity(Inputs(**vars(BY_HAND) | {"users": 100, "top_followers": 1_000}))

        assert of_a_million.top_followers == pytest.approx(100_000)
        assert of_a_hundred.top_followers == 100

    def test_pulling_spares_the_deliveries_of_those_above(self):
        capacity = Capacity(Inputs(**vars(BY_HAND) | {"feed_pull_followers": 1_000}))

        assert capacity.rates["delivery"] == pytest.approx(120 * 0.9)
        assert capacity.top_post_s == 0

    def test_the_bulk_queue_has_what_lies_between_the_two_thresholds(self):
        # above 250: 0.2, above 1,000: 0.1
        settings = {"feed_bulk_followers": 250, "feed_pull_followers": 1_000}

        assert Capacity(Inputs(**vars(BY_HAND) | settings)).bulk_share == pytest.approx(0.1)

    def test_until_the_last_follower_has_the_post(self):
        few, many = (Capacity(Inputs(**vars(BY_HAND) | {"bulk_workers": number})) for number in (1, 10))

        assert few.top_post_s == pytest.approx(100_000 * 5e-6)  # the worker
        assert many.top_post_s == pytest.approx(100_000 * 4e-6)  # the one Redis

    def test_warming(self):
        # 864,000 feeds of 600 µs, by 2 processes
        assert Capacity(BY_HAND).warm_min == pytest.approx(864_000 * 600e-6 / 2 / 60)

    def test_the_first_limit_is_the_one_that_is_exceeded_most(self):
        servers = {"redis_node_gb": 0.9, "database_tb": 0.001}  # 1.728 of 0.9 GB, 5.2 of 1 GB

        assert first(Capacity(BY_HAND)) is None
        assert first(Capacity(Inputs(**vars(BY_HAND) | servers))).name == "disk of one PostgreSQL"

    def test_workers_are_as_many_as_have_to_run_a_relay(self, monkeypatch):
        monkeypatch.setattr(model, "RELAY_EVENTS", 1)

        # 3 events a second, where a relay is to take half of one
        assert Capacity(BY_HAND).worker_processes == 6


def test_settings_have_the_service_s_defaults():
    shared = Inputs.__dataclass_fields__.keys() & Settings.__dataclass_fields__.keys()

    assert shared >= {"feed_cap", "post_ttl", "feed_fanout_batch", "feed_bulk_followers", "database_pool_size"}
    for name in shared:
        assert getattr(Inputs(), name) == getattr(Settings, name)


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize(("arguments", "expected"), EXAMPLES)
def test_an_example_of_the_page_is_what_the_command_prints(arguments, expected):
    while arguments.endswith("\\"):
        more, _, expected = expected.partition("\n")
        arguments = arguments[:-1] + more

    assert printed(arguments) == expected


@pytest.mark.parametrize("name", Inputs.__dataclass_fields__)
def test_the_page_says_what_an_input_is_and_its_default(name):
    option, default = f"--{name.replace('_', '-')}", getattr(Inputs(), name)

    assert re.search(rf"^\| `{option}` \| {default} \|", PAGE, re.MULTILINE), option


def test_each_limit_stands_in_the_page():
    for limit in LIMITS:
        assert f"**{limit.name}**" in PAGE, limit.name


def test_json_has_every_size_that_was_asked_for():
    sizes = json.loads(printed("--users 1000 --users 1000000 --json"))

    assert [size["inputs"]["users"] for size in sizes] == [1_000, 1_000_000]
    assert sizes[0]["first_limit"] is None
    assert sizes[0]["limits"].keys() == {limit.name for limit in LIMITS}


def test_help_says_what_each_option_is():
    text = printed("--help")

    assert "--reads-per-day" in text
    assert "pages of the feed" in text


@pytest.mark.parametrize("arguments", ["--users 0", "--busy 2", "--peak many", "--tail 1"])
def test_an_input_that_makes_no_sense_is_refused(arguments):
    result = CliRunner().invoke(main, arguments.split())

    assert result.exit_code == 2
    assert arguments.split()[0] in result.output


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.0001, "<0.01"), (0.123, "0.12"), (3, "3"), (3.14, "3.1"), (31.4, "31"), (31_415.9, "31 400")],
)
def test_a_number_shows_what_counts(value, shown):
    assert number(value) == shown
