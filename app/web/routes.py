"""HTTP routes of the web client: one page, and the files that it loads."""

import gzip
import hashlib
from functools import cache
from mimetypes import guess_type
from pathlib import Path

from flask import Blueprint, Response, redirect, request, url_for
from markupsafe import escape
from werkzeug import Response as AnyResponse

from app.auth.tokens import public
from app.errors import NotFound
from app.settings import OFF, settings

HERE = Path(__file__).parent
PAGE = (HERE / "index.html").read_text()
FOLDERS = ("client", "screens", "vendor", "words")
FILES = {f"{folder}/{path.name}": path.read_bytes() for folder in FOLDERS for path in sorted((HERE / folder).iterdir())}
# A file may be kept forever: a change of any file changes the addresses of all.
VERSION = hashlib.sha256(repr([PAGE, *FILES.items()]).encode()).hexdigest()[:12]
YEAR = 31_536_000
FIRST_SCREENS = ["screens/feed.js", "screens/welcome.js"]

TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".woff2": "font/woff2", ".md": "text/markdown"}
# Nothing inline, nothing from elsewhere, and no text that is made into markup or code.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

blueprint = Blueprint("web", __name__)


@blueprint.get("/")
@public
def page() -> AnyResponse:
    """Return the page, or redirect to the documentation if the client is switched off."""
    if settings().web_client == OFF:
        return redirect(url_for("docs.page"))
    response = _compressible(_page(request.script_root), "text/html")
    response.cache_control.no_cache = True
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.add_etag()
    return response.make_conditional(request)


@blueprint.get("/web/<version>/<folder>/<name>")
@public
def file(version: str, folder: str, name: str) -> Response:
    path = f"{folder}/{name}"
    if settings().web_client == OFF or path not in FILES:
        raise NotFound
    mimetype = TYPES.get(Path(name).suffix) or guess_type(name)[0] or "text/plain"
    response = _compressible(FILES[path], mimetype)
    # During an upgrade, a page of another version may ask. It gets this version's file once, and none to keep.
    if version == VERSION:
        response.cache_control.public = response.cache_control.immutable = True
        response.cache_control.max_age = YEAR
    else:
        response.cache_control.no_store = True
    return response


@cache
def _page(root: str) -> bytes:
    """Return the page below the prefix `root`. It names the modules of the start, so that they load side by side."""
    base = f"{escape(root)}/web/{VERSION}"
    modules = [path for path in FILES if path.endswith((".js", ".mjs")) and path.startswith(("client/", "vendor/"))]
    modules += FIRST_SCREENS
    preloads = "\n".join(f'    <link rel="modulepreload" href="{base}/{path}">' for path in modules)
    return PAGE.replace("{base}", base).replace("    {preloads}", preloads).encode()


def _compressible(data: bytes, mimetype: str) -> Response:
    """Return a response of `data`, compressed if the client takes that; fonts are compressed already."""
    if mimetype.startswith("font/"):
        return Response(data, mimetype=mimetype)
    is_taken = request.accept_encodings["gzip"] > 0
    response = Response(_compress(data) if is_taken else data, mimetype=mimetype)
    if is_taken:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    return response


@cache
def _compress(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
