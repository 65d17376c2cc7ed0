# ruff: noqa: RUF001 - names in many alphabets
"""Register, log in, look up: as a client sees them."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from unicodedata import normalize

import pytest
from flask_jwt_extended import decode_token
from sqlalchemy import text

from app.db.engine import USERS, commit, db, execute
from app.users import known_addresses, service, store
from tests.factories import eventually
from tests.tools.plans import explained, rows_read

REGISTRATION = {
    "first_name": "Ann",
    "second_name": "Lee",
    "birthdate": "1990-02-28",
    "biography": "Reads.",
    "city": "Oslo",
    "password": "correct horse",
}
TODAY = date.today()
NOT_IDS = ["abc", "1.5", "-1", "+1", "1e3", "0x1", "%20", "%00", "٣", "1" * 20]
BEYOND_64_BITS = ["9223372036854775808", "9" * 19]
COUNTS = {"followers": 0, "following": 0, "posts": 0}
STRANGER = {"is_followed": False, "follows_you": False, "is_blocked": False} | COUNTS
NOT_KEPT = {"NUL": "\0", "half a surrogate pair": "\ud800", "the other half": "\udfff"}


@pytest.fixture
def anyone(app):
    """A client without a token."""
    return app.test_client()


@pytest.fixture
def visitor(world, client_of):
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


def test_a_registered_user_is_got_as_registered_and_without_the_password(anyone, visitor):
    user_id = register(anyone).json["user_id"]

    answer = visitor.get(f"/user/get/{user_id}")

    assert answer.status_code == 200
    profile = {name: value for name, value in REGISTRATION.items() if name != "password"}
    assert answer.json == {"id": user_id, "username": None} | profile | STRANGER


def test_biography_and_city_may_be_left_out(anyone, visitor):
    required = {name: value for name, value in REGISTRATION.items() if name not in ("biography", "city")}

    answer = anyone.post("/user/register", json=required)

    user = visitor.get(f"/user/get/{answer.json['user_id']}").json
    assert (user["biography"], user["city"]) == ("", "")


def test_registering_ignores_fields_that_it_does_not_know(anyone):
    answer = register(anyone, id="5", is_admin=True, password_hash="x")

    assert answer.status_code == 200
    assert answer.json["user_id"] != "5"


def test_names_city_and_biography_are_trimmed(anyone, visitor):
    answer = register(anyone, first_name=" Ann ", second_name="\tLee\n", city=" Oslo ", biography=" Reads. ")

    user = visitor.get(f"/user/get/{answer.json['user_id']}").json
    shown = [user[name] for name in ("first_name", "second_name", "city", "biography")]
    assert shown == ["Ann", "Lee", "Oslo", "Reads."]


def test_every_alphabet_is_kept(anyone, visitor):
    answer = register(anyone, first_name="Юлия", second_name="村上", city="São Paulo", biography="🙂" * 1000)

    user = visitor.get(f"/user/get/{answer.json['user_id']}").json
    shown = [user[name] for name in ("first_name", "second_name", "city", "biography")]
    assert shown == ["Юлия", "村上", "São Paulo", "🙂" * 1000]


def test_texts_are_kept_in_one_normal_form(anyone, visitor):
    texts = dict.fromkeys(("first_name", "second_name", "city", "biography"), "Ångström é 가")
    answer = register(anyone, **{field: normalize("NFD", text) for field, text in texts.items()})

    assert texts.items() <= visitor.get(f"/user/get/{answer.json['user_id']}").json.items()


def test_a_password_set_in_one_normal_form_is_taken_in_the_other(anyone):
    user_id = register(anyone, password=normalize("NFD", "pässwörd é")).json["user_id"]

    assert log_in(anyone, user_id, normalize("NFC", "pässwörd é")).status_code == 200


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
    assert list(answer.json) == ["token", "user_id", "expires_at"]
    assert answer.json["user_id"] == user_id
    headers = {"X-Auth": answer.json["token"]}
    post_id = anyone.post("/post/create", json={"text": "mine"}, headers=headers).json
    assert anyone.get(f"/post/get/{post_id}", headers=headers).json["author_user_id"] == user_id


def test_logging_in_answers_when_the_token_expires(make_app):
    app = make_app(jwt_ttl=77)
    client = app.test_client()

    answer = log_in(client, register(client).json["user_id"])

    with app.app_context():
        claims = decode_token(answer.json["token"])
    assert datetime.fromisoformat(answer.json["expires_at"]) == datetime.fromtimestamp(claims["iat"] + 77, UTC)


@pytest.mark.parametrize("unknown_id", ["1", *BEYOND_64_BITS])
def test_a_wrong_password_and_an_unknown_user_are_answered_alike(anyone, unknown_id):
    user_id = register(anyone).json["user_id"]

    wrong, unknown = log_in(anyone, user_id, "wrong horse"), log_in(anyone, unknown_id)

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


@pytest.mark.parametrize("user_id", ["abc", "", "-1", " 1", "1" * 20, 1, None, ["1"]])
def test_logging_in_takes_the_id_as_a_string_of_digits(anyone, user_id):
    answer = log_in(anyone, user_id)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["id"]


@pytest.mark.parametrize("password", ["", "p" * 129, "NUL \0", "half \ud800", None, 12345678])
def test_logging_in_refuses_what_can_be_no_password(anyone, password):
    answer = log_in(anyone, "1", password)

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["password"]


# --- usernames ---------------------------------------------------------------------------------------------


def log_in_by_name(client, username, password=REGISTRATION["password"]):
    return client.post("/login", json={"username": username, "password": password})


@pytest.fixture
def by_name(anyone):
    """The id of a user who registered as ann_1."""
    return register(anyone, username="ann_1").json["user_id"]


@pytest.mark.parametrize("username", ["abc", "a_9", "___", "000", "z" * 30, "Ann_Lee", "ANN"])
def test_a_username_is_kept_and_shown_in_lower_case(anyone, visitor, username):
    user_id = register(anyone, username=username).json["user_id"]

    assert visitor.get(f"/user/get/{user_id}").json["username"] == username.lower()
    assert visitor.get(f"/user/list?ids={user_id}").json[0]["username"] == username.lower()
    assert search(visitor, "Ann", "Lee").json[0]["username"] == username.lower()


@pytest.mark.parametrize(
    "username", ["", "ab", "a" * 31, "ann lee", " ann", "ann\n", "ann-lee", "änn", "\u212aelvin", "анна", None, 123]
)
@pytest.mark.parametrize("call", ["register", "update", "log in"])
def test_what_is_no_username_is_named_in_the_400(anyone, ann, call, username):
    send = {
        "register": lambda: register(anyone, username=username),
        "update": lambda: update(ann, username=username),
        "log in": lambda: log_in_by_name(anyone, username),
    }

    answer = send[call]()

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["username"]


@pytest.mark.parametrize("username", ["ann_1", "ANN_1", "Ann_1"])
def test_a_username_that_is_taken_in_any_case_is_409_and_leaves_no_user(anyone, by_name, username):
    answer = register(anyone, username=username)

    assert (answer.status_code, answer.json["code"]) == (409, 1018)
    with db.engines[USERS].connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar_one() == 1


def test_of_two_who_register_a_username_at_once_the_second_waits_and_is_409(app, anyone):
    with db.engines[USERS].connect() as first, ThreadPoolExecutor(1) as pool:
        first.execute(text(f"INSERT INTO users ({', '.join(RACER)}) VALUES ({', '.join(map(repr, RACER.values()))})"))
        second = pool.submit(register, app.test_client(), username="Racer")
        eventually(lambda: waits_for_a_lock("INSERT INTO users"), "a second registration that waits for the first")
        first.commit()

    assert second.result().status_code == 409


def test_the_username_of_a_registration_that_failed_is_free(app, anyone):
    with db.engines[USERS].connect() as first, ThreadPoolExecutor(1) as pool:
        first.execute(text(f"INSERT INTO users ({', '.join(RACER)}) VALUES ({', '.join(map(repr, RACER.values()))})"))
        second = pool.submit(register, app.test_client(), username="racer")
        eventually(lambda: waits_for_a_lock("INSERT INTO users"), "a second registration that waits for the first")
        first.rollback()

    assert second.result().status_code == 200


RACER = {"username": "racer", "first_name": "A", "second_name": "B", "birthdate": "1990-01-01"}
RACER |= dict.fromkeys(("biography", "city", "password_hash"), "")


def waits_for_a_lock(statement):
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND strpos(query, :statement) > 0
    """
    with db.engines[USERS].connect() as connection:
        return connection.execute(text(query), {"statement": statement}).scalar_one() == 1


def test_a_username_is_given_and_changed_by_an_update_and_the_former_is_free(anyone, ann):
    assert update(ann, username="Ann_L").status_code == 200
    assert update(ann, username="ann_lee").status_code == 200
    assert update(ann, username="ANN_LEE").status_code == 200

    assert ann.get("/user/me").json["username"] == "ann_lee"
    assert register(anyone, username="ann_l").status_code == 200


def test_an_update_to_a_username_that_is_taken_is_409_and_changes_nothing(ann, by_name):
    before = ann.get("/user/me").json

    answer = update(ann, username="ANN_1", city="Bergen")

    assert (answer.status_code, answer.json["code"]) == (409, 1018)
    assert ann.get("/user/me").json == before


@pytest.mark.parametrize("username", ["ann_1", "ANN_1"])
def test_logging_in_by_username_is_logging_in_by_id(anyone, by_name, username):
    answer = log_in_by_name(anyone, username)

    assert (answer.status_code, answer.json["user_id"]) == (200, by_name)
    assert anyone.get("/user/me", headers={"X-Auth": answer.json["token"]}).json["id"] == by_name


def test_an_unknown_username_and_a_wrong_password_are_answered_alike(anyone, by_name):
    wrong, unknown = log_in_by_name(anyone, "ann_1", "wrong horse"), log_in_by_name(anyone, "ann_2")

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json | {"request_id": ""} == unknown.json | {"request_id": ""}


def test_an_unknown_username_does_all_that_a_known_one_does(app, anyone, by_name, monkeypatch):
    done = []

    def record(name, work):
        return lambda *arguments: done.append(name) or work(*arguments)

    for module, name in ((store, "select_id"), (store, "select_credentials"), (service, "verify_password")):
        monkeypatch.setattr(module, name, record(name, getattr(module, name)))
    monkeypatch.setattr(known_addresses, "is_known", record("is_known", known_addresses.is_known))

    log_in_by_name(anyone, "ann_1", "wrong horse")
    known = done.copy()
    done.clear()
    log_in_by_name(anyone, "ann_2", "wrong horse")

    assert done == known
    assert {"select_id", "select_credentials", "verify_password"} <= set(known)


@pytest.mark.parametrize("account", [{}, {"id": "1", "username": "ann_1"}])
def test_logging_in_takes_an_id_or_a_username_and_not_both(anyone, account):
    answer = anyone.post("/login", json={"password": REGISTRATION["password"], **account})

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["id"]


# --- me ----------------------------------------------------------------------------------------------------


def test_me_is_the_user_of_the_token_and_when_they_registered(anyone, visitor):
    before = datetime.now(UTC)
    user_id = register(anyone).json["user_id"]
    token = log_in(anyone, user_id).json["token"]

    answer = anyone.get("/user/me", headers={"X-Auth": token})

    me = answer.json
    created_at = me.pop("created_at")
    assert answer.status_code == 200
    assert me | STRANGER == visitor.get(f"/user/get/{user_id}").json
    assert before - timedelta(seconds=1) < datetime.fromisoformat(created_at) < datetime.now(UTC) + timedelta(seconds=1)


def test_me_is_404_for_a_token_whose_user_is_gone(client_of):
    answer = client_of(1).get("/user/me")

    assert (answer.status_code, answer.json["code"]) == (404, 1005)


# --- update ------------------------------------------------------------------------------------------------


@pytest.fixture
def ann(anyone, client_of):
    """A client of a user who registered with REGISTRATION."""
    return client_of(int(register(anyone).json["user_id"]))


def update(client, **changes):
    return client.put("/user/update", data=json.dumps(changes), content_type="application/json")


CHANGES = {
    "username": "ann_lee",
    "first_name": "Юлия",
    "second_name": "Bo'b",
    "birthdate": "2001-02-03",
    "biography": "",
    "city": "",
}


@pytest.mark.parametrize("field", CHANGES)
def test_an_update_changes_the_given_field_and_no_other(ann, field):
    before = ann.get("/user/me").json

    answer = update(ann, **{field: CHANGES[field]})

    assert (answer.status_code, answer.json) == (200, {})
    assert ann.get("/user/me").json == before | {field: CHANGES[field]}


def test_an_update_may_change_all_fields_or_none(ann):
    before = ann.get("/user/me").json

    update(ann)
    assert ann.get("/user/me").json == before
    update(ann, **CHANGES)
    assert ann.get("/user/me").json == before | CHANGES


def test_an_update_changes_no_other_user_and_no_other_column(anyone, ann):
    other = register(anyone).json["user_id"]

    update(ann, city="Bergen", id=other, user_id=other, password="another horse", created_at="2001-02-03")

    assert ann.get(f"/user/get/{other}").json["city"] == "Oslo"
    assert log_in(anyone, ann.get("/user/me").json["id"]).status_code == 200


def test_an_updated_name_is_found_and_the_former_is_not(ann, visitor):
    user_id = int(ann.get("/user/me").json["id"])

    update(ann, first_name=" STRASSE ")

    assert found(visitor, "straß", "lee") == [user_id]
    assert found(visitor, "ann", "lee") == []
    update(ann, second_name="ΣΊΣΥΦΟΣ")
    assert found(visitor, "straß", "σίσυφος") == [user_id]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", " "),
        ("first_name", None),
        ("second_name", "x" * 101),
        ("birthdate", "1899-12-31"),
        ("birthdate", None),
        ("biography", "x" * 1001),
        ("city", "a\0b"),
        ("city", 5),
    ],
)
def test_an_update_names_the_field_that_it_cannot_use_and_changes_nothing(ann, field, value):
    before = ann.get("/user/me").json

    answer = update(ann, **{"biography": "new", field: value})

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [field]
    assert ann.get("/user/me").json == before


def test_an_update_is_404_for_a_token_whose_user_is_gone(client_of):
    assert update(client_of(1), city="Bergen").status_code == 404


# --- get ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["0", "1", "9223372036854775807", *BEYOND_64_BITS])
def test_an_id_that_names_no_user_is_404(visitor, user_id):
    answer = visitor.get(f"/user/get/{user_id}")

    assert answer.status_code == 404
    assert answer.json["code"] == 1005


@pytest.mark.parametrize("user_id", NOT_IDS)
def test_an_id_that_is_no_number_is_400(visitor, user_id):
    answer = visitor.get(f"/user/get/{user_id}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["user_id"]


# --- list --------------------------------------------------------------------------------------------------


def test_a_list_has_users_as_get_has_them_in_the_order_of_their_ids_in_the_query(world, visitor):
    first, second, third = world.people(3)

    answer = visitor.get(f"/user/list?ids={third},{first},{second}")

    assert answer.status_code == 200
    got = [visitor.get(f"/user/get/{user_id}").json for user_id in (third, first, second)]
    assert [user | STRANGER for user in answer.json] == got


def test_a_list_leaves_out_unknown_ids_and_repeats_nobody(world, visitor):
    user_id = world.person()

    answer = visitor.get(f"/user/list?ids=1,{user_id},{'9' * 19},{user_id}")

    assert [user["id"] for user in answer.json] == [str(user_id)]


def test_a_list_of_unknown_ids_is_empty(visitor):
    answer = visitor.get("/user/list?ids=1")

    assert (answer.status_code, answer.json) == (200, [])


def test_a_list_takes_100_ids_and_no_more(world, visitor):
    ids = [str(user_id) for user_id in world.people(100)]

    taken, refused = (visitor.get(f"/user/list?ids={','.join(some)}") for some in (ids, [*ids, "1"]))

    assert [user["id"] for user in taken.json] == ids
    assert refused.status_code == 400
    assert list(refused.json["errors"]) == ["ids"]


@pytest.mark.parametrize("ids", ["", ",", "1,", ",1", "1,,2", "1;2", "1, 2", "1,x", "1," + "1" * 20])
def test_a_list_refuses_what_are_no_ids(visitor, ids):
    answer = visitor.get(f"/user/list?ids={ids}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["ids"]


def test_a_list_needs_ids(visitor):
    answer = visitor.get("/user/list")

    assert (answer.status_code, list(answer.json["errors"])) == (400, ["ids"])


# --- search ------------------------------------------------------------------------------------------------


def test_search_answers_users_as_get_does(world, visitor):
    user_id = world.person(first_name="Ann", second_name="Lee")

    answer = search(visitor, "Ann", "Lee")

    assert answer.status_code == 200
    assert [user | STRANGER for user in answer.json] == [visitor.get(f"/user/get/{user_id}").json]


def test_search_takes_the_beginnings_of_both_names(world, visitor):
    ann = world.person(first_name="Ann", second_name="Lee")
    anna = world.person(first_name="Anna", second_name="Leeds")
    world.person(first_name="Joann", second_name="Lee")
    world.person(first_name="Ann", second_name="Bradlee")
    world.person(first_name="Bob", second_name="Lee")

    ids = found(visitor, "Ann", "Le")

    assert ids == [ann, anna]


@pytest.mark.parametrize("names", [("ann", "lee"), ("ANN", "LEE"), ("aNn", "LeE")])
def test_search_ignores_case(world, visitor, names):
    users = [world.person(first_name="Ann", second_name="Lee"), world.person(first_name="ANN", second_name="lee")]

    ids = found(visitor, *names)

    assert ids == users


def test_search_ignores_case_beyond_ascii(world, visitor):
    user_id = world.person(first_name="Юлия", second_name="Ёлкина")

    ids = found(visitor, "юЛ", "ёлк")

    assert ids == [user_id]


@pytest.mark.parametrize(
    ("first_name", "typed"),
    [
        ("Straße", "STRASSE"),
        ("STRASSE", "straß"),
        ("İlker", "ilker"),
        ("Işık", "ışık"),
        ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
        ("Σίσυφος", "σίσυφοσ"),
        ("Björn", normalize("NFD", "BJÖRN")),
        (normalize("NFD", "Björn"), "BJÖR"),
        ("ﬁona", "Fi"),
    ],
)
def test_search_ignores_case_and_normal_form_in_every_alphabet(anyone, visitor, first_name, typed):
    user_id = register(anyone, first_name=first_name, second_name=first_name).json["user_id"]

    assert found(visitor, typed, typed) == [int(user_id)]


def test_the_longest_names_are_kept_and_found(anyone, visitor):
    long = "\ufdfa" * 100  # which unfolds to 1,800 letters
    user_id = register(anyone, first_name=long, second_name="🙂" * 100).json["user_id"]

    assert found(visitor, long, "🙂" * 100) == [int(user_id)]


def test_search_trims_what_it_is_given(world, visitor):
    user_id = world.person(first_name="Ann", second_name="Lee")

    ids = found(visitor, " Ann ", " Lee")

    assert ids == [user_id]


@pytest.mark.parametrize("character", ["%", "_", "\\", "'"])
def test_search_takes_the_characters_of_patterns_literally(world, visitor, character):
    literal = world.person(first_name=f"A{character}n", second_name=f"{character}Lee")
    world.person(first_name="Ann", second_name="Lee")
    world.person(first_name="An", second_name="XLee")

    ids = found(visitor, f"A{character}", character)

    assert ids == [literal]


def test_search_answers_the_first_100_in_the_order_of_ids(world, visitor):
    users = sorted(world.people(101))

    ids = found(visitor, "A", "L")

    assert ids == users[:100]


def test_search_that_finds_nobody_answers_an_empty_list(visitor):
    answer = search(visitor, "Absent", "Unknown")

    assert (answer.status_code, answer.json) == (200, [])


@pytest.mark.parametrize("name", ["", "   ", "%00", "A" * 101])
@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_search_names_the_field_that_it_cannot_use(visitor, field, name):
    other = {"first_name": "last_name", "last_name": "first_name"}[field]

    answer = visitor.get(f"/user/search?{other}=A&{field}={name}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [field]


def search_box(client, q, **query):
    return client.get("/user/search", query_string={"q": q, **query})


def found_in_box(client, q, **query):
    return [int(user["id"]) for user in search_box(client, q, **query).json]


@pytest.fixture
def ann_lee(world):
    return world.person(username="zorro_7", first_name="Ann", second_name="Lee")


@pytest.mark.parametrize(
    "q",
    [
        *("zorro_7", "ZORRO", "zor", "Z", "ann", "AN", "lee", "l", "ann lee", "lee ann", "Ann L", "LEE A"),
        *(" ann  lee ", "ａｎｎ"),
    ],
)
def test_one_box_finds_by_username_and_by_names_in_either_order(client_of, world, ann_lee, q):
    asker = client_of(world.person(first_name="Bob", second_name="Quentin"))

    assert found_in_box(asker, q) == [ann_lee]


@pytest.mark.parametrize(
    "q", ["nn", "ee", "ann x", "annlee", "ann_lee", "lee lee", "zorro 7", "orro", "an lee", "%", "_", "\\"]
)
def test_one_box_finds_only_what_begins_so(client_of, world, ann_lee, q):
    asker = client_of(world.person(first_name="Bob", second_name="Quentin"))

    assert found_in_box(asker, q) == []


def test_one_box_answers_users_as_get_does(visitor, ann_lee):
    answer = search_box(visitor, "ann")

    assert [user | STRANGER for user in answer.json] == [visitor.get(f"/user/get/{ann_lee}").json]


@pytest.mark.parametrize(("first_name", "q"), [("Straße", "STRASSE l"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("Işık", "lee ışı")])
def test_one_box_ignores_case_in_every_alphabet(world, visitor, first_name, q):
    user_id = world.person(first_name=first_name, second_name="Lee")

    assert found_in_box(visitor, q) == [user_id]


def test_one_box_is_in_the_order_of_what_begins_so(world, visitor):
    names = [("Ann", "Lee"), ("Zoe", "Anna"), ("Bob", "Ann"), ("Ann", "Bo")]
    ids = [world.person(first_name=first, second_name=second) for first, second in names]
    ids.append(world.person(username="ann", first_name="X", second_name="Y"))

    assert found_in_box(visitor, "ann") == [ids[4], ids[3], ids[2], ids[0], ids[1]]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_of_one_box_hold_each_user_once(world, visitor, limit):
    names = [("Ann", "Lee"), ("Ann", "Lee"), ("Lee", "Ann"), ("Ann", "Ann"), ("Anna", "Ann"), ("Bob", "Ann")]
    ids = {
        world.person(first_name=first, second_name=second, username=f"ann_{n}")
        for n, (first, second) in enumerate(names)
    }
    page = f"/user/search?q=ann&limit={limit}"
    seen = []

    while page:
        answer = visitor.get(page)
        assert len(answer.json) <= limit
        seen += [int(user["id"]) for user in answer.json]
        page = answer.headers.get("Link", "")[1:].partition(">")[0]

    assert sorted(seen) == sorted(ids)


def test_pages_of_one_box_go_on_where_a_user_was_before_their_name_changed(world, visitor, client_of):
    ids = [world.person(first_name="Ann", second_name=f"Lee{n}") for n in range(4)]
    link = search_box(visitor, "ann", limit=2).headers["Link"]

    update(client_of(ids[1]), first_name="Zorro")

    assert [int(user["id"]) for user in visitor.get(link[1:].partition(">")[0]).json] == ids[2:]


def test_one_box_reads_a_page_of_each_index_and_no_more(app, visitor):
    execute(USERS, text(MANY))
    execute(USERS, text("ANALYZE users"))
    commit()

    with explained(USERS) as plans:
        links = [search_box(visitor, "a").headers["Link"]]
        for _ in range(30):
            links.append(visitor.get(links[-1][1:].partition(">")[0]).headers["Link"])

    reads = [{name: rows for name, rows in rows_read(plan).items() if rows > 12} for plan in plans]
    assert reads == [{}] * 31
    assert rows_read(plans[-1]).keys() == {"pk_users"} | ONE_BOX


MANY = """
    INSERT INTO users (username, first_name, second_name, birthdate, biography, city, password_hash,
        first_name_folded, second_name_folded)
    SELECT 'a' || n, 'A' || n % 1000, 'B' || n, '1990-01-01', '', '', '', 'a' || n % 1000, 'b' || n
    FROM generate_series(1000, 21000) n
"""
ONE_BOX = {"ix_users_username", "ix_users_full_name", "ix_users_reversed_name"}


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-a", "x-a", "1" * 20 + "-a", "1-%00", "1-" + "a" * 501])
def test_one_box_refuses_what_is_no_cursor(visitor, cursor):
    answer = visitor.get(f"/user/search?q=a&cursor={cursor}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["cursor"]


@pytest.mark.parametrize("q", ["", "  ", "%00", "a" * 101])
def test_one_box_names_a_q_that_it_cannot_use(visitor, q):
    answer = visitor.get(f"/user/search?first_name=A&last_name=B&q={q}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["q"]


def test_search_needs_both_names(visitor):
    answer = visitor.get("/user/search")

    assert answer.status_code == 400
    assert set(answer.json["errors"]) == {"first_name", "last_name"}
