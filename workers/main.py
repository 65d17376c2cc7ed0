"""What `dramatiq workers.main` loads: the application, then the broker, then the actors."""

import dataclasses
import logging
import os

import metrics_folder

metrics_folder.choose(os.getppid())  # the one process that all workers of this `dramatiq` are children of
metrics_folder.sweep()
logging.getLogger("alembic").setLevel(logging.WARNING)  # it would tell of its plugins while it is imported

from app import create_app, logs  # noqa: E402 - they import prometheus_client
from app.settings import Settings  # noqa: E402
from workers.beside import Beside  # noqa: E402
from workers.broker import make_broker  # noqa: E402

REDIS_TIMEOUT_MS = 10_000  # nobody waits for a worker: it may be patient where a request may not

settings = dataclasses.replace(Settings.from_env(), redis_timeout_ms=REDIS_TIMEOUT_MS)
logs.configure(settings)
app = create_app(settings)
broker = make_broker(app, settings)
broker.add_middleware(Beside(app))

from workers import actors  # noqa: E402, F401 - they keep the broker that was made above
