"""Short runs: thousands of writes and as many reads while many things break."""

from pathlib import Path

from tests.conftest import do_without, require_cluster
from tests.tools.chaos.faults import ON_REQUEST, PARTITIONS, kinds_of
from tests.tools.chaos.report import Report
from tests.tools.chaos.runner import Options, run
from tests.tools.chaos.servers import Servers
from tests.tools.chaos.service import SENTINEL, SINGLE
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


def test_a_redis_that_is_parted_loses_nothing_and_is_never_wrong(postgres_url, rabbitmq_url, folder: Path):
    # A Cluster takes as long: `make chaos ARGS="--topology cluster"`.
    require_cluster()
    if lack := missing():
        do_without(lack)
    (folder / "chaos-parted").mkdir()
    options = Options(seed=1, ops=800, faults=len(PARTITIONS), kinds=tuple(PARTITIONS), topology=SENTINEL)

    report = run(options, Servers(postgres_url, rabbitmq_url), folder / "chaos-parted", lambda _: None)

    print(report.table())  # noqa: T201 - pytest shows it where the test fails
    assert report.problems == []
    assert report.faults == dict.fromkeys(PARTITIONS, 1)
    assert report.ages


def test_figures_of_an_interrupted_run_are_read_again(tmp_path: Path):
    report = Report(7, ages=[0.5], until_quiet=[3.0])
    report.writes["acknowledged"] = 9
    report.save(tmp_path / "state.json")

    assert Report.load(tmp_path / "state.json") == report
