"""The WSGI entry point for gunicorn and flask."""

import os
import sys
from dataclasses import replace

from app.factory import create_app
from app.observability import logging as logs
from app.settings import Settings, SettingsError
from workers.cli import commands

try:
    settings = Settings.from_env()
except SettingsError as error:
    sys.exit(f"Invalid settings:\n{error}")
if os.environ.get("FLASK_RUN_FROM_CLI") == "true":  # commands have no timeouts
    settings = replace(settings, database_statement_timeout_ms=0, database_lock_timeout_ms=0)
logs.configure(settings)
app = create_app(settings)
commands.init_app(app)
