"""HTTP calls of the documentation. Its page needs nothing from the internet."""

from mimetypes import guess_type
from pathlib import Path

from flask import Blueprint, Response, current_app

from app.auth import public
from app.docs.document import build
from app.errors import NotFound

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
    """The document, made at the first call."""
    text: str | None = current_app.extensions.get("openapi")
    if text is None:
        text = current_app.extensions["openapi"] = current_app.json.dumps(build(current_app))
    return Response(text, mimetype="application/json")


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
