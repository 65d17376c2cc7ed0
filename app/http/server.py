"""gunicorn's gevent worker, with timeouts, memory limits and a graceful shutdown.

Each connection is a greenlet: a slow or silent client costs memory, but delays no other client. gunicorn's own worker
waits for such clients forever, and resets the connections in its backlog when it stops.
"""

import signal
import socket
from contextlib import suppress
from datetime import datetime
from email.utils import formatdate
from functools import cache, lru_cache, partial
from http import HTTPStatus
from itertools import islice
from queue import Empty, SimpleQueue
from time import monotonic, time
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from app.errors import RequestTimeout
from app.http import shutdown
from app.http.connection import HANDLING, RECEIVING, SENDING, WAITING, Connection
from app.http.parser import RequestParser

MAX_REQUEST_LINE = 8190  # gunicorn's maximum; a search for two fully percent-encoded 100-character names fits
MAX_UNSENT_BYTES = 64 * 2**20  # per process, of responses that clients do not read

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

CHECK_SECONDS = 0.5
DRAIN_SECONDS = 2.0  # for a kept-alive connection to send another request during shutdown


_environ_of = cache(wsgi.base_environ)


def base_environ(cfg: Any) -> dict[str, Any]:
    """Return the part of the environ that all requests share."""
    environ: dict[str, Any] = _environ_of(cfg)
    return environ.copy()


_date = lru_cache(maxsize=1)(partial(formatdate, usegmt=True))


def http_date() -> str:
    """Return the value of the header Date, which is formatted once a second."""
    return _date(int(time()))


class Response(wsgi.Response):  # type: ignore[misc]
    """Sends the head together with the first chunk of the body."""

    headers_sent: bool

    def start_response(self, *arguments: Any) -> Any:
        write = super().start_response(*arguments)
        if self.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self.force_close()  # after it
            self._omits_body = False  # what follows is no body
        return write

    def send_headers(self) -> None:
        if not self.headers_sent:
            lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        head, self._head = self._head, b""
        self.sock.sendall(head + data)

    def close(self) -> None:
        self.send_headers()
        rest = self._head + (b"0\r\n\r\n" if self.chunked else b"")
        if rest:
            self.sock.sendall(rest)


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves each connection in a greenlet, at most `worker_connections` of them."""

    sockets: list[Any]
    queued_signals: SimpleQueue[int]  # of the master, as they were at the fork

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: dict[Connection, None] = {}

    def init_signals(self) -> None:
        """Install the handlers. Until now the master's have queued signals, in this process's copy of its queue."""
        super().init_signals()
        with suppress(Empty):
            while True:
                if self.queued_signals.get_nowait() in STOPPING:
                    self.alive = False

    def init_process(self) -> None:
        # Config looks a setting up whenever it is read, unless it is an attribute.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def patch(self) -> None:
        """Make the listeners cooperative; gunicorn.conf.py patches everything else."""
        self.sockets = [
            gevent.socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def run(self) -> None:
        servers = [self._serve(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            self.log.flush()
            self._enforce_deadlines()
            self.make_room(self.worker_connections)  # for those that began to wait while there was room
            gevent.sleep(CHECK_SECONDS)
        self._drain(servers)

    def _serve(self, listener: Any) -> StreamServer:
        handle = partial(self.handle, listener.getsockname())
        server = StreamServer(listener, handle=handle, spawn=Pool(self.worker_connections))
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

    # One connection.

    def handle(self, address: Any, client: Any, peer: Any) -> None:
        """Serve the requests of a connection until it ends."""
        connection = Connection(client, self.bound_unsent, self.make_room)
        self.connections[connection] = None
        request = None
        try:
            for request in RequestParser(self.cfg, connection, peer):
                connection.phase = HANDLING
                if not self._handle_one(address, request, connection, peer) or not connection.discard(request.body):
                    break
                request = None
                connection.begin(WAITING, self.cfg.keepalive if self.alive else DRAIN_SECONDS)
            connection.linger()
        except (NoMoreData, OSError):
            self.log.debug("the client closed the connection")
        except Exception as error:
            self.handle_error(request, connection, peer, error)
            connection.linger()
        finally:
            connection.close()
            del self.connections[connection]

    def _handle_one(self, address: Any, request: Any, connection: Connection, peer: Any) -> bool:
        """Respond to one request. Returns False if the response ends the connection."""
        started = datetime.now()
        response, environ = wsgi.create(request, connection, peer, address, self.cfg, response_class=Response)
        environ["wsgi.multithread"] = True
        if not self.alive:
            response.force_close()
        chunks: Any = ()
        try:
            chunks = self.wsgi(environ, response.start_response)
            for chunk in chunks:
                response.write(chunk)
            response.close()
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                raise
            self.log.exception("the response to %s %s was truncated", request.method, request.uri)
            return False
        finally:
            if response.status is not None:
                self.log.access(response, request, environ, datetime.now() - started)
            if hasattr(chunks, "close"):
                chunks.close()
        return not response.should_close()

    # All connections.

    def _enforce_deadlines(self) -> None:
        """End connections whose client has missed its deadline."""
        now = monotonic()
        for connection in list(self.connections):
            if now > connection.deadline and connection.is_waiting_for_client():
                if connection.phase is RECEIVING:
                    connection.refuse(RequestTimeout.status)
                    connection.wake()
                else:
                    connection.abort()

    def make_room(self, most: int = 1) -> None:
        """Near the connection limit, end the connections that have waited longest for their clients.

        One that is still sending a response goes only if all others are busy. Called for each connection that begins
        to wait, as no other may be accepted before it ends.
        """
        excess = len(self.connections) - self.worker_connections * 9 // 10 + 1
        if excess > 0:
            by_age = sorted(self.connections, key=lambda connection: (connection.phase is SENDING, connection.since))
            waiting = (connection for connection in by_age if connection.is_waiting_for_client())
            for connection in islice(waiting, min(most, excess)):
                connection.abort()

    def bound_unsent(self) -> None:
        """End the connections that have been sending longest while MAX_UNSENT_BYTES are exceeded."""
        sending = sorted((c for c in self.connections if c.unsent), key=_since)
        total = sum(connection.unsent for connection in sending)
        for connection in sending:
            if total <= MAX_UNSENT_BYTES:
                break
            total -= connection.unsent
            connection.abort()

    def _drain(self, servers: list[StreamServer]) -> None:
        """Shut down gracefully: serve the listen backlog, then refuse new connections."""
        for server in servers:
            while (accepted := server.do_read()) is not None:
                server.do_handle(*accepted)
            server.close()
        shutdown.stop()
        started = monotonic()
        end = started + self.cfg.graceful_timeout
        while self.connections and monotonic() < end:
            self.notify()
            for connection in self.connections:
                if connection.phase is WAITING:
                    connection.deadline = min(connection.deadline, started + DRAIN_SECONDS)
            self._enforce_deadlines()
            self.log.flush()
            gevent.sleep(0.02)
        if self.connections:
            self.log.warning("%d connections closed after graceful_timeout", len(self.connections))


def _since(connection: Connection) -> float:
    return connection.since
