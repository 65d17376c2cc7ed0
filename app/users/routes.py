"""HTTP routes of users."""

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request

from app.auth.tokens import current_user_id, expiry, public, revoke_token
from app.http.addresses import client_subscriber
from app.http.body import load_body
from app.http.pages import next_link
from app.http.rate_limits import account, address, limited
from app.http.request import load_query
from app.users import accounts, known_addresses, schemas, service

_TRIED = "lenta.tried_user_id"

blueprint = Blueprint("users", __name__)


@blueprint.post("/user/register")
@public
@limited("register_rate_per_address", by=address)
def register() -> dict[str, Any]:
    return {"user_id": str(service.register(load_body(schemas.registration)))}


def tried_user_id() -> int:
    """Return the id of the account to log in to, UNKNOWN for an unknown username.

    A username is looked up once per request, so that the account whose attempts are counted is the one that is tried.
    """
    if _TRIED not in request.environ:
        credentials = load_body(schemas.credentials)
        request.environ[_TRIED] = credentials["id"] if "id" in credentials else service.find(credentials["username"])
    return int(request.environ[_TRIED])


def tried_account() -> str:
    """Return the key of the account to log in to, separate for known addresses.

    It is the same for an id and a username. Attempts on an unknown username are counted like those on an unknown id, so
    that a 429 does not tell whether it exists.
    """
    user_id, subscriber = tried_user_id(), client_subscriber()
    if known_addresses.is_known(user_id, subscriber):
        return f"{user_id}@{subscriber}"
    return str(user_id) if user_id else f"@{load_body(schemas.credentials).get('username', '')}"


@blueprint.post("/login")
@public
@limited("login_rate_per_address", by=address)
@limited("login_rate_per_account", by=tried_account)
def log_in() -> dict[str, Any]:
    user_id = tried_user_id()
    token = service.log_in(user_id, load_body(schemas.credentials)["password"])
    known_addresses.remember(user_id, client_subscriber())
    return _logged_in(user_id, token)


@blueprint.post("/logout")
def log_out() -> dict[str, Any]:
    if load_query(schemas.log_out)["everywhere"]:
        accounts.log_out_everywhere(current_user_id())
    else:
        revoke_token()
    return {}


@blueprint.put("/user/update")
def update() -> dict[str, Any]:
    service.update(current_user_id(), load_body(schemas.profile_changes))
    return {}


@blueprint.put("/user/password")
@limited("login_rate_per_account", by=account)
def change_password() -> dict[str, Any]:
    passwords = load_body(schemas.password_change)
    token = accounts.change_password(current_user_id(), passwords["old_password"], passwords["new_password"])
    return _logged_in(current_user_id(), token)


@blueprint.put("/user/delete")
@limited("login_rate_per_account", by=account)
def delete() -> dict[str, Any]:
    accounts.delete(current_user_id(), load_body(schemas.deletion)["password"])
    return {}


@blueprint.get("/user/list")
def list_users() -> list[dict[str, Any]]:
    return [schemas.dump(user) for user in service.get_many(load_query(schemas.user_list)["ids"])]


@blueprint.get("/user/search")
def search() -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    query = load_query(schemas.search)
    if "q" not in query:
        return [schemas.dump(user) for user in service.search(query["first_name"], query["last_name"])], []
    q, limit = query["q"], query["limit"]
    users, end = service.search_box(q, limit, query["cursor"])
    links = [next_link(urlencode({"q": q, "cursor": schemas.dump_cursor(end), "limit": limit}))] if end else []
    return [schemas.dump(user) for user in users], links


def _logged_in(user_id: int, token: str) -> dict[str, Any]:
    return {"token": token, "user_id": str(user_id), "expires_at": expiry(token).isoformat()}
