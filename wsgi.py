"""What gunicorn and flask load."""

import sys

from app import create_app, logs
from app.settings import Settings, SettingsError
from workers import commands

try:
    settings = Settings.from_env()
except SettingsError as error:
    sys.exit(f"The settings cannot be used:\n{error}")
logs.configure(settings)
app = create_app(settings)
commands.init_app(app)
