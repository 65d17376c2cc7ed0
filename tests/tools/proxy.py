"""A TCP proxy that can be cut, closed and frozen: how tests take a server away."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class Proxy:
    """Listens on a free port of `address` and passes everything on to `host`:`port`.

    A host that begins with a slash is the folder of PostgreSQL's Unix socket, as in its URLs.
    """

    def __init__(self, host: str, port: int, address: str = "127.0.0.1") -> None:
        self._target, self.address = (host, port), address
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, address, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def lead_to(self, host: str, port: int) -> None:
        """Redirect new connections to another server, like a virtual address; open ones stay."""
        self._target = host, port

    def cut(self) -> None:
        """Break all connections; new ones are accepted."""
        self._do(self._cut())

    def refuse_new(self) -> None:
        """Close new connections at once, until `restore`."""
        self._refusing = True

    def refuse(self) -> None:
        """Break all connections too."""
        self.refuse_new()
        self.cut()

    def freeze(self) -> None:
        """Pass nothing on, and say nothing, until `restore`."""
        self._loop.call_soon_threadsafe(self._thawed.clear)

    def restore(self) -> None:
        self._refusing = False
        self._loop.call_soon_threadsafe(self._thawed.set)

    def close(self) -> None:
        self.restore()
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            await self._thawed.wait()
            far_reader, far_writer = await self._connect()
        except (OSError, asyncio.CancelledError):  # the proxy is closed while it waits
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(far_writer)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._target
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
