"""Parses Redis URLs: a single server, a Cluster, or Sentinels.

    redis://[[user]:password@]host[:port][/db][?options]                              one server; unix:///path/to.sock
    redis+cluster://[[user]:password@]host[:port],…[/][?options]                      any nodes of a Cluster
    redis+sentinel://[[user]:password@]host[:port],…/service[/db][?options]           the Sentinels, not the servers

`rediss` instead of `redis` uses TLS for all connections. User, password and options (redis-py's: `ssl_ca_certs`, …)
apply to the servers; the Sentinels have the options `sentinel_username` and `sentinel_password`.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from redis.connection import parse_url

SINGLE, CLUSTER, SENTINEL = "", "cluster", "sentinel"

_MANY = re.compile(r"(rediss?)\+(cluster|sentinel)://(?:([^/?#]*)@)?([^/?#@]*)(?:/([^?#]*))?(?:\?([^#]*))?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_PORTS = {CLUSTER: 6379, SENTINEL: 26379}
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class RedisURL:
    """A parsed URL. `server` is a URL template; `{}` stands for host:port if there are several servers."""

    kind: str
    server: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel: tuple[tuple[str, str], ...] = ()  # credentials for Sentinels

    @property
    def is_tls(self) -> bool:
        return self.server.startswith("rediss:")


def parse(url: str) -> RedisURL:
    """Parse a URL. Raises ValueError, whose message never contains the password."""
    if url.startswith(("redis://", "rediss://", "unix://")):
        _check_server(url)
        return RedisURL(SINGLE, url)
    match = _MANY.fullmatch(url)
    if match is None:
        raise ValueError("must be a URL whose hosts and ports can be read")
    scheme, kind, user, hosts, path, query = match.groups(default="")
    options = {name: values[0] for name, values in parse_qs(query).items()}
    sentinel = tuple(
        (name.removeprefix("sentinel_"), options.pop(name)) for name in _SENTINEL_OPTIONS if name in options
    )
    service, db = _path(kind, path)
    server = f"{scheme}://{_escaped(user + '@' if user else '')}{{}}/{db}" + _escaped(
        "?" + urlencode(options) if options else ""
    )
    parsed = RedisURL(kind, server, tuple(_host(host, _PORTS[kind]) for host in hosts.split(",")), service, sentinel)
    _check_server(server_url(parsed, *parsed.hosts[0]))
    return parsed


def server_url(url: RedisURL, host: str, port: int) -> str:
    """Return the URL of one of the servers."""
    return url.server.format(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _path(kind: str, path: str) -> tuple[str, str]:
    """Parse a path into the service's name and the database number."""
    if kind == CLUSTER:
        if path.strip("/") not in ("", "0"):
            raise ValueError("must not name a database: a Cluster has only one")
        return "", "0"
    service, _, db = path.strip("/").partition("/")
    if not service:
        raise ValueError("must name the service monitored by the Sentinels: redis+sentinel://host:26379/mymaster/0")
    if db and not (db.isascii() and db.isdigit()):
        raise ValueError("must name a database by its number, after the service")
    return service, db or "0"


def _host(text: str, port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text.strip())
    if match is None or int(match[2] or port) > 65_535:
        raise ValueError("must be a URL whose hosts and ports can be read")
    return match[1].strip("[]"), int(match[2] or port)


def _check_server(url: str) -> None:
    try:
        _ = urlsplit(url).port
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:  # its message may leak part of the password
        raise ValueError("must be a URL whose host and port can be read") from error


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
