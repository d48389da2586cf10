"""The gate file: a person's signed permission for one lane to trade up to a capital, with these settings, until a date.

``{"schema": "dolphin.live-gate/1", "permit": {..}, "signer": .., "signature": ..}``; the signature (Ed25519, RFC 8032) is over
``"dolphin.live-gate/1" LF permit`` with the permit as JSON with sorted names. Binary values are base64.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key
from msgspec import Meta, Struct

from dolphin.config import Settings, config_hash
from dolphin.errors import ConfigError
from dolphin.storage.private_file import read_private, write_private

__all__ = ["LONGEST_DAYS", "Permit", "make_signing_key", "public_key", "read_permit", "sign_permit", "terms_of"]

SCHEMA: Final = "dolphin.live-gate/1"
LONGEST_DAYS: Final = 92
"""Longest life of a permission that is signed here: a quarter, then somebody looks again."""

Text = Annotated[str, Meta(min_length=1, max_length=64)]


class Permit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is permitted: ``capital`` = most USDT on the account, ``terms`` = hash of the settings (``terms_of``), times in ms UTC."""

    lane: Literal["BLUE", "GREEN"]
    venue: Text
    capital: Annotated[float, Meta(gt=0, le=1e12)]
    terms: Text
    issued_ms: Annotated[int, Meta(ge=0)]
    expires_ms: Annotated[int, Meta(ge=0)]

    @property
    def expires(self) -> str:
        """The moment of expiry for a person."""
        return f"{dt.datetime.fromtimestamp(self.expires_ms / 1000, dt.UTC):%Y-%m-%d %H:%M UTC}"


class _GateFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="schema", tag=SCHEMA):
    permit: Permit
    signer: str
    signature: str


class _Terms(Struct, frozen=True, kw_only=True):
    profile: str
    parts: tuple[Struct, ...]


def terms_of(settings: Settings) -> str:
    """Hash over everything that decides orders: profile, engine, venue, survival, feed and live settings."""
    parts = (settings.engine, settings.venue, settings.survival, settings.feed, settings.live)
    return config_hash(_Terms(profile=settings.profile, parts=parts))


def make_signing_key(path: Path) -> str:
    """A new private key (PEM, mode 0600) at ``path``; its public half. Raises ``ConfigError`` when there is a file already."""
    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "signing key")
    return _public(key)


def public_key(path: Path) -> str:
    """Public half of the private key at ``path``, for ``live.signers``. Raises ``ConfigError``."""
    return _public(_private(path))


def sign_permit(permit: Permit, key: Path, out: Path) -> str:
    """Write the gate file ``out`` (mode 0600, a new file), signed with the private key at ``key``; the signer's public key."""
    private = _private(key)
    signed = _GateFile(permit=permit, signer=_public(private), signature=_text(private.sign(_message(permit))))
    write_private(out, msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n", "gate file")
    return signed.signer


def read_permit(path: Path, signers: str) -> Permit:
    """The permit of a gate file, when one of ``signers`` signed it and nobody else may read or write it. Raises ``ConfigError``."""
    data = read_private(path, "gate file")
    try:
        found = msgspec.json.decode(data, type=_GateFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no gate file ({error}); make one with `dolphin live sign`") from None
    allowed = {name.strip() for name in signers.split(",") if name.strip()}
    if found.signer not in allowed:
        raise ConfigError(f"{path}: signed by {found.signer[:64]!r}, who is not among live.signers")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(found.signer, validate=True))
        key.verify(base64.b64decode(found.signature, validate=True), _message(found.permit))
    except (InvalidSignature, ValueError, binascii.Error):
        raise ConfigError(f"{path}: the signature does not hold: the file was changed, or signed by another key") from None
    return found.permit


def _message(permit: Permit) -> bytes:
    return SCHEMA.encode() + b"\n" + msgspec.json.encode(permit, order="sorted")


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(read_private(path, "signing key"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: no Ed25519 private key in PEM without a passphrase; `dolphin live key {path}` makes one")
    return key


def _public(key: Ed25519PrivateKey) -> str:
    return _text(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
