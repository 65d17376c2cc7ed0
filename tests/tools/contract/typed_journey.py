"""Plays a client by lenta_client, which a generator makes from /openapi.json: python typed_journey.py URL."""

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from secrets import token_hex
from typing import TypeVar

from lenta_client import AuthenticatedClient, Client
from lenta_client.api.feed import count_unread, mark_seen, read_feed
from lenta_client.api.friends import delete_friend, list_followers, set_friend
from lenta_client.api.posts import create_post, delete_post, get_post, list_posts, update_post
from lenta_client.api.users import (
    change_password,
    export_me,
    get_me,
    get_user,
    log_in,
    log_out,
    register,
    search_users,
    update_user,
)
from lenta_client.models import (
    CredentialsByUsername,
    EditedPost,
    Error,
    NewPost,
    PasswordChange,
    ProfileChanges,
    Registration,
    Seen,
)

PASSWORD, NEW_PASSWORD = "correct horse", "battery staple"
SECONDS = 20

T = TypeVar("T")


def got(answer: T | Error | None) -> T:
    """Return an answer that is no error."""
    assert answer is not None
    assert not isinstance(answer, Error), answer
    return answer


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS} s"
        time.sleep(0.1)


def is_refused(client: AuthenticatedClient) -> bool:
    return isinstance(get_me.sync(client=client), Error)


def person(url: str, name: str) -> tuple[str, AuthenticatedClient]:
    """Register a person and log them in. Returns the id and a client."""
    anyone = Client(url, raise_on_unexpected_status=True)
    profile = Registration(name, "Lee", date(1990, 1, 31), PASSWORD, username=name)
    user_id = got(register.sync(client=anyone, body=profile)).user_id
    return user_id, logged_in(url, name, PASSWORD)


def logged_in(url: str, name: str, password: str) -> AuthenticatedClient:
    anyone = Client(url, raise_on_unexpected_status=True)
    token = got(log_in.sync(client=anyone, body=CredentialsByUsername(name, password))).token
    return AuthenticatedClient(url, token, raise_on_unexpected_status=True)


def main(url: str) -> None:
    run = token_hex(4)
    (ann_id, ann), (bob_id, bob) = person(url, f"ann_{run}"), person(url, f"bob_{run}")
    assert [user.id for user in got(search_users.sync(client=ann, q=f"BOB_{run}"))] == [bob_id]
    got(set_friend.sync(bob_id, client=ann))
    assert got(get_user.sync(bob_id, client=ann)).is_followed
    assert [follow.id for follow in got(list_followers.sync(bob_id, client=bob))] == [ann_id]

    posts = [got(create_post.sync(client=bob, body=NewPost(f"post {number}"))) for number in range(2)]
    until(lambda: [post.id for post in got(read_feed.sync(client=ann))] == posts[::-1])
    assert [post.id for post in got(list_posts.sync(bob_id, client=ann))] == posts[::-1]
    got(update_post.sync(client=bob, body=EditedPost(posts[0], "edited")))
    assert got(get_post.sync(posts[0], client=ann)).text == "edited"
    got(delete_post.sync(posts[1], client=bob))
    until(lambda: [post.text for post in got(read_feed.sync(client=ann))] == ["edited"])

    assert got(count_unread.sync(client=ann)).unread == 1
    got(mark_seen.sync(client=ann, body=Seen(posts[0])))
    unread = got(count_unread.sync(client=ann))
    assert (unread.unread, unread.seen, unread.is_capped) == (0, posts[0], False)
    lines = [json.loads(line) for line in got(export_me.sync(client=ann)).splitlines()]
    assert [line["type"] for line in lines] == ["profile", "following", "seen", "end"]

    got(update_user.sync(client=ann, body=ProfileChanges(city="Bergen")))
    assert got(get_me.sync(client=ann)).city == "Bergen"
    got(delete_friend.sync(bob_id, client=ann))
    until(lambda: got(read_feed.sync(client=ann)) == [])
    got(change_password.sync(client=ann, body=PasswordChange(PASSWORD, NEW_PASSWORD)))
    ann = logged_in(url, f"ann_{run}", NEW_PASSWORD)
    for client in (ann, bob):
        got(log_out.sync(client=client))
        until(partial(is_refused, client))


if __name__ == "__main__":
    main(sys.argv[1])
