"""Plays a client over HTTP alone, from registering to the end, with what /openapi.json says."""

import json
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from tests.tools.contract.document_client import DocumentClient, Refused

SECONDS = 20  # for what workers do after an answer


def journey(url: str) -> None:
    """Register, follow, post, read, search, change, leave. Raises AssertionError or Refused."""
    run = token_hex(4)
    ann, bob = _person(url, f"ann_{run}", f"Ann{run}"), _person(url, f"bob_{run}", f"Bob{run}")
    me, author = ann.call("get_me"), bob.call("get_me")
    assert me["username"] == f"ann_{run}"

    assert [user["id"] for user in ann.call("search_users", q=f"BOB{run}")] == [author["id"]]
    assert [user["id"] for user in ann.call("list_users", ids=[author["id"], me["id"]])] == [author["id"], me["id"]]
    ann.call("set_friend", user_id=author["id"])
    assert ann.call("get_user", user_id=author["id"])["is_followed"] is True
    assert bob.call("get_user", user_id=me["id"])["follows_you"] is True
    assert [user["id"] for user in bob.call("list_followers", user_id=author["id"])] == [me["id"]]
    assert [user["id"] for user in ann.call("list_followees", user_id=me["id"])] == [author["id"]]

    posts = [bob.call("create_post", text=f"post {number}") for number in range(3)]
    _until(lambda: _ids(ann.call("read_feed")) == posts[::-1], "the posts in the feed")
    pages = _ids(ann.call("read_feed", limit=2)) + _ids(ann.follow_link("read_feed"))
    assert pages == posts[::-1]
    assert _ids(ann.call("read_feed", after=posts[0])) == posts[:0:-1]
    assert _ids(ann.call("list_posts", user_id=author["id"])) == posts[::-1]

    bob.call("update_post", id=posts[0], text="edited")
    _until(lambda: ann.call("read_feed")[-1]["text"] == "edited", "the edited text in the feed")
    bob.call("delete_post", post_id=posts[1])
    _until(lambda: _ids(ann.call("read_feed")) == [posts[2], posts[0]], "no deleted post in the feed")
    assert _status(lambda: ann.call("get_post", post_id=posts[1])) == 404
    assert _status(lambda: ann.call("delete_post", post_id=posts[0])) == 403

    _read_and_export(ann, author["id"], posts)
    ann.call("update_user", city="Bergen")
    assert ann.call("get_me")["city"] == "Bergen"
    assert _status(lambda: ann.call("update_user", username=f"BOB_{run}")) == 409
    ann.call("delete_friend", user_id=author["id"])
    _until(lambda: ann.call("read_feed") == [], "an empty feed")
    _change_password(url, ann, f"ann_{run}")
    bob.call("set_block", user_id=me["id"])
    assert [block["id"] for block in bob.call("list_blocks")] == [me["id"]]
    assert _status(lambda: ann.call("set_friend", user_id=author["id"])) == 403
    bob.call("delete_block", user_id=me["id"])
    for client in (ann, bob):
        client.call("log_out")
        _until(lambda client=client: _status(lambda: client.call("get_me")) == 401, "a token refused")


def _person(url: str, username: str, first_name: str) -> DocumentClient:
    client = DocumentClient(url)
    user_id = client.call("register", username=username, first_name=first_name)["user_id"]
    logged_in = client.call("log_in", username=username)  # with the password of the example, as registered
    assert logged_in["user_id"] == client.call("log_in", id=user_id)["user_id"] == user_id
    client.token = logged_in["token"]
    return client


def _read_and_export(client: DocumentClient, followee: str, posts: list[str]) -> None:
    """Mark the first of two posts in the feed as read, and export that."""
    everything = {"unread": 2, "seen": None, "is_capped": False}
    _until(lambda: client.call("count_unread") == everything, "two unread posts")
    client.call("mark_seen", id=posts[0])
    assert client.call("count_unread") == {"unread": 1, "seen": posts[0], "is_capped": False}
    assert _ids(client.call("read_feed", after=posts[0])) == posts[2:]
    assert _status(lambda: client.call("mark_seen", id="9" * 19)) == 400
    lines = [json.loads(line) for line in client.call("export_me").splitlines()]
    assert [line["type"] for line in lines] == ["profile", "following", "seen", "end"]
    assert [line["id"] for line in lines[1:3]] == [followee, posts[0]]


def _change_password(url: str, client: DocumentClient, username: str) -> None:
    """Change the password: the token that is returned goes on, another does not."""
    other = DocumentClient(url)
    other.token = other.call("log_in", username=username)["token"]
    client.token = client.call("change_password", new_password="another horse")["token"]
    _until(lambda: _status(lambda: other.call("get_me")) == 401, "the older token refused")
    assert _status(lambda: other.call("log_in", username=username)) == 401
    client.token = client.call("log_in", username=username, password="another horse")["token"]


def _ids(posts: list[dict[str, Any]]) -> list[str]:
    return [post["id"] for post in posts]


def _status(call: Callable[[], Any]) -> int:
    try:
        call()
    except Refused as refused:
        return refused.status
    return 200


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.1)
