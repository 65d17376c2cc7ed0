"""Short runs: thousands of writes and as many reads while many things break."""

from dataclasses import replace
from pathlib import Path
from time import monotonic

from tests.conftest import do_without, require_cluster
from tests.tools.chaos import losses
from tests.tools.chaos.certainty import Failover
from tests.tools.chaos.faults import ON_REQUEST, PARTITIONS, kinds_of
from tests.tools.chaos.http import Answer
from tests.tools.chaos.model import Model, Sql
from tests.tools.chaos.report import Report
from tests.tools.chaos.runner import Options, run
from tests.tools.chaos.servers import Servers
from tests.tools.chaos.service import SENTINEL, SINGLE
from tests.tools.chaos.verify import Truth
from tests.tools.network import missing


def test_nothing_is_lost_and_every_feed_is_right_whatever_breaks(postgres_url, rabbitmq_url, folder: Path):
    kinds = tuple(kind for kind in kinds_of(SINGLE) if kind not in ON_REQUEST)
    (folder / "chaos").mkdir()

    options = Options(seed=1, ops=3000, kinds=kinds)
    report = run(options, Servers(postgres_url, rabbitmq_url), folder / "chaos", lambda _: None)

    print(report.table())  # noqa: T201 - pytest shows it where the test fails
    assert report.problems == []
    assert report.writes["acknowledged"] > 1800
    assert report.faults.total() == 20


def test_hosts_that_are_parted_and_fail_over_make_nothing_wrong(postgres_url, rabbitmq_url, folder: Path):
    # A Cluster takes as long: `make chaos ARGS="--topology cluster"`.
    require_cluster()
    if lack := missing():
        do_without(lack)
    (folder / "chaos-parted").mkdir()
    kinds = (*PARTITIONS, "postgres-failover", "postgres-cut-web")
    options = Options(seed=1, ops=800, faults=len(kinds), kinds=kinds, topology=SENTINEL)

    report = run(options, Servers(postgres_url, rabbitmq_url), folder / "chaos-parted", lambda _: None)

    print(report.table())  # noqa: T201 - pytest shows it where the test fails
    assert report.problems == []
    assert report.faults == dict.fromkeys(kinds, 1)
    assert report.ages
    assert len(report.unsafe) == 1


ACKNOWLEDGED = Answer(200, 7)


def test_a_failover_may_lose_what_was_acknowledged_since_the_standby_had_everything():
    model = Model(follows={1: {}}, blocks={1: {}})
    model.created(1, "1 1", replace(ACKNOWLEDGED, sent=monotonic()))
    safe_at = monotonic()
    model.changed(7, "1 2", replace(ACKNOWLEDGED, sent=monotonic()))
    model.followed(1, 2, True, replace(ACKNOWLEDGED, sent=monotonic()))
    sent = monotonic()
    model.failed_over(Failover(safe_at, monotonic()))
    model.changed(7, "1 3", replace(ACKNOWLEDGED, sent=sent))  # the response of the old primary came late

    for text in ("1 1", "1 2", "1 3"):
        for follows in (set(), {(1, 2)}):
            assert model.differences(Sql({7: (1, text)}, follows, set(), set())) == []
    assert model.differences(Sql({}, set(), set(), set())) == [
        f"post 7 is None in SQL, and may be {model.posts[7].states}"
    ]
    truth = Truth(Sql({7: (1, "1 1")}, set(), set(), set()), {}, {}, set())
    assert losses.count(model, truth) == {"edits": 1, "follows": 1}


def test_a_failover_loses_only_the_last_posts():
    model, safe_at = Model(), monotonic()
    for post_id in (7, 8):
        model.created(1, f"1 {post_id}", Answer(200, post_id, sent=monotonic()))
    model.failed_over(Failover(safe_at, monotonic()))
    model.created(1, "1 9", Answer(200, 9, sent=monotonic()))

    gaps = [[*losses.gaps(model, Sql(dict.fromkeys(kept, (1, "")), set(), set(), set()))] for kept in ((7, 9), (8, 9))]

    assert gaps == [[], ["post 7 is lost, and a later one is not"]]


def test_a_write_after_a_failover_is_not_lost_by_it():
    model = Model()
    model.created(1, "1 1", replace(ACKNOWLEDGED, sent=monotonic()))
    model.failed_over(Failover(0.0, monotonic()))
    model.changed(7, "1 2", replace(ACKNOWLEDGED, sent=monotonic()))

    assert model.posts[7].states == {"1 2"}


def test_it_is_counted_for_how_long_lost_writes_were_shown():
    model = Model(failovers=[Failover(1.0, 2.0, served_at=3.0), Failover(40.0, 41.0, served_at=42.0)], dying={9})
    model.submitted = {f"1 {number}": 0.5 for number in range(8)} | {"1 8": 4.0}
    model.seen = {(7, "1 5"): 8.0, (8, "1 6"): 2.5, (9, "1 7"): 20.0, (6, "1 3"): 30.0, (5, "1 8"): 39.0}
    truth = Truth(Sql({6: (1, "1 3"), 7: (1, "1 4")}, set(), set(), set()), {}, {}, set())

    assert losses.shown_for(model, truth) == 5.0


def test_figures_of_an_interrupted_run_are_read_again(tmp_path: Path):
    report = Report(7, ages=[0.5], until_quiet=[3.0])
    report.writes["acknowledged"] = 9
    report.save(tmp_path / "state.json")

    assert Report.load(tmp_path / "state.json") == report
