"""The entry point of `dramatiq workers.main`: creates the application and the broker, then imports the actors."""

import dataclasses
import logging

logging.getLogger("alembic").setLevel(logging.WARNING)  # silences plugin messages logged on import

from app.db import requirements  # noqa: E402
from app.factory import create_app  # noqa: E402
from app.observability import logging as logs  # noqa: E402
from app.observability import service  # noqa: E402
from app.redis import replication  # noqa: E402
from app.settings import Settings  # noqa: E402
from workers.background import BackgroundTasks  # noqa: E402
from workers.broker import make_broker  # noqa: E402
from workers.priority import lower_priority  # noqa: E402

# Workers can wait longer than requests.
settings = dataclasses.replace(
    Settings.from_env(),
    redis_timeout_ms=10_000,
    database_statement_timeout_ms=120_000,
    database_lock_timeout_ms=10_000,
)
lower_priority(settings.worker_nice)
logs.configure(settings)
service.join()
app = create_app(settings)
with app.app_context():
    requirements.check_at_start()
    replication.check_at_start()
broker = make_broker(app, settings)
broker.add_middleware(BackgroundTasks(app))

from workers import actors  # noqa: E402, F401 - actors bind to the broker at import
