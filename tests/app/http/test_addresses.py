"""Addresses as keys: one subscriber is one key, in every notation."""

import pytest

from app.http.addresses import UNKNOWN, client_subscriber, subscriber


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("203.0.113.8", "203.0.113.8"),
        ("203.0.113.8:50001", "203.0.113.8"),
        ("203.0.113.8:", "203.0.113.8"),
        (" 203.0.113.8 ", "203.0.113.8"),
        ("[203.0.113.8]:50001", "203.0.113.8"),
        ("::ffff:203.0.113.8", "203.0.113.8"),
        ("::FFFF:CB00:7108", "203.0.113.8"),
        ("[::ffff:203.0.113.8]:50001", "203.0.113.8"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002::1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:50001", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("[fe80::2%25eth1]:80", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_becomes_the_key_of_its_subscriber(text, key):
    assert subscriber(text) == key


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "unknown", "_hidden", "localhost", "203.0.113", "203.0.113.256", "203.000.113.008", "3405803784"),
        *("203.0.113.8:http", "203.0.113.8 :1", "[203.0.113.8", "[]", "[]:1", ":1", "2001:db8::1::2", "é", "\0"),
    ],
)
def test_other_text_is_no_address(text):
    assert subscriber(text) is None


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"REMOTE_ADDR": "203.0.113.8"}, "203.0.113.8"),
        ({"REMOTE_ADDR": "garbage", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": "192.0.2.1"}}, "192.0.2.1"),
        ({"REMOTE_ADDR": ""}, UNKNOWN),  # a UNIX socket
        ({"REMOTE_ADDR": "", "werkzeug.proxy_fix.orig": {"REMOTE_ADDR": ""}}, UNKNOWN),
    ],
)
def test_a_client_without_an_address_has_that_of_its_proxy(app, environ, key):
    with app.test_request_context(environ_overrides=environ):
        assert client_subscriber() == key
