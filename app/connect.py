"""From a URL (see urls.py) to a client of Redis. None connects before it is used."""

from functools import partial
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from app import urls
from app.cluster import Cluster
from app.topology import Topology


def connect(url: str, timeout: float) -> redis.Redis:
    """A client of one server, of a Cluster, or of the server that Sentinels name; `timeout` in seconds."""
    parsed = urls.parse(url)
    # One retry and only of a lost connection: it mends what a restarted Redis leaves in the pool.
    retry = Retry(NoBackoff(), retries=1, supported_errors=(redis.ConnectionError,))
    options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry, "client_name": "lenta"}
    if parsed.kind == urls.CLUSTER:
        topology = Topology(parsed.hosts, partial(_server, parsed, options), timeout)
        return cast(redis.Redis, Cluster(topology))  # it has every command that takes keys
    if parsed.kind == urls.SENTINEL:
        return _watched(parsed, options)
    return redis.Redis.from_url(url, **options)


def disconnect(client: redis.Redis) -> None:
    """Close all connections of a client, those to the Sentinels among them."""
    client.close()
    pool = getattr(client, "connection_pool", None)  # a Cluster has none of its own
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            sentinel.close()


def _server(url: urls.RedisURL, options: dict[str, Any], host: str, port: int) -> redis.Redis:
    return redis.Redis.from_url(urls.server_url(url, host, port), **options)


class _Watched(SentinelManagedConnection):
    """Hangs up when an answer did not come in time, as every other connection does; redis-py has this one go back to
    the pool, and whoever gets it next gets that answer for their own."""

    def read_response(self, disable_decoding: Any = False, **options: Any) -> Any:
        return super().read_response(disable_decoding, **{"disconnect_on_error": True} | options)


class _WatchedTLS(_Watched, SentinelManagedSSLConnection):
    pass


def _watched(url: urls.RedisURL, options: dict[str, Any]) -> redis.Redis:
    """Each new connection asks the Sentinels first which server it is."""
    servers: dict[str, Any] = parse_url(urls.server_url(url, *url.hosts[0]))  # type: ignore[no-untyped-call]
    servers |= options
    for name in ("host", "port", "connection_class"):
        servers.pop(name, None)
    if url.is_tls:
        servers["ssl"] = True
    sentinels = {name: value for name, value in servers.items() if name.startswith(("ssl", "socket_", "retry"))}
    servers["connection_class"] = _WatchedTLS if url.is_tls else _Watched
    watching: Any = Sentinel(url.hosts, sentinel_kwargs=sentinels | dict(url.sentinel))  # type: ignore[no-untyped-call]
    return cast(redis.Redis, watching.master_for(url.service, **servers))
