"""Creates Redis clients from URLs (see url.py). No client connects before its first use."""

from functools import partial
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from app.redis import url as urls
from app.redis.cluster import Cluster
from app.redis.pool import Pool, SentinelPool
from app.redis.sentinels import Sentinels
from app.redis.topology import Topology


def connect(url: str, timeout: float) -> redis.Redis:
    """Create a client of a single server, a Cluster or Sentinels. `timeout` is in seconds."""
    parsed = urls.parse(url)
    # Retry once on a lost connection: after a restart every pooled connection is stale.
    retry = Retry(NoBackoff(), retries=1, supported_errors=(redis.ConnectionError,))
    options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry, "client_name": "lenta"}
    if parsed.kind == urls.CLUSTER:
        topology = Topology(parsed.hosts, partial(_server, parsed, options), timeout)
        return cast(redis.Redis, Cluster(topology))  # it has all commands used here
    if parsed.kind == urls.SENTINEL:
        return _sentinel_client(parsed, options)
    return _client(url, options)


def disconnect(client: redis.Redis) -> None:
    """Close all connections of a client, including those to Sentinels."""
    client.close()
    pool = getattr(client, "connection_pool", None)  # a Cluster has none
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            sentinel.close()


def _server(url: urls.RedisURL, options: dict[str, Any], host: str, port: int) -> redis.Redis:
    return _client(urls.server_url(url, host, port), options)


def _client(url: str, options: dict[str, Any]) -> redis.Redis:
    return redis.Redis.from_pool(Pool.from_url(url, **options))


class _SentinelConnection(SentinelManagedConnection):
    """Disconnects on a timeout.

    redis-py would return this connection to the pool, and its next user would read the late reply.
    """

    def read_response(self, disable_decoding: Any = False, **options: Any) -> Any:
        return super().read_response(disable_decoding, **{"disconnect_on_error": True} | options)


class _SentinelTLSConnection(_SentinelConnection, SentinelManagedSSLConnection):
    pass


def _sentinel_client(url: urls.RedisURL, options: dict[str, Any]) -> redis.Redis:
    """Create a client whose new connections ask the Sentinels for the primary."""
    servers: dict[str, Any] = parse_url(urls.server_url(url, *url.hosts[0]))  # type: ignore[no-untyped-call]
    servers |= options
    for name in ("host", "port", "connection_class"):
        servers.pop(name, None)
    if url.is_tls:
        servers["ssl"] = True
    sentinels = {name: value for name, value in servers.items() if name.startswith(("ssl", "socket_", "retry"))}
    servers["connection_class"] = _SentinelTLSConnection if url.is_tls else _SentinelConnection
    watching: Any = Sentinels(url.hosts, sentinel_kwargs=sentinels | dict(url.sentinel))  # type: ignore[no-untyped-call]
    return cast(redis.Redis, watching.master_for(url.service, connection_pool_class=SentinelPool, **servers))
