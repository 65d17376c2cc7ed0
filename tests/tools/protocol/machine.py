"""The feed protocol as a state machine: any event in any order, and invariants.

The code is the real one, on real PostgreSQL and Redis: use cases, relay, actors, readers. Each is a `Run`, which stops
before every round trip, goes on later, or dies there. Only the broker is made here: a bag of messages that may be
handled in any order and any number of times. The machine relies on one promise of the broker: it delivers a message
again if its handler died.

At a quiet moment nothing is under way, no event waits in the outbox and no message in the bag. Then every feed must be
exactly what SQL says. Rules that end in one are `quiet`; every example does.
"""

import json
from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import count, pairwise
from random import Random
from typing import Any

from dramatiq.errors import Retry
from flask import Flask
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from app.db.engine import POSTS, commit, db, execute
from app.db.engine import USERS as USERS_DATABASE
from app.db.identity import PREFIX
from app.errors import LentaError, Unauthorized
from app.feed.cache import owed_checks, post_bodies, timeline
from app.feed.cache.timeline import HOME
from app.feed.deliver import sweep
from app.feed.live import log
from app.feed.maintenance import failover, trust, warm
from app.feed.read import read_page
from app.feed.rebuild import rebuild
from app.feed.unread import count_newer, count_unread
from app.posts import service as posts
from app.posts.store import NewPost
from app.redis.client import client, replication_ids
from app.redis.pool import CONNECTIONS
from app.users import accounts
from app.users.outbox import OUTBOX as USERS_OUTBOX
from tests.factories import PROFILE
from tests.tools.protocol.in_memory_broker import InMemoryBroker, Message
from tests.tools.protocol.live_client import LiveClient
from tests.tools.protocol.runs import Run
from workers.relay import relay_batch

USERS = 4
CAP = 4
ALL = 1000  # round trips: more than any run makes
WORK_STEPS = 150  # at most, before a quiet moment, in an order that is wild
WATCH = "watch"
CLAIM = b"lenta-test"  # the keys by which tests claim their Redis database begin so

user = st.integers(0, USERS - 1)
pick = st.integers(0, 30)
FOLLOWS_IN_SPITE_OF_BLOCKS = text("""
    SELECT follower_id, followee_id FROM follows JOIN blocks
    ON (blocker_id, blocked_id) IN ((follower_id, followee_id), (followee_id, follower_id))
""")


def publish(author_id: int) -> int:
    """Create a post. Each run stands for a process, so none shares a transaction with another."""
    [post_id] = posts.publish_all([NewPost(author_id, "first", None)])
    if post_id is None:
        raise Unauthorized
    return post_id


FOLLOWEES = text("SELECT followee_id FROM follows WHERE follower_id = :user_id")
SUSPENDED = text("SELECT id FROM users WHERE suspended_at IS NOT NULL")
RETURN = text("""
    INSERT INTO users (id, first_name, second_name, birthdate, biography, city, password_hash)
    VALUES (:id, :first_name, :second_name, :birthdate, :biography, :city, 'none') ON CONFLICT DO NOTHING
""")
LEFT = text("""
    SELECT (SELECT count(*) FROM posts WHERE author_id = :user_id) + (SELECT count(*) FROM deleted_posts
        WHERE author_id = :user_id) + (SELECT count(*) FROM pulled_authors WHERE author_id = :user_id)
        + (SELECT count(*) FROM follows WHERE :user_id IN (follower_id, followee_id))
        + (SELECT count(*) FROM user_counts WHERE user_id = :user_id)
        + (SELECT count(*) FROM suspended_users WHERE user_id = :user_id)
        + (SELECT count(*) FROM blocks WHERE :user_id IN (blocker_id, blocked_id))
        + (SELECT count(*) FROM feed_seen WHERE user_id = :user_id)
""")
ERASING = ("user_deleted", "posts_erased", "take_follows", "forget_user")
SUSPENDING = ("suspension_changed", "visibility_changed")
NEVER_GIVEN_UP = ("give_up", "pull_transition_started", "tokens_revoked", *ERASING, *SUSPENDING)
LOCKING = (
    "post_created",
    "post_deleted",
    "pull_transition_started",
    "suspension_changed",
)  # actors that hold rows which erasing waits for
seed = st.integers(0, 1000)
trips = st.sampled_from([ALL, 1, 2, 3, 4])
threshold = st.integers(0, 2)  # followers above which an author is pulled; 0 disables
pair = st.tuples(user, user).filter(lambda users: users[0] != users[1])


class Stage:
    """State shared by all examples: an application, a bag, and users."""

    def __init__(self, app: Flask, bag: InMemoryBroker, users: list[int]) -> None:
        self.app, self.bag, self.users = app, bag, users
        self.examples = self.steps = 0
        self.pulled = 0  # feeds that were merged with the lists of pulled authors, at quiet moments
        self.found = ""

    def pull_above(self, followers: int) -> None:
        """Set FEED_PULL_FOLLOWERS."""
        self.app.extensions["settings"] = replace(self.app.extensions["settings"], feed_pull_followers=followers)

    def clean(self) -> None:
        self.pull_above(0)
        self.bag.messages.clear()
        clean = "TRUNCATE {}" if self.examples % 50 == 0 else "DELETE FROM {}"
        tables = "posts", "follows", "blocks", "outbox", "pulled_authors", "user_counts", "gone_users", "deleted_posts"
        for table in (*tables, "feed_seen", "suspended_users"):
            execute(POSTS, text(clean.format(table)))
        for table in ("token_generations", "outbox"):
            execute(USERS_DATABASE, text(clean.format(table)))
        execute(USERS_DATABASE, text("UPDATE users SET suspended_at = NULL WHERE suspended_at IS NOT NULL"))
        for user_id in self.users:
            execute(USERS_DATABASE, RETURN, PROFILE | {"id": user_id})
        commit()
        keys = [key for key in client().scan_iter("*") if not key.startswith(CLAIM)]
        if keys:
            client().delete(*keys)
        client().set(trust.TRUSTED_KEY, replication_ids())  # or the watch would make all feeds cold, and right


class Protocol(RuleBasedStateMachine):
    """`stage` is set by `on`, which makes a class for one application."""

    stage: Stage
    open_runs = 6  # at most
    deaths = 0.05  # of the steps before a quiet moment
    changes = 0.1  # of priority, the same
    strides = (1, 2, 3, 4)  # round trips between them

    def __init__(self) -> None:
        super().__init__()
        self.stage.examples += 1
        self.users, self.bag = self.stage.users, self.stage.bag
        self.runs: list[Run] = []
        self.posts: list[tuple[int, int]] = []  # id, author; the deleted ones too
        self.numbers = count(1)
        self.snapshot: dict[bytes, bytes] = {}
        self.clients = {user_id: LiveClient(user_id, CAP // 2) for user_id in self.users}

    @initialize(
        follows=st.lists(pair, max_size=8, unique=True),
        authors=st.lists(user, max_size=6),
        warm=st.booleans(),
        threshold=threshold,
    )
    def begin(self, follows: list[tuple[int, int]], authors: list[int], warm: bool, threshold: int) -> None:
        self.stage.pull_above(threshold)
        for follower, followee in follows:
            posts.follow(self.users[follower], self.users[followee])
        for author in authors:
            self.posts.append((publish(self.users[author]), self.users[author]))
        if warm:
            for user_id in self.users:
                rebuild(user_id)
        commit()

    # Writes. One that is `late` stands before its commit, and others overtake it.

    @rule(author=user, late=st.booleans())
    def publish(self, author: int, late: bool) -> None:
        author_id = self.users[author]
        self._write(lambda: self.posts.append((publish(author_id), author_id)), late)

    @rule(pick=pick, late=st.booleans())
    def edit(self, pick: int, late: bool) -> None:
        if live := self._live_posts():
            post_id, author_id = live[pick % len(live)]
            number = next(self.numbers)
            self._write(lambda: posts.edit(post_id, author_id, f"edit {number}"), late, post_id)

    @rule(pick=pick, late=st.booleans())
    def delete(self, pick: int, late: bool) -> None:
        if live := self._live_posts():
            post_id, author_id = live[pick % len(live)]
            self._write(lambda: posts.delete(post_id, author_id), late, post_id)

    @rule(pair=pair, late=st.booleans())
    def follow(self, pair: tuple[int, int], late: bool) -> None:
        follower, followee = (self.users[n] for n in pair)
        self._write(lambda: posts.follow(follower, followee), late, frozenset(pair))

    @rule(pair=pair, late=st.booleans())
    def unfollow(self, pair: tuple[int, int], late: bool) -> None:
        follower, followee = (self.users[n] for n in pair)
        self._write(lambda: posts.unfollow(follower, followee), late, frozenset(pair))

    @rule(pair=pair, late=st.booleans())
    def block(self, pair: tuple[int, int], late: bool) -> None:
        blocker, blocked = (self.users[n] for n in pair)
        self._write(lambda: posts.block(blocker, blocked), late, frozenset(pair))

    @rule(pair=pair, late=st.booleans())
    def unblock(self, pair: tuple[int, int], late: bool) -> None:
        blocker, blocked = (self.users[n] for n in pair)
        self._write(lambda: posts.unblock(blocker, blocked), late, frozenset(pair))

    @precondition(lambda self: self.posts)
    @rule(user=user, pick=pick, late=st.booleans())
    def mark_seen(self, user: int, pick: int, late: bool) -> None:
        user_id, post_id = self.users[user], self.posts[pick % len(self.posts)][0]
        self._write(lambda: posts.mark_seen(user_id, post_id), late, ("seen", user_id))

    @rule(user=user, late=st.booleans())
    def delete_account(self, user: int, late: bool) -> None:
        user_id = self.users[user]
        self._write(lambda: accounts.delete_for_operator(user_id), late, ("account", user_id))

    @rule(user=user, late=st.booleans())
    def suspend(self, user: int, late: bool) -> None:
        user_id = self.users[user]
        self._write(lambda: accounts.suspend(user_id), late, ("account", user_id))

    @rule(user=user, late=st.booleans())
    def restore(self, user: int, late: bool) -> None:
        user_id = self.users[user]
        self._write(lambda: accounts.restore(user_id), late, ("account", user_id))

    @rule(late=st.booleans())
    def ask_for_warming(self, late: bool) -> None:
        self._write(lambda: warm.request("run"), late)

    @rule(threshold=threshold)
    def pull_above(self, threshold: int) -> None:
        self.stage.pull_above(threshold)

    # Relay, workers, readers.

    @rule(trips=trips)
    def relay(self, trips: int) -> None:
        self._start(self._relay, trips)

    @precondition(lambda self: any(message.owed for message in self.bag.messages))
    @rule(pick=pick, trips=trips)
    def handle(self, pick: int, trips: int) -> None:
        owed = [message for message in self.bag.messages if message.owed]
        self._handle(owed[pick % len(owed)], trips)

    @precondition(lambda self: self.bag.messages)
    @rule(pick=pick, trips=trips)
    def handle_again(self, pick: int, trips: int) -> None:
        self._handle(self.bag.messages[pick % len(self.bag.messages)], trips)

    @precondition(lambda self: any(_may_freeze(message) for message in self.bag.messages))
    @rule(pick=pick, trips=trips)
    def handle_frozen(self, pick: int, trips: int) -> None:
        """Handle a message that the broker gives to another worker, too: nothing is owed if this one dies."""
        messages = [message for message in self.bag.messages if _may_freeze(message)]
        message = messages[pick % len(messages)].message
        self._start(lambda: self.bag.handle(message), trips)

    @rule(trips=trips)
    def sweep(self, trips: int) -> None:
        self._start(sweep, trips)

    @precondition(lambda self: any(message.owed for message in self.bag.messages))
    @rule(pick=pick)
    def give_up(self, pick: int) -> None:
        owed = [message for message in self.bag.messages if message.owed]
        message = owed[pick % len(owed)]
        if message.message.actor_name not in NEVER_GIVEN_UP:
            message.owed -= 1
            self.bag.get_actor("give_up").send(message.message.asdict(), {"retries": 11})

    @rule(user=user, trips=trips)
    def rebuild(self, user: int, trips: int) -> None:
        self._start(lambda: rebuild(self.users[user]), trips)

    @rule(
        user=user,
        offset=st.integers(0, CAP),
        limit=st.integers(1, CAP),
        before=st.none() | pick,
        after=st.none() | pick,
        trips=trips,
    )
    def read(self, user: int, offset: int, limit: int, before: int | None, after: int | None, trips: int) -> None:
        older_than, newer_than = (
            None if each is None or not self.posts else self.posts[each % len(self.posts)][0]
            for each in (before, after)
        )
        self._start(lambda: self._read(self.users[user], offset, limit, older_than, newer_than), trips)

    @rule(user=user, trips=trips)
    def poll(self, user: int, trips: int) -> None:
        """A client connects, or sees what is new. If it dies it comes back later."""
        client = self.clients[self.users[user]]
        if client not in [run.locks for run in self.runs]:
            self._start(client.poll, trips, locks=client)

    @precondition(lambda self: self.runs)
    @rule(pick=pick, trips=trips)
    def advance(self, pick: int, trips: int) -> None:
        self._advance(self.runs[pick % len(self.runs)], trips)

    @precondition(lambda self: self.runs)
    @rule(pick=pick)
    def die(self, pick: int) -> None:
        self._die(self.runs[pick % len(self.runs)])

    # Losses of Redis.

    @rule(user=user)
    def lose_feed(self, user: int) -> None:
        client().delete(HOME.key(self.users[user]))

    @rule(user=user)
    def lose_authors_list(self, user: int) -> None:
        client().delete(timeline.AUTHOR.key(self.users[user]))

    @rule(user=user)
    def lose_lease(self, user: int) -> None:
        client().delete(HOME.key(self.users[user]) + ":lease")

    @rule(user=user)
    def lose_claim(self, user: int) -> None:
        client().delete(HOME.claim_key(self.users[user]))

    @rule()
    def lose_log(self) -> None:
        client().delete(log.LISTENING_KEY)

    @precondition(lambda self: self.posts)
    @rule(pick=pick)
    def lose_body(self, pick: int) -> None:
        client().delete(f"post:{self.posts[pick % len(self.posts)][0]}")

    @rule()
    def save_snapshot(self) -> None:
        keys = self._feeds_and_bodies()
        self.snapshot = {key: dump for key in keys if (dump := client().dump(key)) is not None}

    @precondition(lambda self: self.snapshot)
    @rule()
    def go_back_in_time(self) -> None:
        """Simulate a server with a new run id and the saved data, over new connections."""
        for key in self._feeds_and_bodies():
            client().delete(key)
        for key, dump in self.snapshot.items():
            client().restore(key, 600_000, dump)
        client().set(trust.TRUSTED_KEY, "the-server-before")
        CONNECTIONS.add()
        for run in [run for run in self.runs if run.locks == WATCH]:
            self._die(run)  # it would set the mark of the server that it began on

    @precondition(lambda self: self.posts)
    @rule(pick=pick, pair=pair)
    def lose_commits(self, pick: int, pair: tuple[int, int]) -> None:
        """Simulate the promotion of a posts database that lacks a post and a follow. All connections to it end."""
        for run in list(self.runs):
            self._die(run)
        follower, followee = (self.users[n] for n in pair)
        execute(POSTS, text("DELETE FROM posts WHERE id = :id"), {"id": self.posts[pick % len(self.posts)][0]})
        unfollow = text("DELETE FROM follows WHERE follower_id = :follower AND followee_id = :followee")
        execute(POSTS, unfollow, {"follower": follower, "followee": followee})
        commit()
        mark = (client().get(trust.TRUSTED_KEY) or b"").decode().split()
        before = [identity for identity in mark if not identity.startswith(PREFIX)]
        client().set(trust.TRUSTED_KEY, " ".join([*before, f"{PREFIX}before"]))

    @rule(trips=trips)
    def watch(self, trips: int) -> None:
        self._start(self._watch, trips, locks=WATCH)

    # Invariants.

    @invariant()
    def lists_are_in_order(self) -> None:
        self.stage.steps += 1
        for key in [key(user_id) for key in (HOME.key, timeline.AUTHOR.key) for user_id in self.users]:
            ids, _ = _list(key)
            self._check(all(a > b for a, b in pairwise(ids)), "a list is not strictly descending", key, ids)
            self._check(len([i for i in ids if i]) <= CAP, "a list is longer than the cap", key, ids)

    @rule(seed=seed)
    def quiet_now(self, seed: int) -> None:
        self.quiet(seed)

    def quiet(self, seed: int) -> None:
        """Let all come to an end, and see that every feed is right."""
        random = Random(seed)
        self._work(random)
        while self.runs:
            self._advance_or_die(random.choice(self.runs), random)
        self._settle(random)
        self._check(owed_checks.count() == 0, "a check is owed", owed_checks.count())
        self._check_suspended()
        self._check_clients()
        self._check_lists()
        self._check_bodies()
        self._check_reads(random)
        self._check_lists()
        self._check_gone()
        if self.snapshot:
            self.go_back_in_time()
            self._check_reads(random)  # no worker has looked

    def teardown(self) -> None:
        try:
            if not self.is_violated:
                self.quiet(self.stage.examples)
        finally:
            for run in self.runs:
                run.die()
            db.session.rollback()
            self.stage.clean()

    is_violated = False

    def _work(self, random: Random) -> None:
        """Do some of the pending work, in an order that may starve one run.

        Each run, each message and the relay has a random priority, and the first goes on; now and then one gets
        another. Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, 2010.
        """
        priorities: dict[Any, float] = {}
        for _ in range(WORK_STEPS):
            waiting = [message for message in self.bag.messages if message.owed] + [self._relay]
            able = self.runs + (waiting if len(self.runs) < self.open_runs else [])
            first = max(able, key=lambda one: priorities.setdefault(one, random.random()))
            if isinstance(first, Run):
                self._advance_or_die(first, random)
            elif isinstance(first, Message):
                self._handle(first, random.choice((ALL, *self.strides)))
            else:
                self._start(first, ALL)
                if not self.runs and not any(message.owed for message in self.bag.messages):
                    break
            if first == self._relay or random.random() < self.changes:
                del priorities[first]

    def _advance_or_die(self, run: Run, random: Random) -> None:
        if random.random() < self.deaths:
            self._die(run)
        else:
            self._advance(run, random.choice(self.strides))

    def _settle(self, random: Random) -> None:
        """Until no event waits in the outbox, and no message is owed."""
        while True:
            self._watch()
            moved = self._relay() + sweep()
            owed = [message for message in self.bag.messages if message.owed]
            if not moved and not owed and not self._expire_leases():
                break
            random.shuffle(owed)
            for message in owed:
                self._handle(message, ALL)
        commit()

    def _expire_leases(self) -> bool:
        """End the leases of rebuilds that died, as time does. Their checks wait for that."""
        return owed_checks.count() > 0 and client().delete(*map(HOME.lease_key, self.users)) > 0

    def _check_lists(self) -> None:
        states = {row.author_id: row.state for row in execute(POSTS, text("SELECT * FROM pulled_authors"))}
        refused = execute(POSTS, FOLLOWS_IN_SPITE_OF_BLOCKS).all()
        self._check(not refused, "a follow goes with a block", refused)
        self._check(set(states.values()) <= {"pulled"}, "a transition has not ended", states)
        suspended = self._suspended()
        for user_id in self.users:
            true = [post_id for post_id, _ in self._truth(user_id)]
            if not client().exists(HOME.key(user_id)):
                continue
            ids, pulled = _list(HOME.key(user_id))
            followed = set(execute(POSTS, FOLLOWEES, {"user_id": user_id}).scalars()).difference(suspended)
            self._check(set(pulled) == followed & set(states), "the mark is wrong", user_id, pulled, states)
            self.stage.pulled += bool(pulled)
            lists = [ids, *(_list(timeline.AUTHOR.key(author))[0] for author in pulled)]
            self._check_list(_merged(lists) if pulled else ids, true, "feed", user_id)
        for author_id in states:
            true = [post_id for post_id, _ in self._written(author_id)]
            self._check_list(_list(timeline.AUTHOR.key(author_id))[0], true, "author", author_id)

    def _check_list(self, ids: list[int], true: list[int], *whose: object) -> None:
        if ids and ids[-1] == 0:
            self._check(ids[:-1] == true, "a complete list is not the truth", *whose, ids, true)
        else:
            self._check(ids == true[: len(ids)], "a list is not a prefix of the truth", *whose, ids, true)

    def _check_bodies(self) -> None:
        live = {row.id: row for row in execute(POSTS, text("SELECT id, text, version FROM posts"))}
        cached = client().mget([f"post:{post_id}" for post_id, _ in self.posts]) if self.posts else []
        for (post_id, _), body in zip(self.posts, cached, strict=True):
            if body is None:
                continue
            if post_id in live:
                found = (
                    int(body[: post_bodies.VERSION_DIGITS]),
                    json.loads(body[post_bodies.VERSION_DIGITS :] or "{}").get("text"),
                )
                true = live[post_id].version, live[post_id].text
                self._check(found == true, "a cached body is stale", post_id, found, true)
            else:
                self._check(body == post_bodies.GONE, "the body of a post that is gone is cached", post_id, body)

    def _check_gone(self) -> None:
        for user_id in filter(accounts.is_gone, self.users):
            rows = execute(POSTS, LEFT, {"user_id": user_id}).scalar_one()
            keys = [key for lists in (HOME, timeline.AUTHOR) if client().exists(key := lists.key(user_id))]
            self._check(rows == 0 and not keys, "something is left of a user who is gone", user_id, rows, keys)

    def _check_suspended(self) -> None:
        known = sorted(execute(POSTS, text("SELECT user_id FROM suspended_users")).scalars())
        self._check(known == self._suspended(), "the databases differ about who is suspended", known, self._suspended())

    def _check_reads(self, random: Random) -> None:
        for check in random.sample([self._check_pages, self._check_unread], 2):  # the first finds cold feeds
            check(random)

    def _check_pages(self, random: Random) -> None:
        for user_id in self.users:
            true, limit, by_cursor = self._truth(user_id), random.randint(1, CAP), random.random() < 0.5
            client().delete(HOME.key(user_id) + ":lease")  # it expires
            found: list[tuple[int, str]] = []
            page = read_page(user_id, 0, limit)
            offset = limit
            found += map(_id_and_text, page.posts)
            while page.last_id is not None and (by_cursor or offset < CAP):
                page = read_page(user_id, offset, limit, before=page.last_id if by_cursor else None)
                offset += limit
                found += map(_id_and_text, page.posts)
            self._check(found == (true if by_cursor else true[:CAP]), "pages are not the truth", user_id, found, true)
            known = random.randint(0, len(true))
            after, newer, page = true[known][0] if known < len(true) else 0, [], None
            while page is None or page.last_id is not None:
                page = read_page(user_id, 0, limit, before=page and page.last_id, after=after)
                newer += map(_id_and_text, page.posts)
            self._check(newer == true[:known], "newer posts are not the truth", user_id, newer, true[:known])

    def _check_unread(self, random: Random) -> None:
        """See that counts from the read mark, and from any post, are what SQL says."""
        for user_id in self.users:
            true = [post_id for post_id, _ in self._truth(user_id)]
            client().delete(HOME.key(user_id) + ":lease")  # it expires
            count, mark = count_unread(user_id)
            newer = [post_id for post_id in true if post_id > (mark or 0)]
            self._check(count.number == min(len(newer), CAP), "a count is not the truth", user_id, count, newer)
            known = random.randint(0, len(true))
            count = count_newer(user_id, true[known] if known < len(true) else None)
            self._check(count.number == min(known, CAP), "a count is not the truth", user_id, count, known, true)

    def _check_clients(self) -> None:
        for user_id, live in self.clients.items():
            if accounts.is_gone(user_id):  # the connection has ended with the token
                continue
            while live.place and live.poll():
                pass
            true = {post_id: text_ for post_id, text_ in self._truth(user_id) if post_id >= live.floor}
            self._check(live.place is None or live.posts == true, "a client differs", user_id, live.posts, true)

    def _check(self, holds: bool, rule: str, *evidence: object) -> None:
        if not holds:
            self.is_violated = True
            self.stage.found = self.stage.found or f"{rule}, {evidence}, after {self.stage.examples} examples"
            raise Violation(rule, *evidence)

    # How it is done.

    def _write(self, work: Callable[[], Any], late: bool, locks: Hashable = None) -> None:
        def tried() -> None:
            try:
                work()
            except LentaError:  # a user is gone, or has blocked the other
                db.session.rollback()

        if locks is None or locks not in [run.locks for run in self.runs]:  # it would wait for the other's commit
            self._start(tried, 1 if late else ALL, writes=True, locks=locks)

    def _handle(self, message: Message, trips: int) -> None:
        message.owed = max(0, message.owed - 1)
        if message.message.actor_name in ERASING:
            self._erase(message, trips)
        elif not self._start(lambda: self.bag.handle(message.message), trips, owner=message):
            message.owed += 1

    def _erase(self, message: Message, commits: int) -> None:
        """Handle a message of an erasure, or die before a commit: no other run may wait for its locks."""
        for run in list(self.runs):
            if run.writes or (run.owner and run.owner.message.actor_name in LOCKING):
                self._advance(run, ALL)
        run = Run(self.stage.app, lambda: self.bag.handle(message.message), writes=True, owner=message)
        self.runs.append(run)
        self._advance(run, commits)
        if not run.is_over:
            self._die(run)

    def _start(self, work: Callable[[], Any], trips: int, **options: Any) -> bool:
        if len(self.runs) >= self.open_runs:
            return False
        self.runs.append(Run(self.stage.app, work, **options))
        self._advance(self.runs[-1], trips)
        return True

    def _advance(self, run: Run, trips: int) -> None:
        try:
            run.advance(trips)
        except Retry:
            if run.owner:
                run.owner.owed += 1
        except BaseException:
            self.is_violated = True
            raise
        if run.is_over:
            self.runs.remove(run)

    def _die(self, run: Run) -> None:
        run.die()
        self.runs.remove(run)
        if run.owner:
            run.owner.owed += 1

    def _relay(self) -> int:
        return relay_batch(self.bag) + relay_batch(self.bag, USERS_OUTBOX)

    def _read(self, user_id: int, offset: int, limit: int, before: int | None, after: int | None) -> None:
        ids = [_id_and_text(post)[0] for post in read_page(user_id, offset, limit, before, after).posts]
        self._check(all(a > b for a, b in pairwise(ids)), "a page is not strictly descending", user_id, ids)
        self._check(before is None or all(i < before for i in ids), "a page goes back", user_id, ids, before)
        self._check(after is None or all(i > after for i in ids), "a page goes too far", user_id, ids, after)

    def _watch(self) -> None:
        for lock in list(client().scan_iter("*:lock:*")):  # it expires
            client().delete(lock)
        failover.check()

    def _truth(self, user_id: int) -> list[tuple[int, str]]:
        query = text("""
            SELECT posts.id, posts.text FROM posts JOIN follows ON followee_id = author_id
            WHERE follower_id = :user_id AND author_id <> ALL(:suspended) ORDER BY posts.id DESC
        """)
        parameters = {"user_id": user_id, "suspended": self._suspended()}
        return [(row.id, row.text) for row in execute(POSTS, query, parameters)]

    def _suspended(self) -> list[int]:
        """Return the suspended users, by the users database."""
        return sorted(execute(USERS_DATABASE, SUSPENDED).scalars())

    def _written(self, author_id: int) -> list[tuple[int, str]]:
        query = text("SELECT id, text FROM posts WHERE author_id = :author_id ORDER BY id DESC")
        return [(row.id, row.text) for row in execute(POSTS, query, {"author_id": author_id})]

    def _live_posts(self) -> list[tuple[int, int]]:
        live = set(execute(POSTS, text("SELECT id FROM posts")).scalars())
        commit()
        return [post for post in self.posts if post[0] in live]

    def _feeds_and_bodies(self) -> list[bytes]:
        return sorted(
            key for pattern in ("feed:*", "claim:*", "authored:*", "post:*") for key in client().scan_iter(pattern)
        )


class Violation(AssertionError):
    """The protocol is broken."""


def _may_freeze(message: Message) -> bool:
    """Return whether its handler leaves notes. `post_created` delivers to a small audience."""
    return message.message.actor_name in ("deliver", "deliver_bulk", "post_created", "follows_changed")


def _list(key: str) -> tuple[list[int], list[int]]:
    """Return the ids of a list, ending with 0 if complete, and its pulled authors."""
    elements = [element.decode() for element in client().lrange(key, 0, -1)]
    marks = [element for element in elements if element.startswith("0")]
    assert marks in ([], elements[-1:]), f"a mark that is not at the end: {elements}"
    complete, _, pulled = "".join(marks).partition(":")
    ids = [int(element) for element in elements if element not in marks]
    return ids + [0] * (complete == "0"), [int(author) for author in pulled.split(",") if author]


def _merged(lists: list[list[int]]) -> list[int]:
    """Merge lists: all ids, or down to the highest end of incomplete ones."""
    floors = [min(ids, default=2**63) for ids in lists if ids[-1:] != [0]]
    ids = sorted({i for ids in lists for i in ids if i >= max(floors, default=1) and i}, reverse=True)
    return ids if floors else [*ids, 0]


def _id_and_text(post: bytes) -> tuple[int, str]:
    loaded = json.loads(post)
    return int(loaded["id"]), loaded["text"]


def on(stage: Stage, machine: type[Protocol] = Protocol) -> type[Protocol]:
    """The machine on this stage."""
    return type(machine.__name__, (machine,), {"stage": stage, "is_violated": False})
