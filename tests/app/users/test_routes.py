"""Register, log in, look up: as a client sees them."""

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from app.db import USERS, db

REGISTRATION = {
    "first_name": "Ann",
    "second_name": "Lee",
    "birthdate": "1990-02-28",
    "biography": "Reads.",
    "city": "Oslo",
    "password": "correct horse",
}
TODAY = date.today()
NOT_IDS = ["abc", "1.5", "-1", "+1", "1e3", "0x1", "%20", "%00", "٣", "9223372036854775808", "1" * 20]
NOT_KEPT = {"NUL": "\0", "half a surrogate pair": "\ud800", "the other half": "\udfff"}


@pytest.fixture
def anyone(app):
    """A client without a token."""
    return app.test_client()


@pytest.fixture
def somebody(world, client_of):
    """A client with a token; its user is found by no search."""
    return client_of(world.person(first_name="Zoe", second_name="Zed"))


def register(client, **changes):
    # json.dumps keeps half a surrogate pair as the escape \ud800, as a client could send it.
    data = json.dumps(REGISTRATION | changes)
    return client.post("/user/register", data=data, content_type="application/json")


def log_in(client, user_id, password=REGISTRATION["password"]):
    data = json.dumps({"id": user_id, "password": password})
    return client.post("/login", data=data, content_type="application/json")


def search(client, first_name, last_name):
    return client.get("/user/search", query_string={"first_name": first_name, "last_name": last_name})


def found(client, first_name, last_name):
    return [int(user["id"]) for user in search(client, first_name, last_name).json]


# --- register ----------------------------------------------------------------------------------------------


def test_registering_answers_the_id_as_a_string_of_19_digits(anyone):
    answer = register(anyone)

    assert answer.status_code == 200
    assert list(answer.json) == ["user_id"]
    assert isinstance(answer.json["user_id"], str)
    assert len(answer.json["user_id"]) == 19
    assert answer.json["user_id"].isdigit()


def test_two_who_say_the_same_of_themselves_are_two_users(anyone):
    first, second = register(anyone), register(anyone)

    assert first.json["user_id"] != second.json["user_id"]


def test_a_registered_user_is_got_as_registered_and_without_the_password(anyone, somebody):
    user_id = register(anyone).json["user_id"]

    answer = somebody.get(f"/user/get/{user_id}")

    assert answer.status_code == 200
    profile = {name: value for name, value in REGISTRATION.items() if name != "password"}
    assert answer.json == {"id": user_id} | profile


def test_biography_and_city_may_be_left_out(anyone, somebody):
    required = {name: value for name, value in REGISTRATION.items() if name not in ("biography", "city")}

    answer = anyone.post("/user/register", json=required)

    user = somebody.get(f"/user/get/{answer.json['user_id']}").json
    assert (user["biography"], user["city"]) == ("", "")


def test_registering_ignores_fields_that_it_does_not_know(anyone):
    answer = register(anyone, id="5", is_admin=True, password_hash="x")

    assert answer.status_code == 200
    assert answer.json["user_id"] != "5"


def test_names_city_and_biography_are_trimmed(anyone, somebody):
    answer = register(anyone, first_name=" Ann ", second_name="\tLee\n", city=" Oslo ", biography=" Reads. ")

    user = somebody.get(f"/user/get/{answer.json['user_id']}").json
    shown = [user[name] for name in ("first_name", "second_name", "city", "biography")]
    assert shown == ["Ann", "Lee", "Oslo", "Reads."]


def test_every_alphabet_is_kept(anyone, somebody):
    answer = register(anyone, first_name="Юлия", second_name="村上", city="São Paulo", biography="🙂" * 1000)

    user = somebody.get(f"/user/get/{answer.json['user_id']}").json
    shown = [user[name] for name in ("first_name", "second_name", "city", "biography")]
    assert shown == ["Юлия", "村上", "São Paulo", "🙂" * 1000]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", "A"),
        ("first_name", "A" * 100),
        ("first_name", " " + "A" * 98 + " "),
        ("second_name", "L"),
        ("second_name", "L" * 100),
        ("city", ""),
        ("city", "O" * 100),
        ("biography", ""),
        ("biography", "R" * 1000),
        ("password", "8 chars!"),
        ("password", "p" * 128),
        ("password", " " * 8),
        ("birthdate", "1900-01-01"),
        ("birthdate", "2000-02-29"),
        ("birthdate", TODAY.isoformat()),
    ],
)
def test_a_field_may_go_to_its_bounds(anyone, field, value):
    answer = register(anyone, **{field: value})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", ""),
        ("first_name", " \t\n"),
        ("first_name", "A" * 101),
        ("first_name", " " + "A" * 100),
        ("first_name", None),
        ("first_name", 7),
        ("second_name", ""),
        ("second_name", "   "),
        ("second_name", "L" * 101),
        ("second_name", ["Lee"]),
        ("city", "O" * 101),
        ("city", None),
        ("biography", "R" * 1001),
        ("biography", {}),
        ("password", "7 chars"),
        ("password", "p" * 129),
        ("password", None),
        ("password", 12345678),
        ("birthdate", "1899-12-31"),
        ("birthdate", (TODAY + timedelta(days=1)).isoformat()),
        ("birthdate", "1990-02-30"),
        ("birthdate", "28.02.1990"),
        ("birthdate", "1990-02-28T00:00:00"),
        ("birthdate", ""),
        ("birthdate", None),
        ("birthdate", 19900228),
    ],
)
def test_a_field_beyond_its_bounds_is_named_in_the_400(anyone, field, value):
    answer = register(anyone, **{field: value})

    assert answer.status_code == 400
    assert answer.json["code"] == 1001
    assert list(answer.json["errors"]) == [field]
    assert all(isinstance(line, str) and line for line in answer.json["errors"][field])


@pytest.mark.parametrize("character", NOT_KEPT.values(), ids=NOT_KEPT)
@pytest.mark.parametrize("field", ["first_name", "second_name", "biography", "city", "password"])
def test_what_postgresql_cannot_keep_is_refused_in_every_field(anyone, field, character):
    answer = register(anyone, **{field: f"some {character} text"})

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [field]


def test_all_that_is_missing_is_named_at_once(anyone):
    answer = anyone.post("/user/register", json={})

    assert answer.status_code == 400
    assert set(answer.json["errors"]) == {"first_name", "second_name", "birthdate", "password"}


def test_a_refused_registration_leaves_no_user(anyone):
    register(anyone, password="short")

    with db.engines[USERS].connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar_one() == 0


def test_the_password_is_kept_as_an_argon2id_hash_only(anyone):
    user_id = register(anyone).json["user_id"]

    with db.engines[USERS].connect() as connection:
        row = connection.execute(text("SELECT * FROM users WHERE id = :id"), {"id": user_id}).one()
    assert row.password_hash.startswith("$argon2id$")
    assert REGISTRATION["password"] not in " ".join(map(str, row))


# --- log in ------------------------------------------------------------------------------------------------


def test_logging_in_answers_a_token_of_that_user(anyone):
    user_id = register(anyone).json["user_id"]

    answer = log_in(anyone, user_id)

    assert answer.status_code == 200
    assert list(answer.json) == ["token"]
    headers = {"X-Auth": answer.json["token"]}
    post_id = anyone.post("/post/create", json={"text": "mine"}, headers=headers).json
    assert anyone.get(f"/post/get/{post_id}", headers=headers).json["author_user_id"] == user_id


def test_a_wrong_password_and_an_unknown_user_are_answered_alike(anyone):
    user_id = register(anyone).json["user_id"]

    wrong, unknown = log_in(anyone, user_id, "wrong horse"), log_in(anyone, "1")

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json["code"] == 1003
    assert wrong.json | {"request_id": ""} == unknown.json | {"request_id": ""}


def test_a_password_is_never_trimmed(anyone):
    user_id = register(anyone, password="  spaces  ").json["user_id"]

    statuses = [log_in(anyone, user_id, password).status_code for password in ("spaces", "  spaces  ")]

    assert statuses == [401, 200]


def test_the_password_of_another_user_does_not_do(anyone):
    user_id = register(anyone).json["user_id"]
    register(anyone, password="another horse")

    answer = log_in(anyone, user_id, "another horse")

    assert answer.status_code == 401


@pytest.mark.parametrize("user_id", ["abc", "", "-1", " 1", "9223372036854775808", 1, None, ["1"]])
def test_logging_in_takes_the_id_as_a_string_of_digits(anyone, user_id):
    answer = log_in(anyone, user_id)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["id"]


@pytest.mark.parametrize("password", ["", "p" * 129, "NUL \0", "half \ud800", None, 12345678])
def test_logging_in_refuses_what_can_be_no_password(anyone, password):
    answer = log_in(anyone, "1", password)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["password"]


# --- get ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["0", "1", "9223372036854775807"])
def test_an_id_that_names_no_user_is_404(somebody, user_id):
    answer = somebody.get(f"/user/get/{user_id}")

    assert answer.status_code == 404
    assert answer.json["code"] == 1005


@pytest.mark.parametrize("user_id", NOT_IDS)
def test_an_id_that_is_no_number_is_400(somebody, user_id):
    answer = somebody.get(f"/user/get/{user_id}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["user_id"]


# --- search ------------------------------------------------------------------------------------------------


def test_search_answers_users_as_get_does(world, somebody):
    user_id = world.person(first_name="Ann", second_name="Lee")

    answer = search(somebody, "Ann", "Lee")

    assert answer.status_code == 200
    assert answer.json == [somebody.get(f"/user/get/{user_id}").json]


def test_search_takes_the_beginnings_of_both_names(world, somebody):
    ann = world.person(first_name="Ann", second_name="Lee")
    anna = world.person(first_name="Anna", second_name="Leeds")
    world.person(first_name="Joann", second_name="Lee")
    world.person(first_name="Ann", second_name="Bradlee")
    world.person(first_name="Bob", second_name="Lee")

    ids = found(somebody, "Ann", "Le")

    assert ids == [ann, anna]


@pytest.mark.parametrize("names", [("ann", "lee"), ("ANN", "LEE"), ("aNn", "LeE")])
def test_search_ignores_case(world, somebody, names):
    users = [world.person(first_name="Ann", second_name="Lee"), world.person(first_name="ANN", second_name="lee")]

    ids = found(somebody, *names)

    assert ids == users


def test_search_ignores_case_beyond_ascii(world, somebody):
    user_id = world.person(first_name="Юлия", second_name="Ёлкина")

    ids = found(somebody, "юЛ", "ёлк")

    assert ids == [user_id]


def test_search_trims_what_it_is_given(world, somebody):
    user_id = world.person(first_name="Ann", second_name="Lee")

    ids = found(somebody, " Ann ", " Lee")

    assert ids == [user_id]


@pytest.mark.parametrize("character", ["%", "_", "\\", "'"])
def test_search_takes_the_characters_of_patterns_literally(world, somebody, character):
    literal = world.person(first_name=f"A{character}n", second_name=f"{character}Lee")
    world.person(first_name="Ann", second_name="Lee")
    world.person(first_name="An", second_name="XLee")

    ids = found(somebody, f"A{character}", character)

    assert ids == [literal]


def test_search_answers_the_first_100_in_the_order_of_ids(world, somebody):
    users = sorted(world.people(101))

    ids = found(somebody, "A", "L")

    assert ids == users[:100]


def test_search_that_finds_nobody_answers_an_empty_list(somebody):
    answer = search(somebody, "Nobody", "Nowhere")

    assert (answer.status_code, answer.json) == (200, [])


@pytest.mark.parametrize("name", ["", "   ", "%00", "A" * 101])
@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_search_names_the_field_that_it_cannot_use(somebody, field, name):
    other = {"first_name": "last_name", "last_name": "first_name"}[field]

    answer = somebody.get(f"/user/search?{other}=A&{field}={name}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [field]


def test_search_needs_both_names(somebody):
    answer = somebody.get("/user/search")

    assert answer.status_code == 400
    assert set(answer.json["errors"]) == {"first_name", "last_name"}
