"""asyncapi.yaml describes all messages of live events.

tests/tools/documented_live.py holds every message that a test receives against it.
"""

import warnings
from copy import deepcopy

import jsonschema_rs
import pytest
from pydantic import ValidationError

from app.feed.live import hub, log
from app.feed.live.posted import CODES
from app.feed.live.subscription import END, RESET
from app.http.headers import API_VERSION
from tests.tools import documented, documented_live
from tests.tools.documented_live import CHANNELS, DOCUMENT, resolve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of fields of brokers' bindings that shadow others
    from asyncapi3 import AsyncAPI3

ID = "2125011480165912577"
TIME = "2026-11-26T09:45:00.123456+00:00"
POST = {"id": ID, "text": "Hello", "author_user_id": ID, "created_at": TIME, "updated_at": TIME}
LIVE, POSTED = "/post/feed/live", "/post/feed/posted"


def test_it_is_served_as_it_is_written_and_without_a_token(app):
    assert app.test_client().get("/asyncapi.json").json == DOCUMENT


def test_it_is_valid_asyncapi_3():
    assert DOCUMENT["asyncapi"].startswith("3.0.")
    AsyncAPI3.model_validate(DOCUMENT)
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "http://json-schema.org/draft-07/schema#"})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["info"].pop("title"),
        lambda document: document["channels"]["posted"].update(adress="/"),
        lambda document: document["operations"]["sendPosted"].update(action="push"),
        lambda document: document["components"]["messages"]["posted"].update(body={}),
    ],
    ids=["no title", "a misspelt field", "an action that does not exist", "a field that does not exist"],
)
def test_a_document_that_is_not_asyncapi_fails(spoil):
    spoilt = deepcopy(DOCUMENT)
    spoil(spoilt)

    with pytest.raises(ValidationError):
        AsyncAPI3.model_validate(spoilt)


def test_its_channels_are_the_routes_and_its_version_is_that_of_the_api(app):
    rules = {rule.rule for rule in app.url_map.iter_rules()}

    assert CHANNELS.keys() == {LIVE, POSTED}
    assert CHANNELS.keys() <= rules
    assert DOCUMENT["info"]["version"] == API_VERSION


def test_its_messages_are_those_that_are_sent():
    assert CHANNELS[LIVE]["messages"].keys() == {log.POSTED, log.EDITED, log.DELETED, log.CHANGED, RESET, END}
    assert CHANNELS[POSTED]["messages"].keys() == {log.POSTED}
    for channel in CHANNELS.values():
        for name, message in channel["messages"].items():
            assert resolve(message)["name"] == name


def test_each_channel_has_an_operation():
    channels = {operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()}

    assert channels == {f"#/channels/{name}" for name in DOCUMENT["channels"]}


def test_every_example_fits_its_schema():
    for address, channel in CHANNELS.items():
        for name, message in channel["messages"].items():
            for example in resolve(message)["examples"]:
                documented_live.check(address, name, example["payload"])


def test_a_post_is_that_of_openapi():
    ours, theirs = (found["components"]["schemas"]["Post"] for found in (DOCUMENT, documented.DOCUMENT))

    assert ours["properties"].keys() == theirs["properties"].keys()
    assert sorted(ours["required"]) == sorted(theirs["required"])


def test_it_names_every_reason_of_an_end_and_every_code_of_a_close():
    reasons = DOCUMENT["components"]["schemas"]["End"]["properties"]["reason"]["enum"]

    assert set(reasons) == {hub.EXPIRED, hub.REVOKED, hub.REPLACED, hub.RESTART}
    for reason, code in CODES.items():
        assert f"`{reason}`" in DOCUMENT["channels"]["posted"]["description"]
        assert str(code) in DOCUMENT["channels"]["posted"]["description"]


UNDOCUMENTED = {
    "a name": (LIVE, "moved", {}),
    "a name of the other channel": (POSTED, "deleted", {"id": ID}),
    "a field more": (LIVE, "posted", POST | {"likes": 1}),
    "a field less": (POSTED, "posted", {"postId": ID, "postText": "Hello"}),
    "a number as an id": (LIVE, "deleted", {"id": 1}),
    "a time that is none": (LIVE, "edited", POST | {"updated_at": "now"}),
    "a reason": (LIVE, "end", {"reason": "bored"}),
    "data of an event that has none": (LIVE, "changed", {"id": ID}),
}


@pytest.mark.parametrize("message", UNDOCUMENTED.values(), ids=UNDOCUMENTED)
def test_a_message_that_is_not_documented_fails(message):
    with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
        documented_live.check(*message)


def test_a_message_that_is_documented_passes():
    documented_live.check(LIVE, "posted", POST)
