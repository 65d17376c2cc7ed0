"""HTTP calls of users."""

from typing import Any

from flask import Blueprint

from app.auth import public, revoke_token
from app.fields import load_body, load_id, load_query
from app.users import schemas, service

blueprint = Blueprint("users", __name__)


@blueprint.post("/user/register")
@public
def register() -> dict[str, Any]:
    return {"user_id": str(service.register(load_body(schemas.registration)))}


@blueprint.post("/login")
@public
def log_in() -> dict[str, Any]:
    credentials = load_body(schemas.credentials)
    return {"token": service.log_in(credentials["id"], credentials["password"])}


@blueprint.post("/logout")
def log_out() -> dict[str, Any]:
    revoke_token()
    return {}


@blueprint.get("/user/get/<user_id>")
def get(user_id: str) -> dict[str, Any]:
    return schemas.dump(service.get(load_id(user_id, "user_id")))


@blueprint.get("/user/search")
def search() -> list[dict[str, Any]]:
    names = load_query(schemas.search)
    return [schemas.dump(user) for user in service.search(names["first_name"], names["last_name"])]
