"""The floor of everything that Flask serves: an application with one route that answers a constant as JSON."""

from flask import Flask

app = Flask(__name__, static_folder=None)


@app.get("/")
def empty() -> dict[str, str]:
    return {}
