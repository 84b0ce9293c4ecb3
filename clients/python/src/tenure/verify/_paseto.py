"""PASETO v4.public (https://github.com/paseto-standard/paseto-spec), and PASERK ids of its keys.

Before the signature is verified nothing is read but the key's id, which only chooses from the authority's own keys.
"""

import hashlib
import json
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LONGEST = 16_384
"""No token is longer: 64 scopes of 128 characters and all the rest take less than 13 000."""
_LONGEST_FOOTER = 512
_HEADER = "v4.public."
_KEY_HEADER = "k4.public."
_ID_HEADER = "k4.pid."
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def _decoded(text: str) -> bytes:
    """Decode base64url; of the ways to write the same bytes only the one without spare bits is taken."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("no base64url")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encoded(data) != text:
        raise ValueError("no canonical base64url")
    return data


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def object_of(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object in which each member is named once."""
    document = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 -- what was read is wrong, not what was passed
    return document


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(members)
    if len(document) != len(members):
        raise ValueError("a member is named twice")
    return document


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _pre_authentication_encoding(*pieces: bytes) -> bytes:
    encoded = [struct.pack("<Q", len(pieces))]
    for piece in pieces:
        encoded += [struct.pack("<Q", len(piece)), piece]
    return b"".join(encoded)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies access tokens."""

    id: str
    """Its PASERK id, computed from the key: no one can show one key under another's name."""
    _key: Ed25519PublicKey

    @classmethod
    def from_paserk(cls, text: str) -> Self:
        """Read a `k4.public` text; a `ValueError` says that it is none."""
        if not text.startswith(_KEY_HEADER):
            raise ValueError("no k4.public key")
        key = Ed25519PublicKey.from_public_bytes(_decoded(text.removeprefix(_KEY_HEADER)))
        digest = hashlib.blake2b((_ID_HEADER + text).encode(), digest_size=33).digest()
        return cls(_ID_HEADER + _encoded(digest), key)


@dataclass(frozen=True, slots=True)
class UntrustedToken:
    """A text that has the form of a token. Nothing in it is true yet."""

    key_id: str
    _message: bytes
    _signature: bytes
    _footer: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take it apart; a `ValueError` says that it is no token. Nothing too long is decoded."""
        if len(text) > LONGEST or not text.startswith(_HEADER):
            raise ValueError("no v4.public token")
        body, _, footer_text = text.removeprefix(_HEADER).partition(".")
        signed, footer = _decoded(body), _decoded(footer_text)
        if len(signed) <= 64 or len(footer) > _LONGEST_FOOTER:
            raise ValueError("no v4.public token with a footer")
        key_id = object_of(footer).get("kid")
        if not isinstance(key_id, str):
            raise ValueError("no key is named")  # noqa: TRY004 -- as above
        return cls(key_id, signed[:-64], signed[-64:], footer)

    def open(self, key: PublicKey) -> bytes:
        """Return the payload, if this key signed it and nothing was touched since; `ValueError` otherwise."""
        signed = _pre_authentication_encoding(_HEADER.encode(), self._message, self._footer, b"")
        try:
            key._key.verify(self._signature, signed)
        except InvalidSignature:
            raise ValueError("the signature is wrong") from None
        return self._message
