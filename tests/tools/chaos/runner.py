"""A run: rounds of writing and reading under faults, each followed by quiet and a check of everything."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

from tests.tools.chaos import losses, verify
from tests.tools.chaos.clients import READS, WRITES, Client, World
from tests.tools.chaos.faults import KINDS, Planned, Running
from tests.tools.chaos.live import LiveClients
from tests.tools.chaos.model import Model, Relation, Sql
from tests.tools.chaos.operators import Operator
from tests.tools.chaos.quiescence import NotQuiet, wait_until_quiet
from tests.tools.chaos.report import Report
from tests.tools.chaos.schedule import deck, due, plan
from tests.tools.chaos.servers import Servers
from tests.tools.chaos.service import SINGLE, Service

FAULTS_A_ROUND = 20
LONG_FROM = 100  # with so many faults some are long
BURST = 20
ECHO_SECONDS = 10.0  # so long after its end a fault may explain a lost answer, or a 503
FOLLOWED = 12  # by each user, at the start
PROGRESS_SECONDS = 2.0
POLL_SECONDS = 0.02
TOGGLERS = 4
SUSPECTS = 3
WRITTEN = 10  # posts of each suspect, at the start
COMMANDS_A_ROUND = 12
PACE = 0.95  # of the operations planned before a fault are done when it begins

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    seed: int
    ops: int = 5000
    faults: int = 20
    clients: int = 8
    users: int = 60
    kinds: tuple[str, ...] = tuple(KINDS)
    pull_followers: int = 0
    topology: str = SINGLE
    live: int = 10  # clients of live events
    state: Path | None = None  # the figures of a run that may be interrupted, after each round

    @property
    def rounds(self) -> int:
        return max(1, round(self.faults / FAULTS_A_ROUND))


class Chaos:
    """One run on one service."""

    def __init__(self, options: Options, service: Service, say: Say) -> None:
        self.options, self.service, self.say = options, service, say
        is_begun = options.state and options.state.exists()
        self.report = Report.load(options.state) if is_begun else Report(options.seed)  # type: ignore[arg-type]
        self.model = Model()
        self._writing: list[threading.Thread] = []
        self._explained: dict[str, float] = {}  # target → until when a fault there explains an answer
        self._kinds = deck(options.seed, options.faults, options.kinds)
        self.world = self._populate()

    def run(self) -> Report:
        self.service.start()
        self._live = LiveClients(self.service.settings.port, self.world.tokens, self.options.live)
        try:
            self._run_rounds()
        finally:
            self._live.close()
        self.report.live.update(self._live.counts())
        self.report.restarts.update(workers=self.service.worker.restarts, web=self.service.web.restarts)
        return self.report

    def _run_rounds(self) -> None:
        for number in range(len(self.report.until_quiet), self.options.rounds):
            began = monotonic()
            self._play(number)
            played = monotonic() - began
            self.service.heal()
            try:
                self.report.until_quiet.append(wait_until_quiet(self.service))
            except NotQuiet as error:
                self.report.broken.append(f"round {number + 1}: {error}")
                break
            found = len(self.report.problems)
            self._check(f"round {number + 1}: ")
            self._say_round(number, played, monotonic() - began, self.report.problems[found:])
            if self.options.state:
                self.report.save(self.options.state)
            self.service.heal()

    def _populate(self) -> World:
        deaths = self.options.clients * self.options.rounds
        made = list(self.service.populate(SUSPECTS + self.options.users + TOGGLERS + deaths).items())
        suspects, made = [user for user, _ in made[:SUSPECTS]], made[SUSPECTS:]
        tokens, doomed = dict(made[:-deaths]), dict(made[-deaths:])
        users, random = list(tokens), Random(f"{self.options.seed} follows")
        # The first are followed by nearly all, the last by few.
        weights = [1 / (rank + 3) for rank in range(len(users))]
        drawn = {(user, random.choices(users, weights)[0]) for user in users for _ in range(FOLLOWED)}
        follows = {(follower, followee) for follower, followee in drawn if follower != followee}
        for user in doomed:
            follows |= {(other, user) for other in random.sample(users, FOLLOWED)}
            follows |= {(user, other) for other in random.sample(users, FOLLOWED)}
        follows |= {(other, suspect) for suspect in suspects for other in random.sample(users, FOLLOWED)}
        self.service.befriend(follows)
        everybody = [*users, *doomed]
        posts = dict(post for suspect in suspects for post in self._write(suspect))
        self.model.shown = {suspect: Relation({True}, was=True) for suspect in suspects}
        self.model.settle(Sql(posts, follows, set(), set()), everybody)
        own: dict[int, list[int]] = {user: [] for user in everybody}
        serials = dict.fromkeys(everybody, 0)
        return World(self.model, self.report, tokens, serials, own, users[-TOGGLERS:], doomed, self._is_near)

    def _write(self, suspect: int) -> list[tuple[int, tuple[int, str]]]:
        texts = [f"{suspect} {number}" for number in range(WRITTEN)]
        self.model.submitted.update(dict.fromkeys(texts, monotonic()))
        return [(post, (suspect, text)) for post, text in zip(self.service.write(suspect, texts), texts, strict=True)]

    def _play(self, number: int) -> None:
        """One round: clients and faults at the same time."""
        random, rounds = Random(f"{self.options.seed} round {number}"), self.options.rounds
        kinds = self._kinds[number::rounds]
        faults = plan(random, kinds, long_ones=self.options.faults >= LONG_FROM)
        seconds = max((fault.end for fault in faults), default=5.0)
        clients = self._clients(random, number, seconds)
        self._writing = [threading.Thread(target=client.run, daemon=True) for client in clients]
        of_operator = Random(f"{self.options.seed} round {number} operator")
        moments = list(due(of_operator, COMMANDS_A_ROUND, seconds, 1))
        suspects = list(self.model.shown)
        operator = Operator(self.model, self.report, self.service.settings, suspects, of_operator, moments)
        others = [
            threading.Thread(target=self._break, args=(faults, random, seconds), daemon=True),
            threading.Thread(target=operator.run, daemon=True),
        ]
        for thread in (*self._writing, *others):
            thread.start()
        for thread in (*self._writing, *others):
            while thread.is_alive():
                thread.join(PROGRESS_SECONDS)
                self._say_progress(number)
        self.report.broken += [each.failure for each in (*clients, operator) if each.failure]

    def _clients(self, random: Random, number: int, seconds: float) -> list[Client]:
        options, users = self.options, list(self.world.tokens)[:-TOGGLERS]
        share = options.ops // options.rounds // options.clients
        made = []
        for index in range(options.clients):
            of_client = Random(f"{options.seed} round {number} client {index}")
            moments = list(due(random, share, seconds, BURST))
            deletion = list(self.world.doomed)[number * options.clients + index], of_client.choice(moments)
            own, port, mix = users[index :: options.clients], self.service.settings.port, (WRITES, READS)
            made.append(Client(self.world, port, own, of_client, moments, mix, deletion))
        return made

    def _break(self, faults: Sequence[Planned], random: Random, seconds: float) -> None:
        """Make the faults: none before its time, and none before the clients have got as far as that."""
        started, writes = monotonic(), self.report.writes.total()
        share, never = self.options.ops / self.options.rounds, threading.Event()
        running: list[Running] = []
        for fault in faults:
            while monotonic() < started + fault.start or (
                self.report.writes.total() - writes < share * PACE * fault.start / seconds and self._are_writing()
            ):
                never.wait(POLL_SECONDS)
            for earlier in running:
                if earlier.planned.end <= fault.start:
                    earlier.join()
            self._explained[KINDS[fault.kind].target] = monotonic() + fault.seconds + ECHO_SECONDS
            running.append(Running(fault, self.service, self.world, Random(random.random())))
            self.report.faults[fault.kind] += 1
        for last in running:
            last.join()
        self.report.broken += [fault.error for fault in running if fault.error]

    def _are_writing(self) -> bool:
        return any(thread.is_alive() for thread in self._writing)

    def _check(self, place: str) -> None:
        """Check lists first, as reading over HTTP rebuilds cold ones. The workers are stopped."""
        service, report = self.service, self.report
        truth = verify.read_truth(service, self.world.tokens)
        lost = [*self.model.differences(truth.sql), *losses.gaps(self.model, truth.sql)]
        report.lost += [place + problem for problem in lost]
        lists, cached = verify.read_lists(service, truth), verify.read_versions(service)
        found = [*verify.compare_lists(lists, truth), *verify.compare_versions(cached, truth)]
        found += verify.compare_suspended(service, truth)
        found += verify.compare_pages(service, truth, self.world.tokens)
        found += verify.compare_lists(verify.read_lists(service, truth), truth)
        found += self._live.differences(truth)
        report.divergent += [place + problem for problem in dict.fromkeys(found)]
        report.failed_over(self.model.failovers, losses.count(self.model, truth), losses.shown_for(self.model, truth))
        dead = self.model.dead.keys() - losses.alive(self.model, truth)
        dead |= {post for post, state in self.model.posts.items() if state.author in dead}
        report.left += [place + problem for problem in verify.find_left(service, dead)]
        report.checked.update({"deleted accounts": len(self.model.dead)})
        counts = service.queue_counts()
        report.dead_letters = sum(number for name, number in counts.items() if name.endswith(".XQ"))
        report.checked.update({name: len(rows) for name, rows in truth.sql._asdict().items()}, feeds=len(truth.feeds))
        report.checked.update(verify.count_pulled(service))
        report.checked.update(lists=sum(map(bool, lists.values())), bodies=len(cached))
        self.model.settle(truth.sql, [*self.world.tokens, *self.world.doomed])
        for user, own in self.world.own.items():  # a deletion without a response may have happened
            self.world.own[user] = [post for post in own if post in self.model.posts]

    def _is_near(self, target: str) -> bool:
        return monotonic() < self._explained.get(target, 0.0)

    def _say_round(self, number: int, played: float, seconds: float, problems: list[str]) -> None:
        until, faults = self.report.until_quiet[-1], self.report.faults.total()
        self.say(
            f"round {number + 1}/{self.options.rounds}: {self.report.writes.total():,} writes, {faults} faults "
            f"in {played:.0f} s, quiet {until:.0f} s later, {seconds:.0f} s in all, {len(problems) or 'no'} problems\n"
        )
        for problem in problems[:5]:
            self.say(f"  {problem}\n")

    def _say_progress(self, number: int) -> None:
        writes, reads, faults = (c.total() for c in (self.report.writes, self.report.reads, self.report.faults))
        self.say(f"round {number + 1}: {writes:,} writes, {reads:,} reads, {faults} faults\r")


def run(options: Options, servers: Servers, folder: Path, say: Say) -> Report:
    with Service(servers, folder, options.pull_followers, options.topology) as service:
        return Chaos(options, service, say).run()
