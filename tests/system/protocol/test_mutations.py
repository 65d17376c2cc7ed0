"""Each protection of the protocol is needed, and the machine sees it: without it, it finds a feed that is wrong.

`make mutations` breaks all of them, for some minutes; LENTA_SEED=7 begins elsewhere.
"""

import os
import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from dramatiq.errors import Retry
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import initialize, rule, run_state_machine_as_test
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed import deliver, lua, suspend
from app.feed.cache import owed_checks, post_bodies, timeline
from app.feed.live import log
from app.feed.maintenance import trust, warm
from app.feed.rebuild import rebuild, rebuild_author
from app.posts import gone, store, suspensions
from app.posts import service as posts
from app.redis.client import client
from app.users import accounts
from tests.tools.protocol.machine import (
    ALL,
    FOLLOWEES,
    USERS,
    Protocol,
    Stage,
    Violation,
    on,
    pair,
    publish,
    trips,
    user,
)

EXAMPLES = 10_000  # at most
STEPS = 8  # more would repair the damage of the first
SEED = int(os.environ.get("LENTA_SEED", "1"))

Patch = pytest.MonkeyPatch


def _begin_with_a_post(machine: Protocol, pair: tuple[int, int]) -> int:
    """Let the first follow the second, who has a post. Returns the first; the feed is warm and nothing is pending."""
    reader, author = (machine.users[n] for n in pair)
    posts.follow(reader, author)
    machine.posts.append((publish(author), author))
    execute(POSTS, text("DELETE FROM outbox"))
    rebuild(reader)
    commit()
    return reader


class Dense(Protocol):
    """The machine concentrated on few warm feeds, with two pending commits and one pending delivery.

    Without operations that evict or rebuild feeds, because these hide the failure.
    """

    open_runs = 8
    deaths = 0.2
    changes = 0.3
    strides = (1,)
    lose_feed = lose_lease = lose_body = go_back_in_time = save_snapshot = watch = None
    give_up = ask_for_warming = read = edit = quiet_now = lose_authors_list = pull_above = None
    poll = lose_log = delete_account = lose_commits = mark_seen = None
    suspend = restore = None

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        self.publish(old_author, late=True)  # older than all feeds' posts
        for author in self.users:
            for follower in self.users:
                if follower != author:
                    posts.follow(follower, author)
            self.posts.append((publish(author), author))
        execute(POSTS, text("DELETE FROM outbox"))
        for user_id in self.users:
            rebuild(user_id)
        commit()
        self.publish(pair[1], late=False)
        self.relay(ALL)
        self.handle(0, ALL)  # its fan-out
        self.unfollow(pair, late=True)


class Rising(Dense):
    """The same, with an author at the start of a promotion. All have an older list."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        for author in self.users:
            rebuild_author(author)
        commit()
        Dense.begin(self, old_author=old_author, pair=pair)
        self.stage.pull_above(1)
        self._post(pair[1])  # a turn begins

    def _post(self, author: int) -> None:
        self.publish(author, late=False)
        self.relay(ALL)
        self.handle_again(len(self.bag.messages) - 1, ALL)


class Falling(Rising):
    """The same, with an author at the start of a demotion."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Rising.begin(self, old_author=old_author, pair=pair)
        self._settle(Random(SEED))
        self._post(pair[1])
        self.stage.pull_above(0)
        self._post(pair[1])


class Restless(Dense):
    """The same where one person follows and unfollows all the time."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        self.restless = pair[0]
        for _ in range(2):
            self.change(pair[1], late=False)
        self.relay(ALL)

    @rule(followee=user, late=st.booleans())
    def change(self, followee: int, late: bool) -> None:
        """Follow, or follow no more."""
        reader, author = self.users[self.restless], self.users[followee]
        if reader != author:
            follows_now = author in execute(POSTS, FOLLOWEES, {"user_id": reader}).scalars()
            commit()
            change = posts.unfollow if follows_now else posts.follow
            self._write(lambda: change(reader, author), late, frozenset((self.restless, followee)))


class Leaving(Dense):
    """The same with a deleted post and then a deleted account, during a rebuild."""

    delete_account = Protocol.delete_account

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        reader, author = pair
        Protocol.rebuild(self, reader, 3)  # taken, begun, read
        self.delete(len(self.posts) - 1, late=False)
        self.delete_account(author, late=False)


class Suspended(Dense):
    """The same with an author who is suspended during the rebuild of a cold feed."""

    suspend, restore = Protocol.suspend, Protocol.restore

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        reader = next(user for user in range(USERS) if user not in pair)
        Protocol.lose_feed(self, reader)
        Protocol.rebuild(self, reader, 4)  # taken, begun, leased, read
        self.suspend(pair[1], late=False)
        self.relay(ALL)
        self._suspension_changed(ALL)
        self.relay(ALL)

    def _suspension_changed(self, trips: int) -> None:
        [message] = [each for each in self.bag.messages if each.message.actor_name == "suspension_changed"]
        self._handle(message, trips)


class Restored(Suspended):
    """The same with an author who is restored during the message of the suspension."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        self.suspend(pair[1], late=False)
        self.relay(ALL)
        self._suspension_changed(2)  # taken, asked
        self.restore(pair[1], late=False)
        self.relay(ALL)


class Frozen(Dense):
    """The same with a worker frozen before its push. Its message was given to another."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        for pick in range(2):
            self.handle_frozen(pick, 2)


class FrozenLater(Dense):
    """The same with it frozen before a removal. The user then follows again."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        self._advance(self.runs[-1], ALL)  # the unfollow
        for pick in range(2):
            self.handle_frozen(pick, 4)  # taken, begun, pushed, checked
        self.follow(pair, late=False)


class FrozenClaim(Restless):
    """The same with a worker killed after a late claim. Another rebuilds the feed."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Restless.begin(self, old_author=old_author, pair=pair)
        self._advance(self.runs[-1], ALL)  # the unfollow
        self.relay(ALL)
        self.change(pair[1], late=False)
        self.relay(ALL)
        first, second = [each for each in self.bag.messages if each.message.actor_name == "follows_changed"]
        self._start(lambda: self.bag.handle(first.message), 2)  # taken, begun
        frozen = self.runs[-1]
        self._handle(first, ALL)
        self._handle(second, 4)  # taken, begun, claimed, read
        self._advance(frozen, 1)  # claimed
        self._die(frozen)


class FrozenAlone(Dense):
    """The same with an author of one follower: the worker that is frozen handles the post, not a delivery."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        _begin_with_a_post(self, pair)
        self.publish(pair[1], late=False)
        self.relay(ALL)
        self.unfollow(pair, late=True)
        self.handle_frozen(0, 3)  # taken, begun, planned


class Saved(Dense):
    """The same with a snapshot of Redis, to which it goes back at the end."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        Protocol.save_snapshot(self)

    go_back_in_time = Protocol.go_back_in_time


class Watched(Dense):
    """The same where everybody has a client, connected from the beginning."""

    poll = Protocol.poll
    edit = Protocol.edit

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Dense.begin(self, old_author=old_author, pair=pair)
        for live in self.clients.values():
            live.poll()


class WatchedFrozen(Watched):
    """The same with a worker frozen before its push. The reader follows the author no more."""

    @initialize(old_author=user, pair=pair)
    def begin(self, old_author: int, pair: tuple[int, int]) -> None:
        Watched.begin(self, old_author=old_author, pair=pair)
        for pick in range(2):
            self.handle_frozen(pick, 2)
        self._advance(self.runs[0], ALL)  # the unfollow


class Behind(Dense):
    """The same with a posts database that is promoted without the last commits."""

    lose_commits = Protocol.lose_commits


class Cold(Dense):
    """The same where feeds are lost."""

    lose_feed = Protocol.lose_feed


class Edited(Protocol):
    """The machine where a post is edited while a reader is about to cache it."""

    open_runs = 8
    deaths = 0.2
    changes = 0.3
    strides = (1,)
    lose_feed = lose_lease = lose_authors_list = go_back_in_time = save_snapshot = watch = None
    give_up = ask_for_warming = pull_above = follow = unfollow = rebuild = publish = read = quiet_now = None
    poll = lose_log = delete_account = lose_commits = mark_seen = None
    suspend = restore = None

    @initialize(pair=pair)
    def begin(self, pair: tuple[int, int]) -> None:
        self.reader = _begin_with_a_post(self, pair)
        self.read_first(5)  # the text before the edit
        self.edit(0, late=False)
        self.relay(ALL)

    @rule(trips=trips)
    def read_first(self, trips: int) -> None:
        self._start(lambda: self._read(self.reader, 0, 1, None, None), trips)


def without_note_of_a_push(patch: Patch) -> None:
    _cut(patch, "push", "owe(ARGV[1], ARGV[2], ARGV[3])\n")


def without_note_of_a_removal(patch: Patch) -> None:
    _cut(patch, "remove", "owe(ARGV[1], ARGV[2], ARGV[3])\n")


def without_note_of_a_claim(patch: Patch) -> None:
    _cut(patch, "claim", "owe(KEYS[4], ARGV[8], ARGV[9])\n")


def without_comparison_of_servers(patch: Patch) -> None:
    patch.setattr(trust, "is_trusted", lambda: True)


def without_identity_of_sql(patch: Patch) -> None:
    patch.setattr(trust, "sql_of", lambda _: set())


def without_token_in_put(patch: Patch) -> None:
    """A body is put, whichever lease is there or none."""
    old = "if redis.call('TYPE', KEYS[1]).ok ~= 'list' or redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then"
    _cut(patch, "put_body", old, "if false then")


def without_lease_taken_by_edit(patch: Patch) -> None:
    patch.setattr(post_bodies, "refresh", post_bodies.fill)


def without_lease_dropped_by_erase(patch: Patch) -> None:
    _cut(patch, "erase", "  redis.call('DEL', feed .. ':lease')\n")


def without_note_of_a_deletion(patch: Patch) -> None:
    """The erasure does not know posts that were deleted just before."""
    delete = text("DELETE FROM posts WHERE id = :id")
    patch.setattr(store, "delete_post", lambda post_id: execute(POSTS, delete, {"id": post_id}))


def without_tombstone_for_rebuilds(patch: Patch) -> None:
    patch.setattr(gone, "gone_among", lambda _: set())


def without_eviction_after_a_suspension(patch: Patch) -> None:
    patch.setattr(suspend, "evict_followers", lambda *_: None)


def without_lease_dropped_by_an_eviction(patch: Patch) -> None:
    patch.setattr(timeline.HOME, "evict", lambda users: [client().delete(timeline.HOME.key(each)) for each in users])


def without_lock_before_the_question(patch: Patch) -> None:
    """Ask the users database who is suspended, and lock then."""
    lock, is_suspended = suspensions.lock, accounts.is_suspended

    def ask_and_lock(user_id: int) -> bool | None:
        found = is_suspended(user_id)
        if not lock(user_id):
            raise Retry(delay=100)
        return found

    patch.setattr(suspensions, "lock", lambda _: True)
    patch.setattr(accounts, "is_suspended", ask_and_lock)


def without_check_after_push(patch: Patch) -> None:
    patch.setattr(deliver, "remove_from_non_followers", lambda *_: None)


def without_lease(patch: Patch) -> None:
    _cut(patch, "commit", "if redis.call('GET', KEYS[2]) ~= ARGV[1] then\n  return 0\nend\n")


def without_lease_dropped_by_push_out_of_order(patch: Patch) -> None:
    _cut(patch, "push", "  call('DEL', feed .. ':lease')\n  if not place", "  if not place")


def without_lease_dropped_by_remove(patch: Patch) -> None:
    _cut(patch, "remove", "  redis.call('DEL', feed .. ':lease')\n")


def without_cold_authors_list(patch: Patch) -> None:
    """A list from an earlier time is gone on with."""
    patch.setattr(timeline.AUTHOR, "evict", lambda _: None)


def without_renewal_on_the_way_down(patch: Patch) -> None:
    """Fan out again before the feeds contain the pulled posts."""
    renew = warm.rebuild_warm

    def renew_on_the_way_up(user_ids: Sequence[int]) -> None:
        if settings().feed_pull_followers:
            renew(user_ids)

    patch.setattr(warm, "rebuild_warm", renew_on_the_way_up)


def without_end_of_the_claim(patch: Patch) -> None:
    """A message gives way to one that has begun to read SQL."""
    _cut(patch, "claim", "redis.call('HDEL', claim, 'message')")


def without_messages_that_are_postponed(patch: Patch) -> None:
    patch.setattr(sys.modules["workers.actors"], "put_back", lambda *_: None)


def without_order_of_push_and_event(patch: Patch) -> None:
    """Say that a post is there before it is."""
    push, append = owed_checks.push, log.append

    def append_and_push(follower_ids: Sequence[int], post_id: int, author_id: int, question: Any) -> Any:
        append(log.POSTED, post_id=post_id, reader_ids=follower_ids)
        return push(follower_ids, post_id, author_id, question)

    _append_unless(patch, lambda op, about: op == log.POSTED)
    patch.setattr(owed_checks, "push", append_and_push)


def without_event_of_the_check(patch: Patch) -> None:
    _append_unless(patch, lambda op, about: op == log.DELETED and "reader_ids" in about)


def without_event_of_an_edit(patch: Patch) -> None:
    _append_unless(patch, lambda op, about: op == log.EDITED)


def without_event_of_a_rebuild(patch: Patch) -> None:
    _append_unless(patch, lambda op, about: op == log.CHANGED)


def without_first_entry_missed(patch: Patch) -> None:
    """Come back one entry late."""
    read = log.read
    patch.setattr(log, "read", lambda place, count: (found := read(place, count)) and found[1:])


def without_cold_feeds_in_counts(patch: Patch) -> None:
    """A feed without a list has nothing unread."""
    _cut(patch, "unread", "return {0, {}, last or ''}", "return {0, {}, last or '0'}")


def _append_unless(patch: Patch, is_left_out: Callable[[str, dict[str, Any]], bool]) -> None:
    append = log.append
    patch.setattr(log, "append", lambda op, **about: None if is_left_out(op, about) else append(op, **about))


def _cut(patch: Patch, name: str, old: str, new: str = "") -> None:
    """Run the script `name` with `old` replaced."""
    source = lua.source("prelude") + lua.source(name)
    assert source.count(old) == 1, f"{name}.lua has changed: the mutation must, too"
    mutant = client().register_script(source.replace(old, new))
    real = lua._script
    patch.setattr(lua, "_script", lambda wanted: mutant if wanted == name else real(wanted))


@pytest.mark.parametrize(
    ("break_it", "machine"),
    [
        (without_check_after_push, Dense),
        pytest.param(without_lease, Dense, marks=pytest.mark.slow),
        pytest.param(without_lease_dropped_by_push_out_of_order, Dense, marks=pytest.mark.slow),
        pytest.param(without_lease_dropped_by_remove, Dense, marks=pytest.mark.slow),
        (without_note_of_a_push, Frozen),
        pytest.param(without_note_of_a_push, FrozenAlone, marks=pytest.mark.slow),
        pytest.param(without_note_of_a_removal, FrozenLater, marks=pytest.mark.slow),
        pytest.param(without_note_of_a_claim, FrozenClaim, marks=pytest.mark.slow),
        (without_comparison_of_servers, Saved),
        pytest.param(without_lease_dropped_by_erase, Leaving, marks=pytest.mark.slow),
        pytest.param(without_note_of_a_deletion, Leaving, marks=pytest.mark.slow),
        pytest.param(without_tombstone_for_rebuilds, Leaving, marks=pytest.mark.slow),
        pytest.param(without_identity_of_sql, Behind, marks=pytest.mark.slow),
        pytest.param(without_end_of_the_claim, Restless, marks=pytest.mark.slow),
        (without_eviction_after_a_suspension, Suspended),
        pytest.param(without_lease_dropped_by_an_eviction, Suspended, marks=pytest.mark.slow),
        pytest.param(without_lock_before_the_question, Restored, marks=pytest.mark.slow),
        pytest.param(without_messages_that_are_postponed, Restless, marks=pytest.mark.slow),
        (without_cold_authors_list, Rising),
        pytest.param(without_cold_feeds_in_counts, Cold, marks=pytest.mark.slow),
        (without_token_in_put, Edited),
        pytest.param(without_order_of_push_and_event, Watched, marks=pytest.mark.slow),
        pytest.param(without_event_of_the_check, WatchedFrozen, marks=pytest.mark.slow),
        pytest.param(without_event_of_an_edit, Watched, marks=pytest.mark.slow),
        pytest.param(without_event_of_a_rebuild, Watched, marks=pytest.mark.slow),
        pytest.param(without_first_entry_missed, Watched, marks=pytest.mark.slow),
        pytest.param(without_lease_taken_by_edit, Edited, marks=pytest.mark.slow),
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
        phases=[Phase.generate],  # finding it is enough, without shrinking
        suppress_health_check=list(HealthCheck),
    )

    with pytest.raises((Violation, Flaky)):  # ids differ when hypothesis tries again, so it may turn out well
        run_state_machine_as_test(seed(SEED)(on(stage, machine)), settings=profile)

    assert stage.found
    print(stage.found)  # noqa: T201
