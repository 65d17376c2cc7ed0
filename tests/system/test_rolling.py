"""A short run of `make rolling`."""

from contextlib import ExitStack

from tests.tools.chaos.servers import find
from tests.tools.rolling.fleet import Fleet
from tests.tools.rolling.runner import SCREENS, SOCKETS, run


def test_a_rolling_restart_under_load_loses_nothing(folder, rabbitmq_url):
    path = folder / "rolling"
    path.mkdir()
    with ExitStack() as at_end, Fleet(find(path, at_end.callback), path) as fleet:
        report = run(fleet, 1, lambda _: None)

    assert (report.lost, report.missing) == ([], []), report.text()
    assert {kind: len(seconds) for kind, seconds in report.stops.items()} == {"web": 2, "worker": 2, "reload": 1}
    assert report.posts > 20
    assert report.sent_away >= SCREENS + SOCKETS, report.text()  # each instance was stopped, and one reloaded
