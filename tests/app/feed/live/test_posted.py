"""New posts by WebSocket."""

import json
import os
import signal
import socket
import threading
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from app.auth.tokens import LEEWAY_SECONDS, VerifiedToken, issue_token
from app.feed.live import log, posted
from app.feed.live.hub import USER_CONNECTIONS, hub
from app.feed.live.posted import PostedStream
from app.feed.live.routes import SPREAD_MS
from app.feed.live.subscription import WEBSOCKET
from app.http.connection import Connection
from app.http.websocket import MAX_MESSAGE
from app.posts import service as posts
from app.redis.client import client
from local.ports import free_port
from tests.app.feed.live.conftest import connections, metrics_of
from tests.conftest import RUN
from tests.factories import eventually
from tests.tools.posted import PATH, PostedReader
from tests.tools.processes import Web
from tests.tools.raw_http import exchange
from tests.tools.raw_websocket import BINARY, CLOSE, HANDSHAKE, PING, PONG, TEXT, RawSocket, frame, request

PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG, RESTART = 1002, 1007, 1009, 1012


@pytest.fixture
def web(settings, app, folder):
    """gunicorn without a worker."""
    web = Web(replace(settings, port=free_port(), web_workers=1), folder / f"posted-{RUN}.log")
    yield web.wait()
    web.stop()


@pytest.fixture
def connect():
    """Connects a client and waits for it, or for its refusal."""
    made = []

    def connect(web, user_id, *, or_refused=False, **options):
        reader = PostedReader(web.port, issue_token(user_id), **options)
        made.append(reader)
        eventually(lambda: reader.connections or (or_refused and reader.status), "the client is connected")
        return reader

    yield connect
    for reader in made:
        reader.close()


def ended(reader, code, **reason):
    """Wait until a connection of the client has ended so. Returns the reason."""
    eventually(lambda: [found for found, _ in reader.closes] == [code], f"it was closed with {code}: {reader.closes}")
    found = json.loads(reader.closes[0][1])
    assert found.items() >= reason.items()
    return found


@pytest.mark.parametrize("by_subprotocol", [False, True], ids=["X-Auth", "subprotocol"])
def test_a_client_gets_each_new_post_of_those_it_follows_and_no_other(service, connect, world, by_subprotocol):
    reader, author, stranger = world.people(3)
    world.follow(reader, author)
    client_ = connect(service(), reader, by_subprotocol=by_subprotocol)

    world.post(stranger, "of a stranger")
    first, second = world.post(author, "first"), world.post(author, "второй")
    eventually(lambda: client_.posts == {first: "first", second: "второй"}, f"it has both: {client_.posts}")
    posts.edit(first, author, "edited")
    posts.delete(second, author)
    third = world.post(author, "third")
    eventually(lambda: third in client_.posts, "it has the third")

    assert client_.posts == {first: "first", second: "второй", third: "third"}
    assert client_.closes == []


def test_both_doors_count_and_a_client_that_leaves_does_not(web, connect, live, world):
    reader = world.person()
    live(web, reader)
    client_ = connect(web, reader)
    assert connections(web) == {"sse": 1, "websocket": 1}

    client_.close()

    eventually(lambda: connections(web) == {"sse": 1}, "it has left")


def test_above_its_limit_a_process_refuses_a_websocket_too(service, live, world):
    reader = world.person()
    web = service(live_connections=1)
    live(web, reader)

    [response] = exchange(web.port, request(HANDSHAKE | {"X-Auth": issue_token(reader)}), half_close=True)

    assert (response.status, response.json["code"]) == (503, 1010)


def test_a_log_out_closes_the_connection_and_says_why(web, connect, world):
    client_ = connect(web, world.person())

    assert web.call("POST", "/logout", client_.token)[0] == 200

    ended(client_, 4401, reason="token_revoked")
    eventually(lambda: client_.status == 401, "it may not come back")


def test_an_expired_token_closes_the_connection_and_says_why(web, app, connect, world):
    reader = world.person()
    for seconds in (2, 8, 20):  # until the token lives for long enough to connect
        app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(seconds=seconds - LEEWAY_SECONDS)
        client_ = connect(web, reader, or_refused=True)
        if client_.connections:
            break

    ended(client_, 4401, reason="token_expired")


def test_with_one_connection_too_many_the_oldest_is_closed(web, connect, world):
    reader = world.person()
    first = connect(web, reader)
    first.stay_away()  # or it would be one too many again
    others = [connect(web, reader) for _ in range(USER_CONNECTIONS)]

    ended(first, 4429, reason="too_many_connections")
    assert [client_.closes for client_ in others[1:]] == [[]] * (USER_CONNECTIONS - 1)


def test_a_stop_tells_clients_to_come_back_at_another_moment_each(web, connect, world):
    clients = [connect(web, world.person()) for _ in range(4)]
    [child] = web.children()

    os.kill(child, signal.SIGTERM)  # gunicorn starts another

    pauses = [ended(client_, RESTART, reason="restart")["retry"] for client_ in clients]
    assert all(0 <= pause <= SPREAD_MS for pause in pauses)
    assert len(set(pauses)) > 1
    eventually(lambda: [client_.connections for client_ in clients] == [2] * 4, "all have come back")


def test_a_client_of_a_lost_log_is_told_to_read_its_page(web, connect, world):
    client_ = connect(web, world.person())

    client().delete(log.LOG_KEY, log.LISTENING_KEY)

    ended(client_, 4410, reason="reset")


# --- frames ------------------------------------------------------------------------------------------------

CLOSED = b"\x03\xe8"  # 1000
WRONG = {
    "a frame without a mask": (b"\x81\x02hi", PROTOCOL_ERROR),
    "an opcode that does not exist": (frame(3), PROTOCOL_ERROR),
    "a reserved bit": (frame(TEXT | 0x40, b"hi"), PROTOCOL_ERROR),
    "a ping in two frames": (frame(PING, is_last=False), PROTOCOL_ERROR),
    "a long ping": (frame(PING, b"x" * 126), PROTOCOL_ERROR),
    "a close with a code that does not exist": (frame(CLOSE, b"\x00\x01"), PROTOCOL_ERROR),
    "a continuation of nothing": (frame(0, b"hi"), PROTOCOL_ERROR),
    "text that is not UTF-8": (frame(TEXT, b"\xff\xff"), INVALID_TEXT),
    "a long message": (frame(BINARY, b"x" * (MAX_MESSAGE + 1)), TOO_BIG),
    "a long message in frames": (
        frame(TEXT, b"x" * MAX_MESSAGE, is_last=False) + frame(0, b"x"),
        TOO_BIG,
    ),
    "a frame that says it is long": (frame(BINARY, b"x" * (MAX_MESSAGE + 1), length=2**16 - 1), TOO_BIG),
}


def test_frames_that_are_wrong_close_the_connection_with_their_code(web, world):
    token = issue_token(world.person())
    for name, (sent, code) in WRONG.items():
        with closing(RawSocket(web.port, token)) as client_:
            client_.send(sent)

            received = client_.receive()
            assert received is not None, name
            assert (received.opcode, received.code) == (CLOSE, code), name
            assert client_.receive() is None, name


def test_pings_and_closes_are_answered_and_messages_have_no_meaning(web, world):
    with closing(RawSocket(web.port, issue_token(world.person()))) as client_:
        client_.send(frame(TEXT, b"hello") + frame(BINARY, b"x" * 100))
        client_.send(frame(TEXT, b"hel", is_last=False) + frame(PING, b"between") + frame(0, b"lo") + frame(PONG))
        assert client_.receive() == (PONG, b"between")
        for byte in frame(PING, b"in pieces"):
            client_.send(bytes([byte]))
        assert client_.receive() == (PONG, b"in pieces")

        client_.send(frame(CLOSE, CLOSED))

        assert client_.receive() == (CLOSE, CLOSED)
        assert client_.receive() is None
    eventually(lambda: connections(web) == {}, "it has left")


def test_a_connection_is_in_the_access_log_and_in_the_metrics(web, world):
    RawSocket(web.port, issue_token(world.person())).close()

    eventually(lambda: f'GET {PATH} HTTP/1.1\\" 101' in web.log.read_text(), "its line is there")
    requests = f'lenta_http_requests_total{{method="GET",route="{PATH}",status="101"}} 1.0'
    assert requests in metrics_of(web)


def test_a_client_that_is_gone_without_a_close_has_left(web, world):
    RawSocket(web.port, issue_token(world.person())).close()

    eventually(lambda: connections(web) == {}, "it has left")


def test_a_client_that_sends_without_end_delays_no_other(web, world):
    reader = world.person()
    with closing(RawSocket(web.port, issue_token(reader))) as client_:
        flood = threading.Thread(target=send_without_end, args=[client_], daemon=True)
        flood.start()

        assert all(web.get("/post/feed", issue_token(reader))[0] == 200 for _ in range(20))

        assert flood.is_alive()
        client_.close()
        flood.join(20)


def send_without_end(client_):
    with suppress(OSError):
        while True:
            client_.send(frame(BINARY, b"x" * 1000) * 50)


# --- pings -------------------------------------------------------------------------------------------------


@pytest.fixture
def stream(app, world, monkeypatch):
    """The stream of a server to a client, and the client's end of the connection."""
    monkeypatch.setattr(posted, "HEARTBEAT_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    connection = Connection(ours, lambda: None, lambda: None)
    stream = PostedStream(hub(), VerifiedToken(world.person(), 2**40, "token", 0), connection)
    yield iter(stream), theirs
    stream.close()
    connection.close()
    theirs.close()
    eventually(lambda: hub().place is None, "its thread has ended")


def test_a_client_that_comes_while_the_process_stops_is_sent_away(app, world):
    hub()._stop()

    subscription = hub().subscribe(VerifiedToken(world.person(), 2**40, "token", 0), None, WEBSOCKET)

    assert [(message.name, message.data) for message in subscription.take(0)] == [("end", b'{"reason":"restart"}')]
    eventually(lambda: hub().place is None, "its thread has ended")


def test_a_client_that_answers_no_ping_is_dropped(stream):
    sent, _ = stream

    assert list(sent) == [b"", bytes([0x80 | PING, 0])]


def test_a_client_that_answers_pings_stays(stream):
    sent, client_ = stream
    assert next(sent) == b""

    for _ in range(3):
        assert next(sent) == bytes([0x80 | PING, 0])
        client_.sendall(frame(PONG))

    assert next(sent) == bytes([0x80 | PING, 0])


# --- requests ----------------------------------------------------------------------------------------------

OTHERS = {
    "no upgrade": ({"Upgrade": None, "Connection": None}, 426),
    "an upgrade to something else": ({"Upgrade": "h2c"}, 426),
    "a connection that is not upgraded": ({"Connection": "keep-alive"}, 426),
    "another version": ({"Sec-WebSocket-Version": "8"}, 426),
    "no key": ({"Sec-WebSocket-Key": None}, 400),
    "a short key": ({"Sec-WebSocket-Key": "aGVsbG8="}, 400),
    "a key that is not base64": ({"Sec-WebSocket-Key": "ключ"}, 400),
    "a body": ({"Content-Length": "2"}, 400),
    "no token": ({"X-Auth": None}, 401),
    "a token without our subprotocol": ({"X-Auth": None, "Sec-WebSocket-Protocol": "TOKEN"}, 401),
    "a token after another subprotocol": ({"X-Auth": None, "Sec-WebSocket-Protocol": "chat, TOKEN"}, 401),
    "a token in the address": ({"X-Auth": None}, 401),
}


def test_a_request_that_is_no_handshake_is_an_error_and_the_connection_goes_on(web, world):
    token = issue_token(world.person())
    for name, (changes, status) in OTHERS.items():
        headers = HANDSHAKE | {"X-Auth": token} | changes
        given = {key: value.replace("TOKEN", token) for key, value in headers.items() if value is not None}
        path = f"{PATH}?token={token}" if name.endswith("address") else PATH
        first = request(given, f"GET {path} HTTP/1.1") + (b"{}" if name == "a body" else b"")
        second = b"GET /health/live HTTP/1.1\r\nHost: lenta\r\n\r\n"

        refused, healthy = exchange(web.port, first + second, half_close=True)

        assert (refused.status, healthy.status) == (status, 200), name
        assert status != 426 or refused.headers["sec-websocket-version"] == "13", name


def test_a_request_of_http_1_0_is_refused(web, world):
    headers = HANDSHAKE | {"X-Auth": issue_token(world.person())}

    [refused] = exchange(web.port, request(headers, f"GET {PATH} HTTP/1.0"), half_close=True)

    assert refused.status == 426


def test_the_answer_selects_our_subprotocol_only_where_it_is_offered(web, world):
    token = issue_token(world.person())

    with closing(RawSocket(web.port, token)) as client_:
        assert b"Sec-WebSocket-Protocol" not in client_.head
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in client_.head  # the example of RFC 6455


def test_without_gunicorn_there_are_no_websockets(client_of, world):
    response = client_of(world.person()).get(PATH, headers=HANDSHAKE)

    assert (response.status_code, response.json["code"]) == (503, 1010)
