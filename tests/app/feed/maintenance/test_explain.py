"""explain-feed tells why a post is or is not in a feed."""

from app.feed.maintenance import verify
from app.feed.maintenance.verify import STALE
from app.posts import service as posts
from tests.app.feed.maintenance.damage import damage


def explained(runner, user: int, post: int) -> dict[str, str]:
    result = runner.invoke(args=["explain-feed", str(user), str(post)])
    assert result.exit_code == 0, result.output
    return {name: finding.strip() for name, _, finding in (line.partition(":") for line in result.output.splitlines())}


def test_a_post_in_its_place_is_explained(world, runner, reader):
    world.events()
    second = world.truth(reader)[1]

    said = explained(runner, reader, second)

    assert said["author"].startswith("followed since 20")
    assert said["newer posts above it"] == "1, within the cap of 1000"
    assert said["list"] == "complete, 5 posts"
    assert said["position"] == "1 (0 is the newest)"
    assert said["body"] == "not cached: the next read loads it from SQL"
    assert said["outbox"] == "empty"
    assert said["verdict"] == "it belongs in this feed, and the list agrees"


def test_a_post_on_its_way_is_explained(world, runner, reader):
    author = next(iter(verify.store.select_followees([reader])[reader]))
    post = world.post(author)

    said = explained(runner, reader, post)

    assert said["outbox"].startswith("events are waiting")
    assert "does not agree yet" in said["verdict"]


def test_a_post_of_a_stranger_and_a_post_that_is_gone_are_explained(world, runner, reader):
    stranger = world.person()
    post = world.post(stranger)
    gone = world.post(stranger)
    posts.delete(gone, stranger)

    assert explained(runner, reader, post)["author"] == "not followed"
    assert explained(runner, reader, gone)["post"] == "there is no such post"
    assert explained(runner, reader, gone)["verdict"] == "it does not belong in this feed, and the list agrees"


def test_a_post_that_should_not_be_there_is_explained(world, runner, reader):
    world.events()
    damage(world, reader, STALE)

    assert "report it" in explained(runner, reader, 5)["verdict"]
