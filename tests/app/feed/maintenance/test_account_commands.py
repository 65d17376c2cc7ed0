"""Commands that suspend, restore and show a user, and delete a post."""

import json

import pytest

from app.feed import suspend
from app.feed.rebuild import rebuild
from app.posts import service as posts
from app.users import accounts
from app.users import service as users
from tests.app.users.test_accounts import HASH, OLD


@pytest.fixture
def ann(world):
    return world.person(password_hash=HASH, username="ann_lee")


def run(runner, *args, exit_code=0):
    result = runner.invoke(args=[*map(str, args)])
    assert result.exit_code == exit_code, result.output
    return result.output


def shown(runner, user_id):
    return json.loads(run(runner, "show-user", user_id, "--json"))


def test_suspend_user_says_what_it_did_and_what_follows(runner, ann):
    first, again = run(runner, "suspend-user", ann), run(runner, "suspend-user", ann)

    assert first.startswith(f"User {ann} is suspended. Tokens and log-ins are refused; workers take")
    assert "was suspended before; its posts are taken out once more" in again
    assert accounts.is_suspended(ann)


def test_restore_user_says_what_it_did_and_what_follows(runner, ann):
    accounts.suspend(ann)

    first, again = run(runner, "restore-user", ann), run(runner, "restore-user", ann)

    assert first.startswith(f"User {ann} is restored. They log in as before; workers bring")
    assert "was not suspended" in again
    assert users.log_in(ann, OLD)


def test_both_print_json(runner, ann):
    printed = [
        json.loads(run(runner, command, ann, "--json"))
        for command in ("suspend-user", "suspend-user", "restore-user", "restore-user")
    ]

    assert [answer["user_id"] for answer in printed] == [str(ann)] * 4
    assert [answer["was_suspended"] for answer in printed] == [False, True, True, False]


@pytest.mark.parametrize("command", ["suspend-user", "restore-user", "show-user"])
def test_an_unknown_user_is_one_line(runner, ann, command):
    assert run(runner, command, ann + 1, exit_code=1) == "Error: There is no such user.\n"


def test_delete_post_deletes_a_post_of_any_user(world, runner, ann):
    reader = world.person()
    world.follow(reader, ann)
    first, second = world.post(ann), world.post(ann)

    said, printed = run(runner, "delete-post", first), json.loads(run(runner, "delete-post", second, "--json"))

    assert said == f"Post {first} of user {ann} is deleted; workers take it out of all feeds now.\n"
    assert printed == {"post_id": str(second), "author_id": str(ann)}
    assert [event for event in world.events() if event[0] == "post_deleted"] == [
        ("post_deleted", {"post_id": post, "author_id": ann}) for post in (first, second)
    ]
    assert run(runner, "delete-post", first, exit_code=1) == "Error: There is no such post.\n"


def test_show_user_shows_profile_counts_tokens_and_feed(world, runner, ann):
    author = world.person()
    world.follow(ann, author)
    world.post(author)
    world.post(ann)
    cold = shown(runner, ann)
    rebuild(ann)

    found, said = shown(runner, ann), run(runner, "show-user", ann)

    assert cold["feed"] == {"state": "cold", "posts": 0, "pulled_authors": [], "is_rebuilding": False}
    assert found["feed"] == {"state": "complete", "posts": 1, "pulled_authors": [], "is_rebuilding": False}
    assert (found["state"], found["suspended_at"], found["tokens_generation"]) == ("active", None, "0")
    assert found["profile"]["username"] == "ann_lee"
    assert found["counts"] == {"followers": 0, "following": 1, "posts": 1}
    assert "username:       ann_lee\n" in said
    assert "feed in Redis:  complete, 1 posts\n" in said
    assert "password" not in said + json.dumps(found)


def test_show_user_shows_a_suspension_and_how_far_it_has_got(runner, ann):
    accounts.suspend(ann)
    before = shown(runner, ann)
    suspend.converge(ann)

    after, said = shown(runner, ann), run(runner, "show-user", ann)

    assert [found["posts_hidden"] for found in (before, after)] == [False, True]
    assert (after["state"], int(after["tokens_generation"]) > 0) == ("suspended", True)
    assert f"suspended since {after['suspended_at']}" in said
    assert "posts are:      hidden" in said


def test_show_user_says_that_an_account_was_deleted_and_what_is_left(world, runner, ann):
    world.post(ann)
    accounts.delete_for_operator(ann)

    found, said = shown(runner, ann), run(runner, "show-user", ann)

    assert (found["state"], found["counts"]["posts"], "profile" in found) == ("deleted", 1, False)
    assert "state:          deleted\n" in said


def test_explain_feed_says_that_the_author_is_suspended(world, runner, ann):
    reader = world.person()
    world.follow(reader, ann)
    post = world.post(ann)
    before = run(runner, "explain-feed", reader, post)
    accounts.suspend(ann)
    suspend.converge(ann)

    said = run(runner, "explain-feed", reader, post)

    assert "suspended" not in before
    assert "author is suspended:" in said
    assert posts.list_by_author(ann, 10) == ([], False)
    assert "it does not belong in this feed" in said
