"""The service on separate databases and a separate Redis, and a Prometheus that watches it."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import yaml

from app.auth.tokens import issue_token
from app.db.engine import USERS
from app.settings import Settings
from local.ports import free_port
from tests.factories import eventually
from tests.tools import check_prometheus_queries
from tests.tools.chaos.service import Service, dispose
from tests.tools.processes import ROOT, Web, flask, start_worker

SCRAPE_SECONDS = 5


class Watched(Service):
    """One gunicorn, one worker, no proxies between them and their servers."""

    def start(self) -> None:
        self.callback(self._drop_queues)
        self.worker = start_worker(self.settings, self.folder / "worker.log")
        self.callback(self.worker.stop)
        self.web = Web(self.settings, self.folder / "web.log")
        self.callback(self.web.stop)
        self.web.wait()
        self.prometheus_url = self._start_prometheus()

    def load(self, graph: Path, posts: int) -> dict[int, str]:
        """Migrate, and import a graph with so many posts of each. Returns the token of each user."""
        flask(self.settings, "db", "upgrade")
        click.echo(flask(self.settings, "import-graph", str(graph), "--mutual", "--posts-per-user", str(posts)))
        app = self._direct_app()
        with app.app_context():
            tokens = {user: issue_token(user) for (user,) in self.sql(USERS, "SELECT id FROM users ORDER BY id")}
            dispose(app)
        return tokens

    def queries(self, *, strict: bool) -> tuple[list[str], list[str], int]:
        """Check all queries of dashboard and alerts. Returns problems, firing alerts and the number of queries."""
        found = list(check_prometheus_queries.evaluate(self.prometheus_url, "1m", strict=strict))
        wrong = [f"{query.place}: {problem}" for query, _, problem in found if problem]
        firing = [query.place for query, samples, _ in found if query.is_alert and samples]
        return wrong, firing, len(found)

    def ask(self, query: str) -> list[dict[str, Any]]:
        return check_prometheus_queries.ask(self.prometheus_url, query, "1m")

    def _settings(self) -> Settings:
        direct = {bind: self.servers.postgres_url.format(name) for bind, name in self.databases.items()}
        return replace(
            super()._settings(),
            users_database_url=direct["users"],
            posts_database_url=direct["posts"],
            redis_url=f"redis://127.0.0.1:{self.redis_server.port}/0",
            broker_url=self.servers.rabbitmq_url,
            feed_cap=1000,
            feed_fanout_batch=1000,
            feed_bulk_followers=10_000,
            metrics_port=free_port(),
        )

    def _start_prometheus(self) -> str:
        jobs = {"lenta-web": self.web.port, "lenta-worker": self.settings.metrics_port}
        config = self.folder / "prometheus.yml"
        every = f"{SCRAPE_SECONDS}s"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": every, "evaluation_interval": every},
                    "rule_files": [str(ROOT / "deploy" / "prometheus" / "alerts.yml")],
                    "scrape_configs": [
                        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                        for job, port in jobs.items()
                    ],
                }
            )
        )
        address = f"127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'prometheus'}"]
        with (self.folder / "prometheus.log").open("w") as log:
            prometheus = subprocess.Popen(
                [*command, f"--web.listen-address={address}"], stdout=log, stderr=subprocess.STDOUT
            )
        self.callback(prometheus.wait, 20)
        self.callback(prometheus.terminate)
        url = f"http://{address}"
        eventually(lambda: _answers(url), f"Prometheus answers: {log.name}", 30)
        return url


def _answers(url: str) -> bool:
    try:
        return bool(check_prometheus_queries.ask(url, "up", "1m"))
    except OSError:
        return False
