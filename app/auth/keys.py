"""Token keys: HS256 with a secret, or EdDSA (Ed25519, RFC 8037) with a key pair.

A token names its key in its header (`kid`), so that old keys still verify while a new one signs.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

SECRET_BYTES = 32  # RFC 7518 §3.2: an HS256 key has at least as many bits as the hash

HS256, EDDSA = "HS256", "EdDSA"


class Key(NamedTuple):
    """A signing or verifying key. `id` identifies the key and reveals nothing about it."""

    id: str
    algorithm: str
    value: str | Ed25519PrivateKey | Ed25519PublicKey


@dataclass(frozen=True)
class Keys:
    """The keys of a service. `signing` is None if it only verifies; `verifying` by id, newest first."""

    signing: Key | None
    verifying: dict[str, Key]

    @classmethod
    def load(cls, secret: str, previous_secrets: str, private: str, public: str) -> "Keys":
        """Load the keys from four settings, as text. An unset one is empty.

        Raises ValueError for an invalid key, and if there is none to verify with.
        """
        verifying = [_public(key) for key in parse_public(public)]
        signing = None
        if private:
            private_key = parse_private(private)
            verifying.insert(0, _public(private_key.public_key()))
            signing = Key(verifying[0].id, EDDSA, private_key)
        elif secret:
            check_secret(secret)
            signing = _secret(secret)
            verifying.insert(0, signing)
        verifying += [_secret(key) for key in parse_secrets(previous_secrets)]
        if not verifying:
            raise ValueError("there is no key to verify tokens with")
        return cls(signing, {key.id: key for key in verifying})

    def find(self, key_id: str | None) -> Key:
        """Return the key with this id, or the newest if there is none."""
        return self.verifying.get(key_id or "") or next(iter(self.verifying.values()))


def check_secret(text: str) -> None:
    if len(text.encode()) < SECRET_BYTES:
        raise ValueError(f"must have at least {SECRET_BYTES} bytes")


def parse_secrets(text: str) -> list[str]:
    """Split comma-separated secrets. Raises ValueError if one is too short."""
    secrets = text.split(",") if text else []
    for number, secret in enumerate(secrets, 1):
        if len(secret.encode()) < SECRET_BYTES:
            raise ValueError(f"must have at least {SECRET_BYTES} bytes in each key: number {number} has fewer")
    return secrets


def parse_private(text: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_unescape_newlines(text), password=None)
    except (ValueError, TypeError) as error:  # their messages may leak key material
        raise ValueError("must be an Ed25519 private key in PEM, without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("must be an Ed25519 private key, not one of another kind")
    return key


def parse_public(text: str) -> list[Ed25519PublicKey]:
    """Parse concatenated PEM public keys. Raises ValueError."""
    blocks = re.findall(rb"-----BEGIN .*?-----END [^-]*-----", _unescape_newlines(text), re.DOTALL)
    try:
        keys = [load_pem_public_key(block + b"\n") for block in blocks]
    except ValueError as error:
        raise ValueError("must be Ed25519 public keys in PEM") from error
    found = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if len(found) < len(keys) or (text and not keys):
        raise ValueError("must be Ed25519 public keys in PEM")
    return found


def _unescape_newlines(text: str) -> bytes:
    r"""Turn the two characters `\n` into newlines, for environment variables without line breaks."""
    return text.replace(r"\n", "\n").encode()


def _secret(text: str) -> Key:
    return Key(_id(text.encode()), HS256, text)


def _public(key: Ed25519PublicKey) -> Key:
    return Key(_id(key.public_bytes(Encoding.Raw, PublicFormat.Raw)), EDDSA, key)


def _id(material: bytes) -> str:
    return sha256(b"lenta key id: " + material).hexdigest()[:16]
