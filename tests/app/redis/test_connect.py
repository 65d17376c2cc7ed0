"""REDIS_URL in all its forms, each on a real server: TLS, a Cluster by TLS, and a server that Sentinels watch."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import Flask

from app.feed.cache import timeline
from app.feed.maintenance import failover
from app.feed.read import CACHE, DATABASE, read_page
from app.feed.rebuild import rebuild
from app.redis.circuit_breaker import breaker
from app.redis.client import client
from app.redis.connect import connect, disconnect
from tests.conftest import require_cluster
from tests.factories import Factory, eventually
from tests.tools.redis_cluster import RedisCluster, free_ports, program

SERVICE = "feeds"
PASSWORD = "a pass/word?"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself; its key lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "redis.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "redis.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "redis.crt"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts redis-server with these arguments."""
    require_cluster()
    started: list[subprocess.Popen[bytes]] = []

    def make(*arguments: object) -> subprocess.Popen[bytes]:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        command = [program("redis-server"), *map(str, arguments), "--dir", str(folder), "--logfile", "redis.log"]
        started.append(subprocess.Popen(command))
        return started[-1]

    yield make
    for server in started:
        server.kill()
        server.wait()


@contextmanager
def connected(url: str, timeout: float) -> Iterator[redis.Redis]:
    client = connect(url, timeout)
    try:
        yield client
    finally:
        disconnect(client)


def answers(url: str) -> None:
    with connected(url, 0.5) as one:

        def pings() -> bool:
            with suppress(redis.ConnectionError, redis.TimeoutError):
                return bool(one.ping())
            return False

        eventually(pings, "it answers")


def is_used(app: Flask) -> bool:
    """Whether a feed is built, pushed to and read there."""
    with app.app_context():
        failover.check()
        world = Factory()
        reader, author = world.people(2)
        world.follow(reader, author)
        rebuild(reader)
        pushed = timeline.HOME.push([reader, *range(1, 50)], world.post(author))
        return pushed == 1 and read_page(reader, 0, 10).source == CACHE


def test_a_server_by_tls_with_a_password(make_app, start, certificate):
    [port] = free_ports(1)
    tls = ("--tls-cert-file", certificate, "--tls-key-file", certificate.with_suffix(".key"))
    start("--port", 0, "--tls-port", port, *tls, "--tls-auth-clients", "no", "--requirepass", PASSWORD, "--save", "")
    server = f"rediss://:a%20pass%2Fword%3F@127.0.0.1:{port}/1"
    answers(f"{server}?ssl_ca_certs={certificate}")

    assert is_used(make_app(redis_url=f"{server}?ssl_ca_certs={certificate}"))

    with connected(server, 0.5) as one, pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        one.ping()


def test_a_cluster_by_tls_with_a_password(make_app, certificate, tmp_path):
    require_cluster()
    cluster = RedisCluster(tmp_path / "cluster", certificate=certificate, password=PASSWORD)
    try:
        used = is_used(make_app(redis_url=cluster.url))
    finally:
        cluster.close()

    assert used


@pytest.fixture
def watched(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> tuple[str, subprocess.Popen[bytes], int]:
    """A primary and its replica, watched by three Sentinels: the URL, the primary, and the replica's port."""
    *sentinels, of_primary, of_replica = free_ports(5)
    bind = ("--bind", "127.0.0.1", "--save", "", "--requirepass", "hidden", "--masterauth", "hidden")
    primary = start("--port", of_primary, *bind, "--repl-diskless-sync-delay", 0)
    start("--port", of_replica, *bind, "--replicaof", "127.0.0.1", of_primary)
    for port in sentinels:
        configuration = tmp_path / f"sentinel-{port}.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {of_primary} 2\n"
            f"sentinel auth-pass {SERVICE} hidden\nsentinel down-after-milliseconds {SERVICE} 2000\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        start(configuration, "--sentinel")
    url = f"redis+sentinel://:hidden@{','.join(f'127.0.0.1:{port}' for port in sentinels)}/{SERVICE}/2"
    answers(url)

    def is_known() -> bool:
        for port in sentinels:
            with redis.Redis(port=port) as sentinel, suppress(redis.RedisError):
                state = sentinel.sentinel_master(SERVICE)
                if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                    return False
        with redis.Redis(port=of_replica, password="hidden") as replica:
            return bool(replica.info("replication")["master_link_status"] == "up")

    eventually(is_known, "the Sentinels know each other and the replica", 60)
    return url, primary, of_replica


def test_an_answer_that_came_too_late_is_nobody_elses(watched):
    url, _, _ = watched
    with connected(url, 0.3) as watched_server:
        watched_server.set("one", "1")
        watched_server.set("other", "2")
        for sentinel in watched_server.connection_pool.sentinel_manager.sentinels:
            sentinel.sentinel_set(SERVICE, "down-after-milliseconds", 60_000)  # or the pause may be taken for a death
        watched_server.client_pause(600)

        with pytest.raises(redis.TimeoutError):
            watched_server.get("one")
        answers = []

        def is_answered() -> bool:
            with suppress(redis.TimeoutError):
                answers.append(watched_server.get("other"))
            return bool(answers)

        eventually(is_answered, "it answers again")

    assert answers == [b"2"]


def test_a_sentinel_that_is_dead_does_not_hold_anybody_up(watched):
    url, _, _ = watched
    first = url.partition("@")[2].partition(",")[0]
    [unused] = free_ports(1)
    start = monotonic()

    with connected(url.replace(first, f"127.0.0.1:{unused}"), 5) as one:
        answer = one.ping()

    assert answer
    assert monotonic() - start < 5


def test_after_a_sentinel_failover_the_replica_is_used_and_untrusted(make_app, watched):
    url, primary, replica_port = watched
    app = make_app(redis_url=url, redis_timeout_ms=500)
    assert is_used(app)

    with app.app_context():
        world = Factory()
        reader, author = world.people(2)
        world.follow(reader, author)
        rebuild(reader)
        primary.kill()
        primary.wait()
        start = monotonic()
        page = read_page(reader, 0, 10)
        waited = monotonic() - start
        # A Sentinel that had to wait for the processor for two seconds does nothing for half a minute.
        eventually(_checked, "the replica was promoted, and its feeds dropped", 90)

        assert (page.source, list(page.posts)) == (DATABASE, [])
        assert waited < 1.5
        assert world.feed(reader) == []
        assert client().connection_pool.get_master_address()[1] == replica_port
        eventually(lambda: not breaker().is_open, "Redis is asked again")  # it may have been promoted within a second
    assert is_used(app)


def _checked() -> bool:
    with suppress(redis.RedisError):
        return failover.check()
    return False
