"""HTTP calls of users."""

from typing import Any

from flask import Blueprint

from app.auth import public, revoke_token
from app.errors import NotFound, TooManyRequests, WrongCredentials
from app.fields import load_body, load_id, load_query
from app.operation import EMPTY, Link, describe
from app.users import schemas, service

EXAMPLE = {
    "id": "2125011480165912577",
    "first_name": "Ann",
    "second_name": "Lee",
    "birthdate": "1990-01-31",
    "biography": "Reads a lot.",
    "city": "Oslo",
}
PASSWORD = "correct horse"
PROFILE = {name: value for name, value in EXAMPLE.items() if name != "id"}

blueprint = Blueprint("users", __name__)


@blueprint.post("/user/register")
@public
@describe(
    name="register",
    summary="Register",
    body=schemas.registration,
    sent=PROFILE | {"password": PASSWORD},
    answer=schemas.new_user,
    example={"user_id": EXAMPLE["id"]},
    errors=(TooManyRequests,),
    links={
        "log in": Link("log_in", body={"id": "$response.body#/user_id", "password": "$request.body#/password"}),
        "get the user": Link("get_user", {"user_id": "$response.body#/user_id"}),
        "follow the user": Link("set_friend", {"user_id": "$response.body#/user_id"}),
        "unfollow the user": Link("delete_friend", {"user_id": "$response.body#/user_id"}),
    },
)
def register() -> dict[str, Any]:
    return {"user_id": str(service.register(load_body(schemas.registration)))}


@blueprint.post("/login")
@public
@describe(
    name="log_in",
    summary="Log in: the token goes into the header X-Auth of all other calls",
    body=schemas.credentials,
    sent={"id": EXAMPLE["id"], "password": PASSWORD},
    answer=schemas.token,
    example={"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIyMTI1In0.c2lnbmF0dXJl"},
    errors=(WrongCredentials, TooManyRequests),
)
def log_in() -> dict[str, Any]:
    credentials = load_body(schemas.credentials)
    return {"token": service.log_in(credentials["id"], credentials["password"])}


@blueprint.post("/logout")
@describe(name="log_out", summary="Log out: the token is refused from now on", answer=EMPTY, example={})
def log_out() -> dict[str, Any]:
    revoke_token()
    return {}


@blueprint.get("/user/get/<user_id>")
@describe(name="get_user", summary="Get a user", answer=schemas.user, example=EXAMPLE, errors=(NotFound,))
def get(user_id: str) -> dict[str, Any]:
    return schemas.dump(service.get(load_id(user_id, "user_id")))


@blueprint.get("/user/search")
@describe(
    name="search_users",
    summary="Find users by the beginnings of both names, in any case: at most 100, by id",
    query=schemas.search,
    answer=schemas.user,
    many=True,
    example=[EXAMPLE],
    links={"get the first": Link("get_user", {"user_id": "$response.body#/0/id"})},
)
def search() -> list[dict[str, Any]]:
    names = load_query(schemas.search)
    return [schemas.dump(user) for user in service.search(names["first_name"], names["last_name"])]
