"""What gunicorn and flask load."""

from app import create_app, logs
from app.settings import Settings
from workers import commands

settings = Settings.from_env()
logs.configure(settings)
app = create_app(settings)
commands.init_app(app)
