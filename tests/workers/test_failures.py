"""Messages that failed permanently: the feeds, posts and authors that they name."""

import inspect

import dramatiq
import pytest

from workers.failures import INVALIDATES, named_by


def test_what_a_final_failure_invalidates_is_said_of_every_actor_that_has_one(actors):
    broker = dramatiq.get_broker()
    declared = [broker.get_actor(name) for name in broker.get_declared_actors()]
    failing = {actor.actor_name: actor for actor in declared if actor.options.get("on_retry_exhausted") == "give_up"}

    assert set(INVALIDATES) == set(failing)
    for name, arguments in INVALIDATES.items():
        parameters = list(inspect.signature(failing[name].fn).parameters)
        assert len(parameters) == len(arguments)
        assert all(said in (None, taken) for said, taken in zip(arguments, parameters, strict=True))


@pytest.mark.parametrize(
    ("actor", "args", "kwargs", "named"),
    [
        ("deliver", ["push", 5, 6, [7]], {}, {"post_id": 5, "follower_ids": [7]}),
        ("deliver", ["push", 5], {"author_id": 6, "follower_ids": [7]}, {"post_id": 5, "follower_ids": [7]}),
        ("post_created", [], {"post_id": 5, "author_id": 6}, {"post_id": 5, "author_id": 6}),
        ("warm", ["run", [7]], {}, {"user_ids": [7]}),
        ("follows_changed", [], {"follower_id": 7, "newer": 1}, {"follower_id": 7}),
        ("follows_changed", [7, "newer"], {"follower_id": 7}, {"follower_id": 7}),
        ("of another version", [1], {"follower_ids": [7], "newer": 1}, {"follower_ids": [7]}),
    ],
)
def test_a_message_of_any_version_invalidates_what_it_names(actor, args, kwargs, named):
    assert named_by({"actor_name": actor, "args": args, "kwargs": kwargs}) == named
