"""An operator, who suspends and restores users of no client."""

import threading
from collections.abc import Iterable, Sequence
from random import Random
from time import monotonic
from traceback import format_exception

import redis
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.factory import create_app
from app.settings import Settings
from app.users import accounts
from tests.tools.chaos.model import Model
from tests.tools.chaos.report import Report
from tests.tools.chaos.service import dispose


class Operator:
    """Suspends or restores one of `suspects` at each moment of `due`.

    Moments are in seconds from the start.
    """

    def __init__(
        self,
        model: Model,
        report: Report,
        settings: Settings,
        suspects: Sequence[int],
        random: Random,
        due: Iterable[float],
    ) -> None:
        self._model, self._report, self._settings = model, report, settings
        self._suspects, self._random, self._due = suspects, random, due
        self.failure = ""
        self._never = threading.Event()

    def run(self) -> None:
        started = monotonic()
        try:
            app = create_app(self._settings)
            try:
                for moment in self._due:
                    self._never.wait(max(0.0, started + moment - monotonic()))
                    self._change(app, self._random.choice(self._suspects), self._random.random() < 0.5)
            finally:
                with app.app_context():
                    dispose(app)
        except Exception as error:
            self.failure = "".join(format_exception(error))

    def _change(self, app: Flask, user: int, is_shown: bool) -> None:
        """Give a command as an operator does. If a server fails, it may have been carried out."""
        is_unknown, sent = False, monotonic()
        self._model.command(user, is_shown)
        try:
            with app.app_context():
                (accounts.restore if is_shown else accounts.suspend)(user)
        except (SQLAlchemyError, redis.RedisError):
            is_unknown = True
        self._model.commanded(user, is_shown, is_unknown, sent)
        self._report.commands["unknown" if is_unknown else "restored" if is_shown else "suspended"] += 1
