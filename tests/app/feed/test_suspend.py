"""Suspension: the posts leave all feeds and come back, exactly, in every interleaving."""

import json
import threading

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.errors import NotFound
from app.feed import store, suspend
from app.feed.cache import timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver
from app.feed.live import events as live_events
from app.feed.live import log
from app.feed.maintenance import verify
from app.feed.maintenance.verify import STALE
from app.feed.rebuild import rebuild, rebuild_for_message
from app.posts import export, follows, gone, suspensions
from app.posts import service as posts
from app.users import accounts
from tests.app.feed.celebrity import change_settings, contents
from tests.app.feed.test_erase import divergent, keys_of, left_in_sql, relay_users
from tests.factories import eventually


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(suspend, "BATCH", 2)


@pytest.fixture
def crowd(crowd):
    """The author and another one have written; all feeds are warm."""
    for author in (crowd.author, crowd.other, crowd.author):
        crowd.post(author)
    crowd.settle()
    assert crowd.is_exact()
    return crowd


@pytest.fixture
def pulled(app, crowd):
    change_settings(app, feed_pull_followers=2)
    for _ in range(2):
        crowd.post()
        crowd.settle()
    assert crowd.state == "pulled"
    return crowd


def suspend_user(crowd):
    accounts.suspend(crowd.author)
    relay_users(crowd)


def restore_user(crowd):
    accounts.restore(crowd.author)
    relay_users(crowd)


def of_author(crowd):
    """Which feeds show posts of the author, and whether all of them."""
    return [sorted(set(crowd.own) & set(crowd.shown(reader))) for reader in crowd.readers]


def suspended():
    rows = list(execute(POSTS, text("SELECT user_id FROM suspended_users")).scalars())
    commit()
    return rows


def none_of(crowd):
    return [[]] * len(crowd.readers)


def all_of(crowd):
    return [crowd.own] * len(crowd.readers)


# --- feeds -------------------------------------------------------------------------------------------------


def test_posts_leave_all_feeds_others_stay_and_a_restore_brings_them_back_in_their_places(crowd):
    before = [crowd.shown(reader) for reader in crowd.readers]

    suspend_user(crowd)
    during = [crowd.shown(reader) for reader in crowd.readers]
    divergent_during = divergent(crowd.readers)
    restore_user(crowd)

    assert during == [[post for post in page if post not in crowd.own] for page in before]
    assert [len(page) for page in during] == [1] * len(crowd.readers)
    assert [crowd.shown(reader) for reader in crowd.readers] == before
    assert (divergent_during, divergent(crowd.readers)) == ({}, {})


def test_a_cold_feed_and_a_page_of_sql_lack_the_posts_too(crowd):
    reader = crowd.readers[0]
    suspend_user(crowd)

    by_sql, _ = store.select_newest_posts(reader, 10, 10_000)
    many = dict(store.select_newest_ids(crowd.readers, 10))

    assert not set(crowd.own) & {post.id for post in by_sql}
    assert all(not set(map(str, crowd.own)) & set(ids) for ids in many.values())


def test_a_post_of_a_request_in_flight_is_in_no_feed_and_comes_with_the_restore(crowd):
    suspend_user(crowd)

    crowd.post()
    crowd.settle()
    during, is_exact = of_author(crowd), crowd.is_exact()
    restore_user(crowd)

    assert (during, is_exact) == (none_of(crowd), True)
    assert of_author(crowd) == all_of(crowd)


def test_a_push_under_way_is_taken_back_by_its_check(crowd, monkeypatch):
    post = crowd.post()
    check = follows.non_followers

    def suspended_in_between(*arguments):
        monkeypatch.setattr(follows, "non_followers", check)
        accounts.suspend(crowd.author)
        suspend.converge(crowd.author)
        return check(*arguments)

    monkeypatch.setattr(follows, "non_followers", suspended_in_between)
    deliver(PUSH, post, crowd.author, crowd.readers)

    assert [post in crowd.world.feed(reader) for reader in crowd.readers] == [False] * len(crowd.readers)


@pytest.mark.parametrize("is_cold", [False, True], ids=["warm", "cold"])
def test_a_rebuild_that_read_sql_before_the_suspension_is_not_committed(crowd, is_cold):
    reader = crowd.readers[0]
    if is_cold:
        timeline.HOME.evict([reader])
    lease = timeline.HOME.acquire(reader)
    ids, _ = store.select_feed(reader, 10)
    commit()

    suspend_user(crowd)

    assert set(map(str, crowd.own)) <= set(ids)
    assert not timeline.HOME.commit(reader, lease, ids)
    assert of_author(crowd) == none_of(crowd)


def test_a_rebuild_of_a_message_that_read_sql_before_comes_again(crowd, monkeypatch):
    reader, select = crowd.readers[0], store.select_feed

    def overtaken(*arguments):
        found = select(*arguments)
        monkeypatch.setattr(store, "select_feed", select)
        suspend_user(crowd)
        return found

    monkeypatch.setattr(store, "select_feed", overtaken)
    result, delay = rebuild_for_message(reader, "message")

    assert (result, delay > 0) == ("contended", True)
    assert rebuild_for_message(reader, "message")[0] == "done"
    assert of_author(crowd) == none_of(crowd)


def test_a_follow_after_the_last_batch_was_read_is_exact_by_its_own_rebuild(crowd):
    accounts.suspend(crowd.author)
    relay_users(crowd)
    late = crowd.world.person()
    rebuild(late)

    crowd.world.follow(late, crowd.author, crowd.other)
    crowd.settle()

    assert not set(crowd.own) & set(crowd.shown(late))
    restore_user(crowd)
    assert set(crowd.own) <= set(crowd.shown(late))


def test_a_pulled_author_leaves_the_marks_and_comes_back(pulled):
    marks = [[contents(timeline.HOME.key(reader)).pulled for reader in pulled.readers]]
    for change in (suspend_user, restore_user):
        change(pulled)
        assert pulled.is_exact()
        marks.append([contents(timeline.HOME.key(reader)).pulled for reader in pulled.readers])

    number = len(pulled.readers)
    assert marks == [[[pulled.author]] * number, [[]] * number, [[pulled.author]] * number]
    assert divergent(pulled.readers) == {}
    assert of_author(pulled) == all_of(pulled)


def test_a_transition_of_a_suspended_author_ends_and_their_posts_come_back(app, crowd):
    suspend_user(crowd)
    change_settings(app, feed_pull_followers=2)
    crowd.post()
    crowd.settle()
    state, during = crowd.state, of_author(crowd)

    restore_user(crowd)

    assert (state, during) == ("pulled", none_of(crowd))
    assert of_author(crowd) == all_of(crowd)
    assert divergent(crowd.readers) == {}


def test_verify_feeds_finds_a_feed_that_was_not_evicted(crowd, monkeypatch):
    monkeypatch.setattr(suspend, "evict_followers", lambda *_: None)

    suspend_user(crowd)

    found = divergent(crowd.readers)
    assert found == {reader: {(STALE, post) for post in crowd.own} for reader in crowd.readers}
    *_, report = verify.verify(crowd.readers, recheck_seconds=0, repair=True)
    assert (report.divergent, of_author(crowd)) == ({}, none_of(crowd))


def test_live_clients_of_all_followers_read_their_pages_again(crowd):
    place = log.listen()

    suspend_user(crowd)

    entries = log.read(place, 100)
    changed = [event.reader_ids for event in live_events.of(entries, set(crowd.readers)) if event.name == log.CHANGED]
    assert set().union(*changed) == set(crowd.readers)


def test_no_live_event_of_a_suspended_author_reaches_a_follower(crowd):
    suspend_user(crowd)

    assert follows.followers_among(crowd.author, crowd.readers) == []
    restore_user(crowd)
    assert sorted(follows.followers_among(crowd.author, crowd.readers)) == crowd.readers


# --- single posts ------------------------------------------------------------------------------------------


def test_a_post_of_a_suspended_user_is_404_and_their_list_is_empty_until_the_restore(crowd, client_of):
    client, post = client_of(crowd.readers[0]), crowd.own[0]

    def seen():
        listed = client.get(f"/post/list/{crowd.author}").json
        return client.get(f"/post/get/{post}").status_code, [int(each["id"]) for each in listed]

    before = seen()
    suspend_user(crowd)
    during = seen()
    restore_user(crowd)

    assert before == seen() == (200, crowd.own[::-1])
    assert during == (404, [])
    assert client.get(f"/post/get/{crowd.shown(crowd.readers[0])[0]}").status_code == 200


def test_an_export_under_way_at_the_suspension_lacks_no_post(app, crowd):
    """It says at its end that it is complete."""
    export_ = export.stream(app, crowd.author, {}, "request")
    parts = [next(export_)]

    suspend_user(crowd)
    lines = [json.loads(line) for line in b"".join([*parts, *export_]).splitlines()]

    assert [int(line["id"]) for line in lines if line["type"] == "post"] == crowd.own[::-1]
    assert lines[-1] == {"type": "end"}


def test_unread_posts_of_a_suspended_author_do_not_count(crowd):
    reader = crowd.readers[0]
    before = store.count_newer(reader, 10, 0)

    suspend_user(crowd)

    assert (before, store.count_newer(reader, 10, 0)) == (3, 1)


def test_an_operator_deletes_a_post_of_a_suspended_user_and_it_never_comes_back(crowd):
    deleted = crowd.own.pop()
    suspend_user(crowd)

    author = posts.delete_for_operator(deleted)
    crowd.settle()
    restore_user(crowd)

    assert author == crowd.author
    assert of_author(crowd) == all_of(crowd)
    assert all(deleted not in crowd.shown(reader) for reader in crowd.readers)
    with pytest.raises(NotFound):
        posts.delete_for_operator(deleted)


# --- late, repeated and reordered messages -----------------------------------------------------------------


def test_a_restore_that_overtakes_the_suspension_wins(crowd):
    accounts.suspend(crowd.author)
    accounts.restore(crowd.author)

    relay_users(crowd)  # both messages find that the user is restored

    assert suspended() == []
    assert of_author(crowd) == all_of(crowd)


def test_a_suspension_after_a_restore_wins_though_the_message_of_the_restore_comes_last(crowd):
    suspend_user(crowd)
    accounts.restore(crowd.author)
    accounts.suspend(crowd.author)

    for _ in range(2):
        crowd.handle("suspension_changed", user_id=crowd.author)
    crowd.settle()

    assert suspended() == [crowd.author]
    assert of_author(crowd) == none_of(crowd)


def test_a_message_that_has_asked_is_not_overtaken_before_it_has_written(app, crowd, monkeypatch):
    """Between question and answer the user is restored, and another message about that is handled."""
    is_suspended, overtaking = accounts.is_suspended, []

    def overtaken(user_id):
        found = is_suspended(user_id)
        if not overtaking:
            overtaking.append(None)

            def other():
                with app.app_context():
                    accounts.restore(user_id)
                    overtaking[0] = suspend.converge(user_id)

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        return found

    accounts.suspend(crowd.author)
    monkeypatch.setattr(accounts, "is_suspended", overtaken)
    suspend.converge(crowd.author)

    assert overtaking == [False]  # it comes again
    assert suspended() == [crowd.author]
    assert suspend.converge(crowd.author)
    assert suspended() == []


def test_every_message_may_come_twice_and_late(crowd, bag):
    handle = bag.handle
    bag.handle = lambda message: (handle(message), handle(message))
    suspend_user(crowd)
    during = of_author(crowd)
    restore_user(crowd)

    crowd.handle("visibility_changed", author_id=crowd.author, after=0)

    assert (during, of_author(crowd)) == (none_of(crowd), all_of(crowd))
    assert divergent(crowd.readers) == {}


def test_a_suspension_whose_messages_were_lost_is_made_by_repeating_it(crowd):
    accounts.suspend(crowd.author)
    suspend.converge(crowd.author)
    crowd.world.events()  # the broker has lost them

    suspend_user(crowd)

    assert of_author(crowd) == none_of(crowd)


# --- accounts that are deleted -----------------------------------------------------------------------------


def test_a_user_deleted_while_suspended_leaves_nothing(crowd):
    suspend_user(crowd)

    accounts.delete_for_operator(crowd.author)
    relay_users(crowd)
    for event in ("suspension_changed", "suspension_changed"):
        crowd.handle(event, user_id=crowd.author)
    crowd.settle()

    assert (suspended(), any(left_in_sql(crowd.author))) == ([], False)
    assert keys_of(crowd.author) == []
    assert divergent(crowd.readers) == {}


def test_no_post_comes_back_while_a_suspended_user_is_erased(crowd, monkeypatch):
    suspend_user(crowd)
    shown = []
    take_relations = gone.take_relations

    def look(*arguments):
        timeline.HOME.evict(crowd.readers)
        shown.extend(of_author(crowd))
        return take_relations(*arguments)

    monkeypatch.setattr(gone, "take_posts", lambda *_: None)  # not yet
    monkeypatch.setattr(gone, "take_relations", look)
    accounts.delete_for_operator(crowd.author)
    relay_users(crowd)

    assert shown
    assert [found for found in shown if found] == []


def test_a_message_that_has_asked_before_the_deletion_writes_nothing_after_the_erasure(crowd, monkeypatch):
    accounts.suspend(crowd.author)
    relay_users(crowd)
    execute(POSTS, text("DELETE FROM suspended_users"))
    commit()
    gone.bury(crowd.author)
    commit()

    suspend.converge(crowd.author)  # the users database still says that the user is suspended

    assert suspended() == []


def test_an_erasure_waits_for_a_message_that_is_about_to_write(app, crowd):
    suspensions.lock(crowd.author)
    suspensions.insert(crowd.author)
    buried = []

    def bury():
        with app.app_context():
            buried.append(gone.bury(crowd.author))

    thread = threading.Thread(target=bury)
    thread.start()
    eventually(lambda: buried, "it does not wait for the lock")
    thread.join()
    commit()

    assert (buried, suspended()) == ([False], [crowd.author])
