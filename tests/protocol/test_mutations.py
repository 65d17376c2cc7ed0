"""Each protection of the protocol is needed, and the machine sees it: without it, it finds a feed that is wrong.

`make mutations` breaks all of them, for some minutes; LENTA_SEED=7 begins elsewhere.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import initialize, run_state_machine_as_test
from sqlalchemy import text

from app.db import POSTS, commit
from app.db import run as execute
from app.feed import authored, follows, pulling, scripts, service, warming
from app.posts import service as posts
from app.redis import client
from tests.protocol.machine import ALL, Protocol, Stage, Violation, on, pair, user

EXAMPLES = 10_000  # at most
STEPS = 8  # more would mend what the first broke
SEED = int(os.environ.get("LENTA_SEED", "1"))

Patch = pytest.MonkeyPatch


class Dense(Protocol):
    """The machine where much happens to the same few feeds: all follow all, all are warm. Two writes are about to
    commit, and the newest post is about to be delivered.

    Without what makes feeds cold or builds them anew, because such a feed forgets how it went wrong.
    """

    open_runs = 8
    deaths = 0.2
    changes = 0.3
    strides = (1,)
    lose_feed = lose_lease = lose_body = go_back_in_time = save_snapshot = watch = None
    give_up = ask_for_warming = read = edit = quiet_now = lose_authors_list = pull_above = None

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        self.publish(old_author, late=True)  # older than what all feeds have
        for author in self.users:
            for follower in self.users:
                if follower != author:
                    posts.follow(follower, author)
            self.posts.append((posts.publish(author, "first"), author))
        execute(POSTS, text("DELETE FROM outbox"))
        for user_id in self.users:
            service.rebuild(user_id)
        commit()
        self.publish(pair[1], late=False)
        self.relay(ALL)
        self.handle(0, ALL)  # its fan-out
        self.unfollow(pair, late=True)


class Rising(Dense):
    """The same where an author has just begun to be promoted. All have a list of their own from an earlier time."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        for author in self.users:
            authored.rebuild(author)
        commit()
        Dense.begin(self, old_author=old_author, pair=pair)
        self.stage.pull_above(1)
        self._post(pair[1])  # a turn begins

    def _post(self, author: int) -> None:
        self.publish(author, late=False)
        self.relay(ALL)
        self.handle_again(len(self.bag.messages) - 1, ALL)


class Falling(Rising):
    """The same where the author was promoted, has written since, and has just begun to be demoted."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Rising.begin(self, old_author=old_author, pair=pair)
        self._settle(Random(SEED))
        self._post(pair[1])
        self.stage.pull_above(0)
        self._post(pair[1])


def without_check_after_push(patch: Patch) -> None:
    patch.setattr(service, "withdraw", lambda *_: None)


def without_lease(patch: Patch) -> None:
    _cut(patch, "commit", "if redis.call('GET', KEYS[2]) ~= ARGV[1] then\n  return 0\nend\n")


def without_lease_dropped_by_push_out_of_order(patch: Patch) -> None:
    _cut(patch, "push", "  redis.call('DEL', feed .. ':lease')\n  if not place", "  if not place")


def without_lease_dropped_by_remove(patch: Patch) -> None:
    _cut(patch, "remove", "  redis.call('DEL', feed .. ':lease')\n")


def without_ids_in_the_message(patch: Patch) -> None:
    """`deliver` goes to those who follow now, whoever followed when it was sent."""
    deliver = service.deliver

    def to_present_followers(op: str, post_id: int, author_id: int, _: Sequence[int]) -> None:
        deliver(op, post_id, author_id, follows.followers(author_id, 0, 1000))

    patch.setattr(service, "deliver", to_present_followers)


def without_cold_authors_list(patch: Patch) -> None:
    """A list from an earlier time is gone on with."""
    patch.setattr(pulling.authored, "make_cold", lambda _: None)


def without_renewal_on_the_way_down(patch: Patch) -> None:
    """Pushed again, while the feeds still lack what was pulled."""
    renew = warming.renew

    def renew_on_the_way_up(user_ids: Sequence[int]) -> None:
        if service.settings().feed_pull_followers:
            renew(user_ids)

    patch.setattr(warming, "renew", renew_on_the_way_up)


def _cut(patch: Patch, name: str, old: str, new: str = "") -> None:
    """Run the script `name` with `old` replaced."""
    source = (Path(scripts.__file__).parent / "lua" / f"{name}.lua").read_text()
    assert source.count(old) == 1, f"{name}.lua has changed: the mutation must, too"
    mutant = client().register_script(source.replace(old, new))
    real = scripts._script
    patch.setattr(scripts, "_script", lambda wanted: mutant if wanted == name else real(wanted))


@pytest.mark.parametrize(
    ("break_it", "machine"),
    [
        (without_check_after_push, Dense),
        pytest.param(without_lease, Dense, marks=pytest.mark.slow),
        pytest.param(without_lease_dropped_by_push_out_of_order, Dense, marks=pytest.mark.slow),
        pytest.param(without_lease_dropped_by_remove, Dense, marks=pytest.mark.slow),
        pytest.param(without_ids_in_the_message, Dense, marks=pytest.mark.slow),
        (without_cold_authors_list, Rising),
        pytest.param(without_renewal_on_the_way_down, Falling, marks=pytest.mark.slow),
    ],
)
def test_a_protocol_without_a_protection_is_found_wrong(
    stage: Stage, monkeypatch: Patch, break_it: Callable[[Patch], None], machine: type[Protocol]
):
    break_it(monkeypatch)
    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # found is enough, nobody reads the shortest story
        suppress_health_check=list(HealthCheck),
    )

    with pytest.raises((Violation, Flaky)):  # ids differ when hypothesis tries again, so it may turn out well
        run_state_machine_as_test(seed(SEED)(on(stage, machine)), settings=profile)

    assert stage.found
    print(stage.found)  # noqa: T201
