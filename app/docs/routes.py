"""HTTP routes of the documentation. The page needs nothing from the internet."""

from mimetypes import guess_type
from pathlib import Path

from flask import Blueprint, Response

from app.auth.tokens import public
from app.docs import document
from app.errors import NotFound
from app.settings import settings

PAGE = Path(__file__).with_name("index.html")
ASSETS = {path.name: path for path in Path(__file__).with_name("swagger-ui").iterdir()}
DAY = 86_400

# Swagger UI sets styles in the page, and draws with pictures that it holds itself.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("docs", __name__)


@blueprint.get("/openapi.json")
@public
def openapi() -> Response:
    return Response(document.as_json(settings().feed_cap), mimetype="application/json")


@blueprint.get("/asyncapi.json")
@public
def asyncapi() -> Response:
    return Response(document.live_as_json(), mimetype="application/json")


@blueprint.get("/docs")
@public
def page() -> Response:
    response = Response(PAGE.read_bytes(), mimetype="text/html")
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    return response


@blueprint.get("/docs/<name>")
@public
def asset(name: str) -> Response:
    if name not in ASSETS:
        raise NotFound
    response = Response(ASSETS[name].read_bytes(), mimetype=guess_type(name)[0] or "text/plain")
    response.cache_control.max_age = DAY
    return response
