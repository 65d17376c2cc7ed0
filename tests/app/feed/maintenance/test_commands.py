"""Commands on feeds, and how each command reports an error."""

import click

from app.errors import NotFound
from app.feed.maintenance import commands
from app.feed.maintenance.verify import STALE
from tests.app.feed.maintenance.damage import damage


def test_rebuild_feed_prints_what_changed_and_refuses_unknown_users(world, runner, reader):
    damage(world, reader, STALE)

    changed = runner.invoke(args=["rebuild-feed", str(reader)])
    unchanged = runner.invoke(args=["rebuild-feed", str(reader)])
    unknown = runner.invoke(args=["rebuild-feed", str(reader), "12345"])

    assert changed.output == f"{reader}: 0 added, 1 removed, now 5 posts\n"
    assert unchanged.output == f"{reader}: unchanged, 5 posts\n"
    assert unknown.exit_code == 1
    assert "no such user: 12345" in unknown.output


def test_warm_cache_says_when_nobody_warms(runner, monkeypatch):
    monkeypatch.setattr(commands, "STALLED_SECONDS", 0.1)

    result = runner.invoke(args=["warm-cache", "--wait"])

    assert result.exit_code == 1
    assert "check that the workers" in result.output


def test_an_error_of_the_service_is_one_line(runner):
    @click.command(cls=commands.ServiceCommand)
    def show():
        raise NotFound("No such user.")

    result = runner.invoke(show)

    assert (result.exit_code, result.output) == (1, "Error: No such user.\n")
