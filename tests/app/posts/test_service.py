"""Every write leaves exactly its event; refused and ineffective ones leave none."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from app.db.engine import POSTS, commit, db
from app.errors import Forbidden, InvalidInput, NotFound
from app.posts import gone, service
from app.posts.store import NewPost

NOBODY = 1  # no user and no post has this id


class Scene(NamedTuple):
    """Ann follows Bea, and has a post; the outbox is empty."""

    ann: int
    bea: int
    cid: int
    post: int


@pytest.fixture
def scene(world):
    ann, bea, cid = world.people(3)
    world.follow(ann, bea)
    post = world.post(ann)
    world.events()
    return Scene(ann, bea, cid, post)


WRITES: dict[str, Callable[[Scene], object]] = {
    "publish": lambda scene: service.publish(scene.ann, "hello"),
    "edit": lambda scene: service.edit(scene.post, scene.ann, "edited"),
    "delete": lambda scene: service.delete(scene.post, scene.ann),
    "follow": lambda scene: service.follow(scene.ann, scene.cid),
    "unfollow": lambda scene: service.unfollow(scene.ann, scene.bea),
    "block, which ends a follow": lambda scene: service.block(scene.bea, scene.ann),
}


def committed(query):
    """Read on another connection."""
    with db.engines[POSTS].connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def everything():
    tables = ("posts", "follows", "blocks", "outbox")
    return {table: committed(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


# --- events of writes -----------------------------------------------------------------------------------


def test_publishing_leaves_the_post_and_its_event(scene, world):
    post_id = service.publish(scene.ann, "hello")

    assert committed(f"SELECT author_id, text, version FROM posts WHERE id = {post_id}") == [(scene.ann, "hello", 1)]
    assert world.events() == [("post_created", {"post_id": post_id, "author_id": scene.ann})]


def test_posts_of_one_transaction_have_each_their_author_text_event_and_request(scene, world):
    new = [NewPost(author, f"by {author}", f"request-{author}") for author in (scene.cid, scene.ann, scene.bea)]

    ids = service.publish_all(new)

    rows = "SELECT id, author_id, text FROM posts WHERE text LIKE 'by %' ORDER BY id"
    wanted = [(post_id, post.author_id, post.text) for post_id, post in zip(ids, new, strict=True)]
    assert committed(rows) == sorted(wanted)
    events = committed("SELECT payload, request_id FROM outbox ORDER BY id")
    assert events == [
        ({"post_id": post_id, "author_id": post.author_id}, post.request_id)
        for post_id, post in zip(ids, new, strict=True)
    ]


def test_a_post_of_a_user_who_is_gone_is_none_of_its_transaction(scene, world):
    gone.bury(scene.bea)
    commit()

    ids = service.publish_all([NewPost(author, "new", None) for author in (scene.bea, scene.ann)])

    assert ids[0] is None
    assert committed("SELECT id, author_id FROM posts WHERE text = 'new'") == [(ids[1], scene.ann)]
    assert world.events() == [("post_created", {"post_id": ids[1], "author_id": scene.ann})]


def test_editing_leaves_the_new_text_and_its_event(scene, world):
    service.edit(scene.post, scene.ann, "edited")

    assert committed(f"SELECT text FROM posts WHERE id = {scene.post}") == [("edited",)]
    assert world.events() == [("post_edited", {"post_id": scene.post})]


def test_each_edit_raises_the_version_by_one_and_moves_updated_at(scene):
    query = f"SELECT version, created_at, updated_at FROM posts WHERE id = {scene.post}"
    states = committed(query)

    for number in range(2):
        service.edit(scene.post, scene.ann, f"edited {number}")
        states += committed(query)

    versions, created, updated = zip(*states, strict=True)
    assert versions == (1, 2, 3)
    assert len(set(created)) == 1
    assert updated[0] < updated[1] < updated[2]


def test_editing_one_post_leaves_the_others_as_they_are(scene):
    other = service.publish(scene.ann, "other")

    service.edit(scene.post, scene.ann, "edited")

    assert committed(f"SELECT text, version FROM posts WHERE id = {other}") == [("other", 1)]


def test_deleting_leaves_no_post_and_its_event(scene, world):
    service.delete(scene.post, scene.ann)

    assert committed("SELECT id FROM posts") == []
    assert world.events() == [("post_deleted", {"post_id": scene.post, "author_id": scene.ann})]


def test_following_leaves_the_follow_and_its_event(scene, world):
    service.follow(scene.ann, scene.cid)

    assert (scene.ann, scene.cid) in committed("SELECT follower_id, followee_id FROM follows")
    assert world.events() == [("follows_changed", {"follower_id": scene.ann})]


def test_unfollowing_leaves_no_follow_and_its_event(scene, world):
    service.unfollow(scene.ann, scene.bea)

    assert committed("SELECT * FROM follows") == []
    assert world.events() == [("follows_changed", {"follower_id": scene.ann})]


def test_events_are_taken_in_the_order_of_the_writes(scene, world):
    post_id = service.publish(scene.ann, "hello")
    service.edit(post_id, scene.ann, "edited")
    service.delete(post_id, scene.ann)
    service.follow(scene.ann, scene.cid)

    assert [event for event, _ in world.events()] == [
        "post_created",
        "post_edited",
        "post_deleted",
        "follows_changed",
    ]


# --- one transaction ---------------------------------------------------------------------------------------

# The session had read the other database too: where that ended first, rolling it back says so.
FAILED_COMMIT = pytest.mark.filterwarnings("ignore:transaction already deassociated:sqlalchemy.exc.SAWarning")


@FAILED_COMMIT
@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_event_cannot_be_kept_is_not_kept_either(scene, refuse, write):
    refuse("outbox")
    before = everything()

    with pytest.raises(InternalError, match="refused"):
        WRITES[write](scene)

    db.session.rollback()
    assert everything() == before


@FAILED_COMMIT
@pytest.mark.parametrize("write", WRITES)
def test_an_event_whose_write_cannot_be_kept_is_not_kept_either(scene, refuse, write):
    refuse("follows" if "follow" in write else "posts")
    before = everything()

    with pytest.raises(InternalError, match="refused"):
        WRITES[write](scene)

    db.session.rollback()
    assert everything() == before


# --- no events -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda scene: service.edit(scene.post, scene.bea, "edited"), Forbidden),
        (lambda scene: service.delete(scene.post, scene.bea), Forbidden),
        (lambda scene: service.edit(NOBODY, scene.ann, "edited"), NotFound),
        (lambda scene: service.delete(NOBODY, scene.ann), NotFound),
        (lambda scene: service.follow(scene.ann, NOBODY), NotFound),
        (lambda scene: service.unfollow(scene.ann, NOBODY), NotFound),
        (lambda scene: service.follow(scene.ann, scene.ann), InvalidInput),
    ],
    ids=[
        "editing another user's post",
        "deleting another user's post",
        "editing an unknown post",
        "deleting an unknown post",
        "following an unknown user",
        "unfollowing an unknown user",
        "following oneself",
    ],
)
def test_a_refused_write_leaves_everything_as_it_was(scene, write, error):
    before = everything()

    with pytest.raises(error):
        write(scene)

    db.session.commit()  # had anything been written, it would now be kept
    assert everything() == before


def test_following_twice_leaves_one_event(scene, world):
    service.follow(scene.ann, scene.cid)
    service.follow(scene.ann, scene.cid)

    assert len(world.events()) == 1


def test_unfollowing_twice_leaves_one_event(scene, world):
    service.unfollow(scene.ann, scene.bea)
    service.unfollow(scene.ann, scene.bea)

    assert len(world.events()) == 1


def test_getting_an_unknown_post_raises_not_found(app):
    with pytest.raises(NotFound):
        service.get(NOBODY)
