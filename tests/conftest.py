"""Real servers for the tests: those named by TEST_* variables, those on this machine, or embedded ones.

TEST_POSTGRES_URL   a server where databases may be made     (else 127.0.0.1:5432, else a wheel's)
TEST_REDIS_URL      a server with an empty database          (else 127.0.0.1:6379, else a wheel's)
TEST_BROKER_URL     a RabbitMQ                               (else 127.0.0.1:5672, else its tests are skipped)
redis-server        starts a private Redis Cluster           (else its tests are skipped)
TEST_ON_CLUSTER=1   run the tests of feeds once more, on a Redis Cluster (.ci/run does)
REQUIRE_SERVICES=1  fail instead of skipping
REQUIRE_ENGINE=1    the same for tests/system/compose, which needs a container engine and images (`make compose`)
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import psycopg2
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from flask_migrate import upgrade
from sqlalchemy import event, text
from sqlalchemy.pool import Pool

from app.auth.tokens import issue_token
from app.db.engine import POSTS, USERS, db
from app.factory import create_app
from app.redis.client import close
from app.redis.cluster import Cluster
from app.settings import OFF, Settings
from local.ports import answers, free_port
from tests.factories import Factory
from tests.tools import documented
from tests.tools.compiled_rules import compile_rules_once
from tests.tools.redis_cluster import PATIENT_MS, RedisCluster

RUN = uuid4().hex[:8]
SECRET = "a key for tests, which has more than 32 bytes"


compile_rules_once()


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    # A container engine needs root and a kernel that lets it. .ci/run says so where there is none.
    skipped = [report for report in skipped if not report.nodeid.startswith("tests/system/compose/")]
    if os.environ.get("REQUIRE_SERVICES") and skipped:
        reporter.write_line("REQUIRE_SERVICES is set: a skipped test is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# These also run on a Redis Cluster, except tests with `redis_server_url`, and of live events those of one door.
ON_A_CLUSTER_TOO = (
    "tests/app/feed/",
    "tests/app/test_health.py",
    "tests/app/http/test_rate_limits.py",
    "tests/app/auth/test_revoked_tokens.py",
    "tests/system/protocol/test_machine.py",
)
LIVE_ON_ONE_SERVER = ("behind_a_proxy", "docs", "in_a_browser", "posted")
ON_ONE_SERVER = tuple(f"tests/app/feed/live/test_{name}.py" for name in LIVE_ON_ONE_SERVER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "redis_url" in metafunc.fixturenames:
        kinds = [pytest.param("server", id=pytest.HIDDEN_PARAM)]
        of_one_server = "redis_server_url" in metafunc.fixturenames
        place = metafunc.definition.nodeid
        is_listed = place.startswith(ON_A_CLUSTER_TOO) and not place.startswith(ON_ONE_SERVER)
        if is_listed and not of_one_server and os.environ.get("TEST_ON_CLUSTER"):
            kinds.append(pytest.param("cluster"))
        metafunc.parametrize("redis_url", kinds, indirect=True, scope="session")


@pytest.fixture(scope="module", autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    """Fail if a test leaves a pooled connection to the garbage collector.

    In `ast.parse`, for one, Python 3.11 fails then: "AST constructor recursion depth mismatch".
    """
    opened: list[tuple[Any, str]] = []  # keeps them until they have been looked at

    def record(connection: Any, _: object) -> None:
        opened.append((connection, os.environ.get("PYTEST_CURRENT_TEST", "between tests")))

    event.listen(Pool, "connect", record)
    yield
    event.remove(Pool, "connect", record)
    left = [(connection, test) for connection, test in opened if not connection.closed]
    for connection, _ in left:
        connection.close()
    assert not left, f"connections left open: {[test for _, test in left]}"


CLAIM_SECONDS = 7200  # longer than any test


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # PostgreSQL's socket must fit into 107 bytes, and as root its user must reach the folder.
    path = Path(tempfile.mkdtemp(prefix="lenta-"))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def postgres_url(folder: Path) -> str:
    """A server: its URL with the database left out."""
    named = os.environ.get("TEST_POSTGRES_URL")
    if named:
        return named
    if answers(5432):
        for user in ("postgres", os.environ.get("PGUSER", "postgres")):
            url = f"postgresql://{user}@127.0.0.1:5432/{{}}"
            try:
                psycopg2.connect(url.format("postgres")).close()
            except psycopg2.OperationalError:
                continue
            return url
    from local.services import start_postgresql

    server = start_postgresql(folder / "postgresql")
    atexit.register(server.stop)
    return server.url("DATABASE").replace("DATABASE", "{}")


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Iterator[dict[str, str]]:
    """Two databases of this run alone."""
    names = {bind: f"lenta_test_{bind}_{RUN}" for bind in (USERS, POSTS)}
    server = psycopg2.connect(postgres_url.format("postgres"))
    server.autocommit = True
    for name in names.values():
        server.cursor().execute(f"CREATE DATABASE {name}")
        server.cursor().execute(
            f"ALTER DATABASE {name} SET synchronous_commit = off"
        )  # durability does not matter here
    yield {bind: postgres_url.format(name) for bind, name in names.items()}
    for name in names.values():
        server.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


@pytest.fixture(scope="session")
def redis_server_url(folder: Path) -> Iterator[str]:
    """A Redis database that was empty, claimed by a key."""
    url = os.environ.get("TEST_REDIS_URL") or ("redis://127.0.0.1:6379" if answers(6379) else None)
    if url is None:
        from local.services import start_valkey

        server = start_valkey(folder / "valkey", persist=False, port=free_port())
        atexit.register(server.stop)
        url = server.url(0).removesuffix("/0")
    for number in range(15, 0, -1):
        client = redis.Redis.from_url(f"{url}/{number}")
        # A run that was killed leaves its keys, and its claim ends.
        was_ours = client.exists("lenta-test:ours") and not client.exists("lenta-test")
        if (was_ours or client.dbsize() == 0) and client.set("lenta-test", RUN, nx=True, ex=CLAIM_SECONDS):
            yield f"{url}/{number}"
            client.flushdb()
            client.close()
            return
        client.close()
    pytest.fail(f"no empty database among 1…15 of {url}")


@pytest.fixture(scope="session")
def redis_cluster(folder: Path) -> Iterator[RedisCluster]:
    """A Redis Cluster of this run alone."""
    require_cluster()
    cluster = RedisCluster(folder / "cluster", node_timeout_ms=PATIENT_MS)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """Provide the Redis of the feeds: a database of a server, or a Cluster."""
    if request.param == "cluster":
        return str(request.getfixturevalue("redis_cluster").url)
    return str(request.getfixturevalue("redis_server_url"))


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    url = os.environ.get("TEST_BROKER_URL") or ("amqp://guest:guest@127.0.0.1:5672/" if answers(5672) else None)
    if url is None:
        do_without("needs RabbitMQ: none on 127.0.0.1:5672, and TEST_BROKER_URL names none")
    return url


def require_cluster() -> None:
    unless_there("redis-server", "redis-server")
    unless_there("redis-cli", "redis-tools")


@pytest.fixture(scope="session")
def settings(databases: dict[str, str], redis_url: str) -> Settings:
    return Settings(
        users_database_url=databases[USERS],
        posts_database_url=databases[POSTS],
        redis_url=redis_url,
        broker_url="amqp://guest:guest@127.0.0.1:1/",  # nothing listens: the web never talks to a broker
        broker_namespace=f"lenta-test-{RUN}",
        jwt_secret_key=SECRET,
        redis_timeout_ms=5000,
        database_pool_size=4,  # many processes of tests share the server's connections
        metrics_port=0,
        login_rate_per_account=OFF,
        login_rate_per_address=OFF,
        register_rate_per_address=OFF,
        post_rate_per_account=OFF,
        edit_rate_per_account=OFF,
        follow_rate_per_account=OFF,
        export_rate_per_account=OFF,
    )


@pytest.fixture(scope="session")
def _migrated(settings: Settings) -> Settings:
    app = create_app(settings)
    app.testing = True
    with app.app_context():
        upgrade()
        for engine in db.engines.values():
            engine.dispose()
    close(app)
    return settings


@pytest.fixture
def make_app(_migrated: Settings) -> Iterator[Callable[..., Flask]]:
    """Applications on clean databases; keyword arguments replace settings."""
    apps: list[Flask] = []

    def create(**changes: Any) -> Flask:
        app = create_app(replace(_migrated, **changes))
        app.testing = True
        app.test_client_class = documented.Client
        app.config["PROPAGATE_EXCEPTIONS"] = False  # an unexpected error is answered, as in production
        apps.append(app)
        return app

    clean(create())
    unused = apps[:]
    yield lambda **changes: unused.pop() if unused and not changes else create(**changes)
    for app in apps:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
        close(app)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """Provide an application context."""
    app = make_app()
    with app.app_context():
        yield app


@pytest.fixture
def world(app: Flask) -> Factory:
    return Factory()


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    return app.test_cli_runner()


@pytest.fixture
def client_of(app: Flask) -> Callable[[int], FlaskClient]:
    """A client that sends the token of a user."""

    def make(user_id: int) -> FlaskClient:
        client = app.test_client()
        client.environ_base["HTTP_X_AUTH"] = issue_token(user_id)
        return client

    return make


@pytest.fixture
def refuse(app: Flask) -> Iterator[Callable[..., None]]:
    """Make a table refuse, when they are committed, the transactions that touched it."""
    refusing: list[str] = []

    def start(table: str, bind: str = POSTS) -> None:
        refusing.append(bind)
        db.session.rollback()
        with db.engines[bind].begin() as connection:
            connection.execute(
                text("""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$
            """)
            )
            connection.execute(
                text(f"""
                CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON {table}
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
            """)
            )

    yield start
    db.session.rollback()
    for bind in refusing:
        with db.engines[bind].begin() as connection:
            connection.execute(text("DROP FUNCTION refuse CASCADE"))


TABLES = {
    USERS: ["users", "token_generations", "outbox"],
    POSTS: [
        *("posts", "follows", "blocks", "outbox", "pulled_authors", "user_counts", "gone_users", "deleted_posts"),
        *("feed_seen", "suspended_users"),
    ],
}


def clean(app: Flask) -> None:
    with app.app_context():
        for bind, tables in TABLES.items():
            with db.engines[bind].begin() as connection:
                # TRUNCATE of a few rows takes ten times as long. A timeout counts for all that is sent at once.
                patient = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
                connection.execute(text(patient + "; ".join(map("DELETE FROM {}".format, tables))))
        empty(app.extensions["redis"])


def empty(client: redis.Redis) -> None:
    """Empty a Redis database of this run in one step: another run would take one that is empty and not claimed."""
    if isinstance(client, Cluster):  # of this run alone
        client.flushdb()
        claim(client)
        return
    with client.pipeline() as transaction:
        transaction.flushdb()
        claim(transaction)
        transaction.execute()


def claim(client: redis.Redis) -> None:
    """Say that this Redis database is this run's."""
    client.set("lenta-test", RUN, ex=CLAIM_SECONDS)
    client.set("lenta-test:ours", 1)


def do_without(message: str) -> NoReturn:
    """Skip tests that cannot run here; fail if everything is required."""
    if os.environ.get("REQUIRE_SERVICES"):
        pytest.fail(message)
    pytest.skip(message)


def unless_there(program: str, package: str) -> None:
    """`do_without` a program that is not installed."""
    if shutil.which(program) is None:
        do_without(f"needs {program}: Debian's package {package} has it")
