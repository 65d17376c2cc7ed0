"""Token keys: rotation without logging users out, and public keys that only verify."""

from base64 import urlsafe_b64decode
from dataclasses import replace
from json import loads

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from app.auth.tokens import issue_token
from app.factory import create_app
from app.settings import SettingsError

OLD, NEW, OTHER = ("a key of 32 bytes or more: " + word * 3 for word in ("old", "new", "other"))


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


PRIVATE, NEXT_PRIVATE = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
SIGNING = {"jwt_secret_key": "", "jwt_private_key": private_pem(PRIVATE)}
VERIFYING = {"jwt_secret_key": "", "jwt_public_key": public_pem(PRIVATE)}


def token_of(app):
    with app.app_context():
        return issue_token(7)


def status(app, token):
    return app.test_client().get("/post/feed", headers={"X-Auth": token}).status_code


# --- secrets -----------------------------------------------------------------------------------------------


def test_after_a_rotation_tokens_of_the_key_before_are_good(make_app):
    token = token_of(make_app(jwt_secret_key=OLD))

    rotated = make_app(jwt_secret_key=NEW, jwt_previous_secret_keys=f"{OTHER},{OLD}")

    assert status(rotated, token) == 200


def test_after_a_rotation_the_new_key_signs(make_app):
    token = token_of(make_app(jwt_secret_key=NEW, jwt_previous_secret_keys=OLD))

    assert status(make_app(jwt_secret_key=NEW), token) == 200
    assert status(make_app(jwt_secret_key=OLD), token) == 401


def test_a_key_that_is_dropped_verifies_no_more(make_app):
    token = token_of(make_app(jwt_secret_key=OLD))

    assert status(make_app(jwt_secret_key=NEW, jwt_previous_secret_keys=OTHER), token) == 401


def test_a_token_that_names_no_key_is_taken_for_the_newest_ones(make_app):
    app = make_app(jwt_secret_key=NEW, jwt_previous_secret_keys=OLD)
    claims = jwt.decode(token_of(app), NEW, algorithms=["HS256"])

    assert status(app, jwt.encode(claims, NEW, algorithm="HS256")) == 200
    assert status(app, jwt.encode(claims, OLD, algorithm="HS256")) == 401


@pytest.mark.parametrize("key_id", ["", "no such key", "x" * 1000, "\0"])
def test_the_name_of_a_key_is_worth_nothing_without_its_signature(make_app, key_id):
    app = make_app(jwt_secret_key=NEW)
    claims = jwt.decode(token_of(app), NEW, algorithms=["HS256"])

    assert status(app, jwt.encode(claims, OTHER, algorithm="HS256", headers={"kid": key_id})) == 401


def test_the_name_of_a_key_shows_nothing_of_it(make_app):
    header = token_of(make_app(jwt_secret_key=NEW)).partition(".")[0]

    name = loads(urlsafe_b64decode(header + "=="))["kid"]

    assert len(name) == 16
    assert name not in NEW


# --- private and public ------------------------------------------------------------------------------------


def test_a_public_key_verifies_what_the_private_one_signed(make_app):
    token = token_of(make_app(**SIGNING))

    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert status(make_app(**SIGNING), token) == 200
    assert status(make_app(**VERIFYING), token) == 200
    assert status(make_app(jwt_secret_key=OTHER), token) == 401


def test_who_has_a_public_key_only_issues_no_tokens(make_app):
    app = make_app(**VERIFYING)
    registration = {"first_name": "A", "second_name": "L", "birthdate": "1990-01-01", "password": "correct horse"}
    user_id = app.test_client().post("/user/register", json=registration).json["user_id"]

    answer = app.test_client().post("/login", json={"id": user_id, "password": "correct horse"})

    assert answer.status_code == 404
    assert "not issued here" in answer.json["message"]


def test_a_private_key_is_rotated_by_listing_the_public_one_of_before(make_app):
    token = token_of(make_app(**SIGNING))

    rotated = make_app(jwt_secret_key="", jwt_private_key=private_pem(NEXT_PRIVATE), jwt_public_key=public_pem(PRIVATE))

    assert status(rotated, token) == 200
    assert status(rotated, token_of(rotated)) == 200


def test_from_a_secret_to_a_private_key_nobody_is_logged_out(make_app):
    token = token_of(make_app(jwt_secret_key=OLD))

    assert status(make_app(**SIGNING, jwt_previous_secret_keys=OLD), token) == 200


def test_a_secret_is_not_used_beside_a_private_key(make_app):
    token = token_of(make_app(jwt_secret_key=OLD))

    assert status(make_app(**SIGNING | {"jwt_secret_key": OLD}), token) == 401


def test_several_public_keys_verify(make_app):
    app = make_app(jwt_secret_key="", jwt_public_key=public_pem(NEXT_PRIVATE) + public_pem(PRIVATE))

    assert status(app, token_of(make_app(**SIGNING))) == 200


def test_a_public_key_is_never_taken_for_a_secret(make_app):
    claims = jwt.decode(token_of(make_app(**SIGNING)), PRIVATE.public_key(), algorithms=["EdDSA"])
    key_id = jwt.get_unverified_header(token_of(make_app(**SIGNING)))["kid"]
    raw = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    forged = jwt.encode(claims, raw, algorithm="HS256", headers={"kid": key_id})

    assert status(make_app(**VERIFYING), forged) == 401


def test_the_ends_of_lines_may_be_written_as_backslash_n(make_app):
    one_line = {name: text.replace("\n", r"\n") for name, text in VERIFYING.items()}

    assert status(make_app(**one_line), token_of(make_app(**SIGNING))) == 200


# --- unusable ----------------------------------------------------------------------------------------------

EC = generate_private_key(SECP256R1())


@pytest.mark.parametrize(
    "changes",
    [
        {"jwt_secret_key": ""},
        {"jwt_secret_key": "", "jwt_private_key": "no key"},
        {"jwt_secret_key": "", "jwt_private_key": private_pem(EC)},
        {"jwt_secret_key": "", "jwt_private_key": public_pem(PRIVATE)},
        {"jwt_secret_key": "", "jwt_public_key": "no key"},
        {"jwt_secret_key": "", "jwt_public_key": public_pem(EC)},
        {"jwt_secret_key": "x" * 31},
        {"jwt_previous_secret_keys": "x" * 31},
        {"jwt_previous_secret_keys": f"{OLD},"},
    ],
)
def test_a_key_that_is_missing_short_or_of_another_kind_stops_the_start(settings, changes):
    with pytest.raises(SettingsError, match="JWT_SECRET_KEY"):
        create_app(replace(settings, **changes))
